#include "securatlas/pg/border/identity.hpp"

#include "border/local.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/cron/settings.hpp"

extern "C" {
#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"
}

namespace securatlas::pg {
namespace {

// datconnlimit of a database whose DROP was interrupted; since PostgreSQL 15.4.
constexpr int kInvalidDatabase = -2;

// C world.
bool manages(Oid self, Oid role) {
    if (superuser_arg(self)) return true;
    return OidIsValid(role) && has_privs_of_role(self, role) && role_may_become(self, role);
}

}  // namespace

bool role_may_log_in(Oid role) {
    HeapTuple tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(role));
    if (!HeapTupleIsValid(tuple)) return false;
    const bool may = reinterpret_cast<Form_pg_authid>(GETSTRUCT(tuple))->rolcanlogin;
    ReleaseSysCache(tuple);
    return may;
}

std::optional<std::string> parse_identifier(std::string_view text) {
    const std::string copy(text);
    const char* name = call([&copy]() -> const char* {
        List* names = NIL;
        const bool is_list = SplitIdentifierString(pstrdup(copy.c_str()), ',', &names);
        return is_list && list_length(names) == 1 ? static_cast<const char*>(linitial(names))
                                                  : nullptr;
    });
    return name == nullptr ? std::nullopt : std::optional<std::string>(name);
}

RoleOid current_role() { return GetUserId(); }

std::string current_user_name() {
    return call([] { return GetUserNameFromId(GetUserId(), false); });
}

bool current_user_is_superuser() {
    return call([] { return superuser(); });
}

bool role_is_superuser(RoleOid role) {
    return call([role] { return superuser_arg(role); });
}

DatabaseOid current_database() { return MyDatabaseId; }

std::string current_database_name() {
    const char* name = call([] { return get_database_name(MyDatabaseId); });
    return name == nullptr ? std::string() : std::string(name);
}

std::optional<RoleOid> find_role(std::string_view name) {
    const std::string copy(name);
    const Oid role = call([&copy] { return get_role_oid(copy.c_str(), true); });
    return OidIsValid(role) ? std::optional<RoleOid>(role) : std::nullopt;
}

std::optional<std::string> role_name(RoleOid role) {
    const char* name = call([role] { return GetUserNameFromId(role, true); });
    return name == nullptr ? std::nullopt : std::optional<std::string>(name);
}

std::optional<DatabaseOid> find_database_oid(std::string_view name) {
    const std::string copy(name);
    const Oid database = call([&copy] { return get_database_oid(copy.c_str(), true); });
    return OidIsValid(database) ? std::optional<DatabaseOid>(database) : std::nullopt;
}

std::optional<DatabaseOid> find_new_database_oid(std::string_view name) {
    call([] { CommandCounterIncrement(); });
    return find_database_oid(name);
}

bool database_exists(DatabaseOid database) {
    return call(
        [database] { return SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)); });
}

bool may_connect(RoleOid role, DatabaseOid database) {
    return call([role, database] { return role_may_connect(role, database); });
}

Target resolve_target(std::string_view database, RoleOid role, std::string_view username) {
    const std::string base(database);
    const auto found = role_name(role);
    if (!found) {
        throw Error("28000", "role \"" + std::string(username) + "\" does not exist",
                    "The job runs as this role.",
                    "Give the job to another role with cron.alter_job(), or unschedule it.");
    }
    const std::string& user = *found;
    const auto target = find_database_oid(base);
    if (!target) {
        throw Error("3D000", "database \"" + base + "\" does not exist",
                    "The job runs in this database.",
                    "Move the job with cron.alter_job(), or unschedule it.");
    }
    if (!call([role] { return role_may_log_in(role); })) {
        throw Error("28000", "role \"" + user + "\" is not permitted to log in", "",
                    "Run ALTER ROLE ... LOGIN, or give the job to another role.");
    }
    if (role_is_superuser(role)) {
        if (!settings().enable_superuser_jobs) {
            throw Error("42501", "jobs of superusers are disabled",
                        "cron.enable_superuser_jobs is off and \"" + user + "\" is a superuser.");
        }
    } else if (!may_connect(role, *target)) {
        throw Error("42501", "User " + user + " does not have CONNECT privilege on " + base, "",
                    "Run GRANT CONNECT ON DATABASE.");
    }
    return {*target, role};
}

bool may_run_as(RoleOid role) {
    return call([role] {
        const Oid self = GetUserId();
        return superuser_arg(self) || (OidIsValid(role) && role_may_become(self, role));
    });
}

bool may_manage(RoleOid role) {
    return call([role] { return manages(GetUserId(), role); });
}

bool may_see(RoleOid role) {
    return call([role] {
        const Oid self = GetUserId();
        return manages(self, role) || has_privs_of_role(self, ROLE_PG_READ_ALL_DATA) ||
               has_privs_of_role(self, ROLE_PG_MONITOR);
    });
}

bool owns_database(DatabaseOid database) {
    return call([database] { return role_owns_database(GetUserId(), database); });
}

std::vector<DatabaseOid> connectable_databases(std::optional<std::string> name) {
    struct List {
        Oid* items;
        std::size_t count;
    };
    const char* wanted = name ? name->c_str() : nullptr;
    const List list = call([wanted] {
        // No index: without a database there is no catalog that describes one.
        Relation catalog = table_open(DatabaseRelationId, AccessShareLock);
        TableScanDesc scan = table_beginscan_catalog(catalog, 0, nullptr);
        List found{static_cast<Oid*>(palloc(sizeof(Oid))), 0};
        while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection)) {
            const auto* row = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
            if (!row->datallowconn || row->datconnlimit == kInvalidDatabase) continue;
            if (wanted != nullptr && strcmp(NameStr(row->datname), wanted) != 0) continue;
            found.items = static_cast<Oid*>(repalloc(found.items, sizeof(Oid) * (found.count + 1)));
            found.items[found.count++] = row->oid;
        }
        table_endscan(scan);
        table_close(catalog, AccessShareLock);
        return found;
    });
    return {list.items, list.items + list.count};
}

}  // namespace securatlas::pg
