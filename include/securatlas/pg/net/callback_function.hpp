// The function that a request names to be called with its response.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg {

using FunctionOid = std::uint32_t;

// What is known of it from the request to the call. It is kept by name, because oids of functions
// do not survive pg_upgrade; the owner's does, and says whether it is the same under that name.
struct CallbackFunction {
    std::string signature;  // with its schema
    RoleOid owner = 0;
};

// Checks that a role may have it called: it is a function of one argument of type
// net._http_response, no temporary one, which the role may execute, and the role may log in, as the
// process that calls it will. Throws Error otherwise.
CallbackFunction check_callback(FunctionOid function, RoleOid role);

// Checks that what has this name now may run as `role`: it still belongs to the role that it
// belonged to, or to one that could make `role` run anything anyway, which is itself and a
// superuser. Throws Error 42501 otherwise.
void check_callback_owner(const CallbackFunction& function, std::optional<RoleOid> owner_then,
                          RoleOid role);

}  // namespace securatlas::pg
