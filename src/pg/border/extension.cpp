#include "securatlas/pg/border/extension.hpp"

#include <array>
#include <cstdlib>
#include <cstring>

#include "border/extension_row.hpp"
#include "border/relation_changes.hpp"
#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

namespace securatlas::pg {
namespace {

// The row of a catalog that has this name, given to `read`.
template <class Read>
void read_named_row(Oid catalog_id, Oid index_id, AttrNumber name_column, const char* name,
                    const Read& read) {
    Relation catalog = table_open(catalog_id, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, name_column, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum(name));
    SysScanDesc scan = systable_beginscan(catalog, index_id, true, nullptr, 1, &key);
    HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple)) read(tuple, RelationGetDescr(catalog));
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
}

// Versions of the originals are 1.6 or 0.20.4, those of this project 1.6.100 or 0.20.100.
bool is_of_this_project(const char* version) {
    const char* part = version;
    for (int dots = 0; dots < 2; ++dots) {
        part = strchr(part, '.');
        if (part == nullptr) return false;
        ++part;
    }
    return std::atoi(part) >= 100;
}

// C world.
Oid holder_of(Tables tables) {
    const ExtensionRow all = read_extension(kExtension);
    return OidIsValid(all.id) ? all.id : read_named_extension(tables).id;
}

// C world.
Oid find_schema(Tables tables) {
    return get_namespace_oid(tables == Tables::cron ? "cron" : "net", true);
}

// C world. What ConditionalLockDatabaseObject() does, which not all minor versions have.
bool try_lock_extension(Oid extension) {
    LOCKTAG tag;
    SET_LOCKTAG_OBJECT(tag, MyDatabaseId, ExtensionRelationId, extension, 0);
    if (LockAcquire(&tag, AccessShareLock, false, true) == LOCKACQUIRE_NOT_AVAIL) return false;
    AcceptInvalidationMessages();
    return true;
}

constexpr std::size_t kTables = 3;  // of a schema, which are locked

// The extension that holds these tables, and the tables, as they were last read.
struct Holder {
    Oid extension;
    Oid tables[kTables];
    bool is_current;  // neither any extension nor one of these tables has changed since
};
constinit std::array<Holder, 2> holders{};

void note_change(Oid relation) {
    for (Holder& holder : holders) {
        bool is_part = !OidIsValid(relation) || relation == ExtensionRelationId;
        for (const Oid table : holder.tables) is_part = is_part || relation == table;
        if (is_part) holder.is_current = false;
    }
}

// C world.
void listen_for_changes() {
    static constinit bool listens = false;
    if (listens) return;
    on_relation_change(note_change);
    listens = true;
}

// C world. False: one of them is missing.
bool find_tables(Tables tables, Oid (&found)[kTables]) {
    constexpr const char* kNames[][kTables] = {{"job", "job_dependency", "scheduler_state"},
                                               {"http_request_queue", "_http_response", "secret"}};
    const Oid schema = find_schema(tables);
    if (!OidIsValid(schema)) return false;
    const auto& names = kNames[tables == Tables::cron ? 0 : 1];
    for (std::size_t i = 0; i < kTables; ++i) {
        found[i] = get_relname_relid(names[i], schema);
        if (!OidIsValid(found[i])) return false;
    }
    return true;
}

// C world. With a lock on the extension, after which this session has taken note of what others
// have changed.
bool still_holds(Holder& known, Oid extension, Tables tables) {
    if (known.is_current && known.extension == extension) return true;
    // Before reading, so that a change meanwhile is not lost.
    known = {.extension = extension, .tables = {}, .is_current = true};
    if (holder_of(tables) != extension) {
        known = {};
        return false;
    }
    if (!find_tables(tables, known.tables)) known.is_current = false;
    return true;
}

// C world. Uses the weakest lock that conflicts with the one of DROP.
bool try_lock_tables(const Oid (&tables)[kTables]) {
    for (const Oid table : tables) {
        if (!OidIsValid(table) || !ConditionalLockRelationOid(table, AccessShareLock)) return false;
    }
    return true;
}

}  // namespace

ExtensionRow read_extension(const char* name) {
    ExtensionRow found;
    read_named_row(ExtensionRelationId, ExtensionNameIndexId, Anum_pg_extension_extname, name,
                   [&found](HeapTuple tuple, TupleDesc columns) {
                       bool is_null = false;
                       const Datum version =
                           heap_getattr(tuple, Anum_pg_extension_extversion, columns, &is_null);
                       found.version = is_null ? "" : TextDatumGetCString(version);
                       found.id = reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple))->oid;
                   });
    return found;
}

const char* name_of(Tables tables) { return tables == Tables::cron ? "pg_cron" : "pg_net"; }

ExtensionRow read_named_extension(Tables tables) {
    const ExtensionRow row = read_extension(name_of(tables));
    return OidIsValid(row.id) && is_of_this_project(row.version) ? row : ExtensionRow{};
}

Oid read_schema(const char* name) {
    Oid found = InvalidOid;
    read_named_row(NamespaceRelationId, NamespaceNameIndexId, Anum_pg_namespace_nspname, name,
                   [&found](HeapTuple tuple, TupleDesc) {
                       found = reinterpret_cast<Form_pg_namespace>(GETSTRUCT(tuple))->oid;
                   });
    return found;
}

bool has_tables(Tables tables) {
    return call([tables] { return OidIsValid(holder_of(tables)); });
}

bool is_our_extension(std::uint32_t extension) {
    return OidIsValid(extension) && (read_extension(kExtension).id == extension ||
                                     read_named_extension(Tables::cron).id == extension ||
                                     read_named_extension(Tables::net).id == extension);
}

std::uint32_t schema_of(Tables tables) {
    return call([tables] { return find_schema(tables); });
}

bool is_one_of(Tables tables, std::uint32_t table) {
    return call([tables, table] {
        if (!OidIsValid(table)) return false;
        const Oid schema = find_schema(tables);
        if (!OidIsValid(schema) || get_rel_namespace(table) != schema) return false;
        const Oid extension = getExtensionOfObject(RelationRelationId, table);
        return OidIsValid(extension) && extension == holder_of(tables);
    });
}

// Each run does this.
bool try_keep_extension(Tables tables) {
    return call([tables, &known = holders[tables == Tables::cron ? 0 : 1]] {
        listen_for_changes();
        for (const bool is_known : {true, false}) {
            const Oid extension = is_known ? known.extension : holder_of(tables);
            if (!OidIsValid(extension)) continue;
            if (!try_lock_extension(extension)) return false;
            // The extension may have been dropped before the lock was acquired.
            if (!still_holds(known, extension, tables)) continue;
            return try_lock_tables(known.tables);
        }
        return false;
    });
}

ExtensionTransaction::ExtensionTransaction(Tables tables) {
    if (try_keep_extension(tables)) return;
    throw Error(kExtensionIsLocked,
                "extension \"securatlas_sched\" is being dropped or changed by another session");
}

}  // namespace securatlas::pg
