// Roles and databases: who the caller is, and what he may do.
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

// Like find_database_oid(), but also sees a database that the current command has created.
std::optional<DatabaseOid> find_new_database_oid(std::string_view name);

bool database_exists(DatabaseOid database);

bool may_connect(RoleOid role, DatabaseOid database);

// The name that this means in SQL: folded to lower case unless it is quoted. nullopt: it is no
// name.
std::optional<std::string> parse_identifier(std::string_view text);

// Where a job with this database and role runs. Throws Error if it cannot run: the role or the
// database does not exist, the role may not log in or connect, or it is a superuser and
// cron.enable_superuser_jobs is off. `username` is the role's name in the job, for the message.
Target resolve_target(std::string_view database, RoleOid role, std::string_view username);

// In the functions below, role 0 stands for a role that does not exist.

// True if the current role may run commands as this one: it is the same, may SET ROLE to it, or is
// a superuser.
bool may_run_as(RoleOid role);

// ... and it also has the role's privileges without SET ROLE.
bool may_manage(RoleOid role);

// True if may_manage() is, and for members of pg_read_all_data and pg_monitor.
bool may_see(RoleOid role);

// True if the current role owns the database (or is a member of the owner), or is a superuser.
bool owns_database(DatabaseOid database);

// Databases that accept connections, without those left invalid by an interrupted DROP DATABASE.
// With a name only the one of this name. A process that is connected to no database may call it.
std::vector<DatabaseOid> connectable_databases(std::optional<std::string> name = std::nullopt);

}  // namespace securatlas::pg
