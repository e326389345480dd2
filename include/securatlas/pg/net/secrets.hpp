// The catalog of secrets: net.secret and net.secret_grant.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg::secrets {

// A secret belongs to the role that made it. That role, its members and superusers may administer
// it. Its owner, the roles that it was granted to, and the members of both may use it; being a
// superuser does not count as membership.

// ---- for SQL functions (in the caller's transaction, with the owner's rights) -----------------
// Errors: 22023 for an invalid name or value, 42501 if there is no secret of this name that the
// role may administer or use. The error is the same whether the secret exists or not, except in
// set().

// Creates the secret, or sets its value.
void set(RoleOid caller, const std::string& name, const std::string& value);

// False: there is no such secret that the caller may administer.
bool drop(RoleOid caller, const std::string& name);

void grant(RoleOid caller, const std::string& name, RoleOid role);

// False: it was not granted.
bool revoke(RoleOid caller, const std::string& name, RoleOid role);

// Throws if the role may not use one of them.
void check_usable(const std::vector<std::string>& names, RoleOid role);

// The first of them that the role may not use, or that does not exist.
std::optional<std::string> first_denied(const std::vector<std::string>& names, RoleOid role);

// ---- for the http worker (inside its transaction, with its rights) ----------------------------

// A secret's name, and the role that made the request which refers to it.
using Wanted = std::pair<std::string, RoleOid>;

// The values of those that exist, that the role may use, and that can be decrypted.
std::map<Wanted, std::string> read(const std::vector<Wanted>& wanted);

}  // namespace securatlas::pg::secrets
