// Who in this library wants to know of changes of tables and catalogs.
//
// PostgreSQL has room for ten callbacks of a process, of which it uses some itself, and another
// extension may use five: so this library has one, which calls those that are registered here.
#pragma once

#include "securatlas/pg/border/prelude.hpp"

namespace securatlas::pg {

// Calls `changed` whenever a relation may have changed; InvalidOid: any may have. It may do no more
// than set flags. C world.
void on_relation_change(void (*changed)(Oid relation));

}  // namespace securatlas::pg
