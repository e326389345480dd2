#include "securatlas/pg/net/webhook_rights.hpp"

#include "securatlas/core/net/secret_reference.hpp"
#include "securatlas/pg/border/json.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
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
        if (is_to_be_checked(row)) {
            found = {true, get_rel_name(row->tgrelid),
                     second_argument(tuple, RelationGetDescr(catalog), row->tgnargs)};
        }
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return found;
}

bool names_a_secret(const char* headers) {
    const Datum json =
        call([headers] { return DirectFunctionCall1(jsonb_in, CStringGetDatum(headers)); });
    const auto members = read_json_object(json);
    if (!members) return false;  // not a JSON object: the webhook will fail anyway
    for (const JsonMember& member : *members) {
        if (!core::secret_names(member.value).empty()) return true;
    }
    return false;
}

}  // namespace

void check_new_trigger(Oid trigger) {
    const NewTrigger made = call([trigger] { return read(trigger); });
    if (!made.is_to_be_checked || made.headers == nullptr) return;
    if (!names_a_secret(made.headers)) return;
    throw Error("42501",
                std::string("permission denied to name a secret in a webhook on table \"") +
                    made.table + "\"",
                "The requests of a webhook use the secrets of the owner of the table.",
                "Have the owner of the table create the trigger.");
}

}  // namespace securatlas::pg
