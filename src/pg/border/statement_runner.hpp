// exec_simple_query() without a client. C world: call these functions inside one call().
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

// Call once in each process.
void prepare_statement_runner();

// Starts statement_timeout as for a query of a client: it applies to each statement separately, and
// a command may change it for its following statements.
void arm_statement_timeout();

// Begins a transaction and executes the statements at top level. On return a transaction is open
// (the command's own, or a new one if the command ended its own) that only has to be committed.
// Errors of the statements are raised; the caller must abort.
// If a statement is about a prepared transaction, an empty transaction is committed first.
void run_statements(const char* command, StatementTag* tag);

// Runs the parts of the command that would run during commit: deferred triggers and the queries of
// cursors WITH HOLD. Afterwards the commit runs no user code.
void run_deferred();

}  // namespace securatlas::pg
