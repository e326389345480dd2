#include "securatlas/pg/net/webhook_rights.hpp"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "securatlas/core/net/secret_reference.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/json.hpp"
#include "securatlas/pg/net/secrets.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
}

namespace securatlas::pg {
namespace {

struct NewTrigger {
    bool is_to_be_checked;
    const char* table;
    const char* headers;  // the second argument; nullptr: none
};

bool is_webhook(Oid function) {
    const char* name = get_func_name(function);
    if (name == nullptr || strcmp(name, "http_webhook") != 0) return false;
    const char* schema = get_namespace_name(get_func_namespace(function));
    return schema != nullptr && strcmp(schema, "net") == 0;
}

Oid owner_of(Oid table) {
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(table));
    if (!HeapTupleIsValid(tuple)) elog(ERROR, "table of a trigger is missing");
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    return owner;
}

// Trigger arguments are stored one after another, each terminated by a zero byte.
const char* second_argument(HeapTuple tuple, TupleDesc description, int count) {
    bool is_null = false;
    const Datum datum = heap_getattr(tuple, Anum_pg_trigger_tgargs, description, &is_null);
    if (is_null || count < 2) return nullptr;
    const bytea* bytes = DatumGetByteaPP(datum);
    const char* first = VARDATA_ANY(bytes);
    return pstrdup(first + strlen(first) + 1);
}

// The copy of a trigger on a partition was checked together with the original.
bool is_to_be_checked(const FormData_pg_trigger* row) {
    return !OidIsValid(row->tgparentid) && is_webhook(row->tgfoid) &&
           !has_privs_of_role(GetUserId(), owner_of(row->tgrelid));
}

// Whether Citus will refuse any trigger on this table, because it has shards.
bool is_refused_by_citus(Oid table) {
    const Oid catalog_id = get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE);
    const char* allowed = GetConfigOption("citus.enable_unsafe_triggers", true, false);
    const char* passed_on = GetConfigOption("citus.enable_ddl_propagation", true, false);
    if (!OidIsValid(catalog_id) || allowed == nullptr || strcmp(allowed, "on") == 0 ||
        passed_on == nullptr || strcmp(passed_on, "on") != 0) {
        return false;
    }
    const AttrNumber column = get_attnum(catalog_id, "logicalrelid");
    if (column == InvalidAttrNumber) return false;
    Relation catalog = table_open(catalog_id, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
    SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, nullptr, 1, &key);
    const bool found = HeapTupleIsValid(systable_getnext(scan));
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return found;
}

void require_triggers_of_citus(Oid table) {
    if (!is_refused_by_citus(table)) return;
    ereport(ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             errmsg("a webhook on distributed table \"%s\" needs citus.enable_unsafe_triggers",
                    get_rel_name(table)),
             errhint("SET citus.enable_unsafe_triggers = on before CREATE TRIGGER. The webhook is "
                     "then one of the shards, and each node sends the requests for its rows.")));
}

NewTrigger read(Oid trigger) {
    Relation catalog = table_open(TriggerRelationId, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(trigger));
    // SnapshotSelf, because the row was written by the current command.
    SysScanDesc scan = systable_beginscan(catalog, TriggerOidIndexId, true, SnapshotSelf, 1, &key);
    NewTrigger found{false, nullptr, nullptr};
    HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple)) {
        const auto* row = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
        if (is_webhook(row->tgfoid)) require_triggers_of_citus(row->tgrelid);
        if (is_to_be_checked(row)) {
            found = {true, get_rel_name(row->tgrelid),
                     second_argument(tuple, RelationGetDescr(catalog), row->tgnargs)};
        }
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return found;
}

std::vector<std::string> names_of_secrets(const char* headers) {
    std::vector<std::string> names;
    const Datum json =
        call([headers] { return DirectFunctionCall1(jsonb_in, CStringGetDatum(headers)); });
    const auto members = read_json_object(json);
    if (!members) return names;  // not a JSON object: the webhook will fail anyway
    for (const JsonMember& member : *members) {
        std::ranges::move(core::secret_names(member.value), std::back_inserter(names));
    }
    return names;
}

struct Webhook {
    const char* trigger;
    const char* headers;
};

struct NewOwner {
    Oid former;  // invalid: the owner is the same
    const char* table;
    Webhook* webhooks;
    int count;
};

Oid owner_from_now_on(Oid table, bool* has_triggers) {
    Relation catalog = table_open(RelationRelationId, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(table));
    SysScanDesc scan = systable_beginscan(catalog, ClassOidIndexId, true, SnapshotSelf, 1, &key);
    Oid owner = InvalidOid;
    HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple)) {
        const auto* row = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
        owner = row->relowner;
        *has_triggers = row->relhastriggers;
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return owner;
}

NewOwner read_new_owner(Oid table) {
    NewOwner found{InvalidOid, nullptr, nullptr, 0};
    bool has_triggers = false;
    const Oid owner = owner_from_now_on(table, &has_triggers);
    if (!has_triggers) return found;
    const Oid former = owner_of(table);  // as the command has found it
    if (former == owner) return found;
    Relation catalog = table_open(TriggerRelationId, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(table));
    SysScanDesc scan = systable_beginscan(catalog, TriggerRelidNameIndexId, true, nullptr, 1, &key);
    int room = 8;
    found = {former, get_rel_name(table), static_cast<Webhook*>(palloc(sizeof(Webhook) * room)), 0};
    while (HeapTuple tuple = systable_getnext(scan)) {
        const auto* row = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
        // The copy on a partition has the rights of the owner of the original's table.
        if (OidIsValid(row->tgparentid) || !is_webhook(row->tgfoid)) continue;
        const char* headers = second_argument(tuple, RelationGetDescr(catalog), row->tgnargs);
        if (headers == nullptr) continue;
        if (found.count == room) {
            room *= 2;
            found.webhooks =
                static_cast<Webhook*>(repalloc(found.webhooks, sizeof(Webhook) * room));
        }
        found.webhooks[found.count++] = {pstrdup(NameStr(row->tgname)), headers};
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return found;
}

}  // namespace

void check_new_trigger(Oid trigger) {
    const NewTrigger made = call([trigger] { return read(trigger); });
    if (!made.is_to_be_checked || made.headers == nullptr) return;
    if (names_of_secrets(made.headers).empty()) return;
    throw Error("42501",
                std::string("permission denied to name a secret in a webhook on table \"") +
                    made.table + "\"",
                "The requests of a webhook use the secrets of the owner of the table.",
                "Have the owner of the table create the trigger.");
}

void check_new_owner(Oid table) {
    const NewOwner change = call([table] { return read_new_owner(table); });
    if (change.count == 0 || !has_tables(Tables::net)) return;
    for (int i = 0; i < change.count; ++i) {
        const std::vector<std::string> names = names_of_secrets(change.webhooks[i].headers);
        const auto denied = secrets::first_denied(names, change.former);
        if (!denied) continue;
        throw Error("42501",
                    std::string("cannot change the owner of table \"") + change.table + "\"",
                    std::string("Webhook \"") + change.webhooks[i].trigger + "\" names secret \"" +
                        *denied + "\", which the present owner of the table may not use.",
                    "Drop the trigger, and have the new owner create it again.");
    }
}

}  // namespace securatlas::pg
