// Who may lock the extension's tables.
//
// PostgreSQL lets every role that may delete rows lock the table, and several commands wait for a
// strong lock before they check their caller's privileges; already while it waits, such a request
// blocks all later ones. Everybody's runs and requests are written to the extension's tables, so
// one role could stop them all. Therefore only the owner and superusers may take a lock that
// conflicts with writers, and anybody else gets an error before anything waits.
#pragma once

#include "securatlas/pg/border/prelude.hpp"

struct PlannedStmt;

namespace securatlas::extension {

// C world. Reports an error if the statement asks for what its caller may not have. Returns the
// statement to execute: this one, or a copy in which names of tables have their schema, so that
// none can mean another table after a wait.
PlannedStmt* guard_tables(PlannedStmt* statement);

}  // namespace securatlas::extension
