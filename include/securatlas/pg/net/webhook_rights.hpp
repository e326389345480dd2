// Who may let net.http_webhook() send secrets.
#pragma once

#include "securatlas/pg/border/guard.hpp"

namespace securatlas::pg {

// For a trigger that the current command has made or replaced. A webhook's request is the table
// owner's, so that only he, his members and superusers may name secrets in one: the right to make
// triggers on a table is none to spend its owner's secrets. It is checked when the trigger is made,
// because PostgreSQL does not keep who made it. Throws Error 42501.
void check_new_trigger(Oid trigger);

}  // namespace securatlas::pg
