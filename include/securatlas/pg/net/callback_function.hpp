// The function that a request names to be called with its response.
#pragma once

#include <cstdint>
#include <string>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg {

using FunctionOid = std::uint32_t;

// Checks that a role may have it called: it is a function of one argument of type
// net._http_response, which the role may execute, and the role may log in, as the process that
// calls it will. Returns its signature, with its schema. Throws Error otherwise.
std::string callback_signature(FunctionOid function, RoleOid role);

}  // namespace securatlas::pg
