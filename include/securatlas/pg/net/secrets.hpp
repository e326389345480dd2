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

// A secret belongs to the role that made it. That role, its members and superusers administer it.
// Its owner, the roles that it was granted to and the members of both use it: by membership only,
// being a superuser is none.

// ---- for SQL functions (in the caller's transaction, with the owner's rights) -----------------
// Errors: 22023 for a bad name or value, 42501 if there is no such secret that the role may
// administer or use. Whether there is one nevertheless is told to nobody but who wants to make it.

// Makes the secret, or gives it a new value.
void set(RoleOid caller, const std::string& name, const std::string& value);

// False: there is none that he administers.
bool drop(RoleOid caller, const std::string& name);

void grant(RoleOid caller, const std::string& name, RoleOid role);

// False: it was not granted.
bool revoke(RoleOid caller, const std::string& name, RoleOid role);

// Throws if one of them cannot be used by this role.
void check_usable(const std::vector<std::string>& names, RoleOid role);

// ---- for the http worker (inside its transaction, with its rights) ----------------------------

// A secret, as asked for by a role that made a request.
using Wanted = std::pair<std::string, RoleOid>;

// Values of those that exist, that the role may use, and that can be decrypted.
std::map<Wanted, std::string> read(const std::vector<Wanted>& wanted);

}  // namespace securatlas::pg::secrets
