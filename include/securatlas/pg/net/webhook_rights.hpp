// Who may create a trigger by which net.http_webhook() sends secrets, and whose it may become.
#pragma once

#include "securatlas/pg/border/guard.hpp"

namespace securatlas::pg {

// To be called for a trigger that the current command has created or replaced. The request of a
// webhook belongs to the owner of the table, so that only the owner, its members and superusers may
// refer to secrets in one: privilege TRIGGER on a table must not give access to its owner's
// secrets. Checked when the trigger is created, because PostgreSQL does not store who created it.
// Throws Error 42501; and 0A000, with a hint how to make it, for a webhook on a table with shards
// on which Citus allows no triggers.
void check_new_trigger(Oid trigger);

// To be called when the current command has altered a table, and nobody sees it yet. If the table
// has got a new owner, its webhooks send secrets by the new owner's right to where the former one
// has chosen: so they may name only secrets that the former one may use as well. Throws Error
// 42501.
void check_new_owner(Oid table);

}  // namespace securatlas::pg
