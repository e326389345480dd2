// Roles and databases: who the caller is and what he may do.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg {

std::string current_user_name();
RoleOid current_role();
bool current_user_is_superuser();
bool role_is_superuser(RoleOid role);

DatabaseOid current_database();
std::string current_database_name();

// nullopt if there is no such role or database.
std::optional<RoleOid> find_role(std::string_view name);
std::optional<std::string> role_name(RoleOid role);
std::optional<DatabaseOid> find_database_oid(std::string_view name);

// As find_database_oid, and sees a database that this command has made.
std::optional<DatabaseOid> find_new_database_oid(std::string_view name);

bool may_connect(RoleOid role, DatabaseOid database);

// Where a job of this database and role runs. Throws Error if it cannot: the role or the database
// is missing, the role may not log in or connect, or it is a superuser and these are not allowed.
// `username` is what the job calls its role, for the error.
Target resolve_target(std::string_view database, RoleOid role, std::string_view username);

// In the functions below, role 0 is nobody: a role that does not exist.

// The current role may run commands as this one: it is the same, may become it, or is a superuser.
bool may_run_as(RoleOid role);

// ... and has its rights without becoming it.
bool may_manage(RoleOid role);

// As may_manage, and for members of pg_read_all_data and pg_monitor.
bool may_see(RoleOid role);

// The owner of the database, or a superuser.
bool owns_database(DatabaseOid database);

// Databases that accept connections and are not the remains of a DROP DATABASE.
std::vector<DatabaseOid> connectable_databases();

}  // namespace securatlas::pg
