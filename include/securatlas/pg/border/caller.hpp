// The role that called a SQL function of this library, even if that function is SECURITY DEFINER.
//
// PostgreSQL does not expose it: it saves the previous user id in a place that only it can read,
// and restores it when the function ends. So a hook of the function manager records all calls in
// progress of functions that may change the user id.
#pragma once

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg {

// For _PG_init: records calls from now on.
void note_callers();

// The role that called the running function: the current role, or, if the function itself runs with
// its owner's rights, the role whose code called it. Throws Error 42501 if that cannot be
// determined, because PostgreSQL itself calls the function in the name of another role (index
// expressions, foreign key actions, maintenance commands).
RoleOid calling_role(FunctionCallInfo fcinfo);

}  // namespace securatlas::pg
