#include "border/owner_scope.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/trigger.h"
#include "storage/proc.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

namespace securatlas::pg {
namespace {

constinit int entered = 0;

Oid owner_of(const char* schema_name, const char* table) {
    const Oid schema = get_namespace_oid(schema_name, true);
    if (!OidIsValid(schema)) return InvalidOid;
    const Oid relation = get_relname_relid(table, schema);
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
    if (!HeapTupleIsValid(tuple)) return InvalidOid;
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    return owner;
}

}  // namespace

Oid extension_owner() {
    const Oid owner = call([] {
        const Oid of_runs = owner_of("cron", "job_run_details");
        return OidIsValid(of_runs) ? of_runs : owner_of("net", "http_request_queue");
    });
    if (!OidIsValid(owner)) {
        throw Error("55000", "extension \"securatlas_sched\" is not in this database", "",
                    "Run CREATE EXTENSION securatlas_sched.");
    }
    return owner;
}

OwnerScope::OwnerScope(Mode mode)
    : lock_timeout_(LockTimeout),
      replication_role_(SessionReplicationRole),
      isolation_(XactIsoLevel),
      read_only_(XactReadOnly) {
    const Oid owner = extension_owner();
    GetUserIdAndSecContext(&user_, &security_context_);
    if (mode != Mode::no_statements) {
        settings_level_ = call([] {
            const int level = NewGUCNestLevel();
            (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET,
                                    PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
            return level;
        });
    }
    SetUserIdAndSecContext(owner, security_context_ | SECURITY_LOCAL_USERID_CHANGE);
    // Assigned directly: SET takes longer, and its assign hook would discard all cached plans of
    // the session.
    SessionReplicationRole = SESSION_REPLICATION_ROLE_REPLICA;
    LockTimeout = 0;
    if (mode == Mode::force_writable) {
        XactReadOnly = false;
        XactIsoLevel = XACT_READ_COMMITTED;
    }
    ++entered;
}

bool OwnerScope::is_entered() { return entered > 0; }

OwnerScope::~OwnerScope() {
    --entered;
    LockTimeout = lock_timeout_;
    SessionReplicationRole = replication_role_;
    XactReadOnly = read_only_;
    XactIsoLevel = isolation_;
    SetUserIdAndSecContext(user_, security_context_);
    if (settings_level_ == 0) return;
    try {
        call([this] { AtEOXact_GUC(true, settings_level_); });
    } catch (...) {
        // Restoring the previous values calls no hook that could reject them.
    }
}

}  // namespace securatlas::pg
