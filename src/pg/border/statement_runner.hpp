// The simple query protocol without a client. C world: to be called inside one call().
#pragma once

#include "securatlas/pg/border/prelude.hpp"

extern "C" {
#include "tcop/cmdtag.h"
}

namespace securatlas::pg {

// The command tag of the last statement, such as "SELECT 1".
struct StatementTag {
    char text[COMPLETION_TAG_BUFSIZE];
};

// Once a process.
void prepare_statement_runner();

// As for a query of a client: each statement has the whole of statement_timeout, and a command may
// set it for its own next statements.
void arm_statement_timeout();

// Begins a transaction and executes the statements at top level. On return a transaction is open
// (the command's own, or a new one if the command ended its own), and nothing but a commit is
// missing. Ereports what the statements ereport; the caller aborts.
void run_statements(const char* command, StatementTag* tag);

// Runs what the commit would run of the command: deferred triggers, and the queries of cursors WITH
// HOLD. Afterwards the commit runs no user's code any more.
void run_deferred();

}  // namespace securatlas::pg
