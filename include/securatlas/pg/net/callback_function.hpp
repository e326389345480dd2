// The function that is to be called with the response to a request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg {

using FunctionOid = std::uint32_t;

// What is stored of it between request and call. It is stored by name, because pg_upgrade does not
// preserve oids of functions. It does preserve the owner's oid, which shows whether the function of
// that name is still the same role's.
struct CallbackFunction {
    std::string signature;  // schema-qualified
    RoleOid owner = 0;
};

// The function that is written like this, as a regprocedure. Throws Error 42883 if there is none.
FunctionOid find_function(std::string_view signature);

// Checks that the function can be called for a role: it has one argument of type
// net._http_response, is not temporary, the role may execute it, and the role may log in, because
// the process that calls it connects as the role. Throws Error otherwise.
CallbackFunction check_callback(FunctionOid function, RoleOid role);

// The same for the function of an alert, whose argument is of type jsonb.
CallbackFunction check_alert_function(FunctionOid function, RoleOid role);

// Checks that the function that now has this name may run as `role`: it still has the same owner,
// or belongs to `role` itself or to a superuser. Throws Error 42501 otherwise.
void check_callback_owner(const CallbackFunction& function, std::optional<RoleOid> owner_then,
                          RoleOid role);

}  // namespace securatlas::pg
