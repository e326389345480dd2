// Who called a SQL function of this library, also if that function is SECURITY DEFINER.
//
// PostgreSQL does not tell: it puts the user id back when the function ends, and keeps it to itself
// until then. So the calls of all functions that may change the user id are noted while they last.
#pragma once

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg {

// In _PG_init: notes calls from now on.
void note_callers();

// The role that called the running function: the current role, or, if the function itself runs with
// its owner's rights, the role whose code called it. Throws Error 42501 where that cannot be told:
// such a function is called by what PostgreSQL runs in somebody else's name by itself (an index's
// expression, a foreign key's action).
RoleOid calling_role(FunctionCallInfo fcinfo);

}  // namespace securatlas::pg
