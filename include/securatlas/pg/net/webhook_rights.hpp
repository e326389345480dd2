// Who may create a trigger by which net.http_webhook() sends secrets.
#pragma once

#include "securatlas/pg/border/guard.hpp"

namespace securatlas::pg {

// To be called for a trigger that the current command has created or replaced. The request of a
// webhook belongs to the owner of the table, so that only the owner, its members and superusers may
// refer to secrets in one: privilege TRIGGER on a table must not give access to its owner's
// secrets. Checked when the trigger is created, because PostgreSQL does not store who created it.
// Throws Error 42501.
void check_new_trigger(Oid trigger);

}  // namespace securatlas::pg
