#include "securatlas/pg/border/extension.hpp"

#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
}

namespace securatlas::pg {
namespace {

constexpr const char* kExtension = "securatlas_sched";

// C world. Any lock would do that conflicts with that of a DROP; this one is in nobody's way.
template <std::size_t N>
bool try_lock_tables(const char* schema_name, const char* const (&tables)[N]) {
    const Oid schema = get_namespace_oid(schema_name, true);
    if (!OidIsValid(schema)) return false;
    for (const char* table : tables) {
        const Oid relation = get_relname_relid(table, schema);
        if (!OidIsValid(relation)) return false;
        if (!ConditionalLockRelationOid(relation, AccessShareLock)) return false;
    }
    return true;
}

// C world.
bool try_lock_tables(Tables tables) {
    switch (tables) {
        case Tables::cron:
            return try_lock_tables("cron", {"job", "job_dependency", "scheduler_state"});
        case Tables::net:
            return try_lock_tables("net", {"http_request_queue", "_http_response", "secret"});
    }
    return false;
}

}  // namespace

unsigned extension_oid() {
    return call([] { return get_extension_oid(kExtension, true); });
}

bool try_keep_extension(Tables tables) {
    return call([tables] {
        const Oid extension = get_extension_oid(kExtension, true);
        if (!OidIsValid(extension)) return false;
        if (!ConditionalLockDatabaseObject(ExtensionRelationId, extension, 0, AccessShareLock)) {
            return false;
        }
        // It may have been dropped before the lock was there.
        return get_extension_oid(kExtension, true) == extension && try_lock_tables(tables);
    });
}

ExtensionTransaction::ExtensionTransaction(Tables tables) {
    if (try_keep_extension(tables)) return;
    throw Error(kExtensionIsLocked,
                "extension \"securatlas_sched\" is being dropped or changed by another session");
}

}  // namespace securatlas::pg
