// The roles whose rows a role may see, as a list: what may_see() says of one role at a time.
#pragma once

#include <optional>
#include <vector>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg {

// True if may_see() is true for every role, and for rows that belong to none.
bool sees_all_roles();

// All roles for which may_see() is true, and perhaps some that own nothing; nullopt if they are
// very many, or if sees_all_roles().
std::optional<std::vector<RoleOid>> seen_roles();

// Has this session plan its statements again whenever roles or memberships have changed, from now
// on.
void replan_when_roles_change();

}  // namespace securatlas::pg
