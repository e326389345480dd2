// Who may lock the extension's tables.
//
// PostgreSQL lets whoever may delete a row lock the table, and several commands wait for a strong
// lock before they look whether their caller may have it: even the request, while it waits, keeps
// all others out. For tables that everybody's runs and requests are written to that is too
// generous. Such a lock, one that keeps writers out, is its owner's (and superusers') only, and
// who may not have it is told so before anything is waited for.
#pragma once

#include "securatlas/pg/border/prelude.hpp"

struct PlannedStmt;

namespace securatlas::extension {

// C world. Reports an error if the statement asks for what its caller may not have. Returns the
// statement to execute: this one, or a copy in which names of tables have their schema, so that
// none can mean another table after a wait.
PlannedStmt* guard_tables(PlannedStmt* statement);

}  // namespace securatlas::extension
