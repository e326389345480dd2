// net.http_webhook(): a trigger function that posts a change of a row to a URL.
//
// Two roles are involved. The payload is built with the rights of the role that fires the trigger,
// because a cast to json may call a function of any user. The request belongs to the owner of the
// table, who is responsible for where it goes and which secrets it uses; the firing role needs no
// privilege on schema net.
#include <charconv>

#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/app/net/make_request.hpp"
#include "securatlas/pg/border/json.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
}

namespace app = securatlas::app;
namespace pg = securatlas::pg;
namespace ext = securatlas::extension;

namespace {

constexpr const char* kUsage =
    "The arguments are a URL and, optionally, headers (a JSON object), a timeout in milliseconds "
    "and parameters (a JSON object).";
constexpr const char* kInvalid = "22023";
constexpr const char* kDefaultHeaders = R"({"Content-Type": "application/json"})";
constexpr const char* kDefaultTimeout = "5000";

const TriggerData* require_trigger(FunctionCallInfo fcinfo) {
    if (CALLED_AS_TRIGGER(fcinfo)) return reinterpret_cast<const TriggerData*>(fcinfo->context);
    throw pg::Error("39P01", "net.http_webhook() can only be called as a trigger", "",
                    "Use CREATE TRIGGER ... EXECUTE FUNCTION net.http_webhook('https://...').");
}

// ---- the payload; all C world ----------------------------------------------------------------

const char* event_name(TriggerEvent event) {
    if (TRIGGER_FIRED_BY_INSERT(event)) return "INSERT";
    if (TRIGGER_FIRED_BY_UPDATE(event)) return "UPDATE";
    if (TRIGGER_FIRED_BY_DELETE(event)) return "DELETE";
    return "TRUNCATE";
}

void append_row(StringInfo payload, HeapTuple row, TupleDesc description) {
    if (row == nullptr) {
        appendStringInfoString(payload, "null");
        return;
    }
    const Datum json = DirectFunctionCall1(row_to_json, heap_copy_tuple_as_datum(row, description));
    const auto* bytes = DatumGetTextPP(json);
    appendBinaryStringInfo(payload, VARDATA_ANY(bytes), static_cast<int>(VARSIZE_ANY_EXHDR(bytes)));
}

// The table of which Citus has made this one a shard; InvalidOid: it is none. The name of a shard
// ends with its number.
Oid table_of_shard(Relation relation) {
    const Oid catalog_id = get_relname_relid("pg_dist_shard", PG_CATALOG_NAMESPACE);
    const char* number = strrchr(RelationGetRelationName(relation), '_');
    if (!OidIsValid(catalog_id) || number == nullptr) return InvalidOid;
    const AttrNumber shard = get_attnum(catalog_id, "shardid");
    const AttrNumber table = get_attnum(catalog_id, "logicalrelid");
    if (shard == InvalidAttrNumber || table == InvalidAttrNumber) return InvalidOid;
    Relation catalog = table_open(catalog_id, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, shard, BTEqualStrategyNumber, F_INT8EQ,
                Int64GetDatum(strtoll(number + 1, nullptr, 10)));
    const Oid index = get_relname_relid("pg_dist_shard_shardid_index", PG_CATALOG_NAMESPACE);
    SysScanDesc scan = systable_beginscan(catalog, index, OidIsValid(index), nullptr, 1, &key);
    Oid found = InvalidOid;
    HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple)) {
        bool is_null = false;
        found = DatumGetObjectId(heap_getattr(tuple, table, RelationGetDescr(catalog), &is_null));
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return get_rel_namespace(found) == RelationGetNamespace(relation) ? found : InvalidOid;
}

const char* name_of_table(Relation relation) {
    const char* name = get_rel_name(table_of_shard(relation));
    return name != nullptr ? name : RelationGetRelationName(relation);
}

// In the database encoding.
StringInfo make_payload(const TriggerData* trigger) {
    const TriggerEvent event = trigger->tg_event;
    const bool of_row = TRIGGER_FIRED_FOR_ROW(event);
    HeapTuple record = nullptr;
    HeapTuple old_record = nullptr;
    if (of_row && TRIGGER_FIRED_BY_INSERT(event)) record = trigger->tg_trigtuple;
    if (of_row && TRIGGER_FIRED_BY_UPDATE(event)) record = trigger->tg_newtuple;
    if (of_row && !TRIGGER_FIRED_BY_INSERT(event)) old_record = trigger->tg_trigtuple;
    Relation relation = trigger->tg_relation;
    StringInfo payload = makeStringInfo();
    appendStringInfo(payload, "{\"type\":\"%s\",\"table\":", event_name(event));
    escape_json(payload, name_of_table(relation));
    appendStringInfoString(payload, ",\"schema\":");
    escape_json(payload, get_namespace_name(RelationGetNamespace(relation)));
    appendStringInfoString(payload, ",\"record\":");
    append_row(payload, record, RelationGetDescr(relation));
    appendStringInfoString(payload, ",\"old_record\":");
    append_row(payload, old_record, RelationGetDescr(relation));
    appendStringInfoChar(payload, '}');
    return payload;
}

// ---- who makes the request; C world ----------------------------------------------------------

// The trigger that this one was copied from, and its table; both invalid if there is none.
struct Origin {
    Oid trigger;
    Oid table;
};

Origin read_trigger(Oid trigger) {
    Relation catalog = table_open(TriggerRelationId, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
                ObjectIdGetDatum(trigger));
    SysScanDesc scan = systable_beginscan(catalog, TriggerOidIndexId, true, nullptr, 1, &key);
    Origin found{InvalidOid, InvalidOid};
    HeapTuple tuple = systable_getnext(scan);
    if (HeapTupleIsValid(tuple)) {
        const auto* row = reinterpret_cast<Form_pg_trigger>(GETSTRUCT(tuple));
        found = {row->tgparentid, row->tgrelid};
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    return found;
}

// The owner of the table on which the trigger was created: a partition has copies of its parent's
// triggers, but its owner has not chosen their arguments.
Oid find_owner(const TriggerData* trigger) {
    if (!trigger->tg_trigger->tgisclone) return trigger->tg_relation->rd_rel->relowner;
    Origin origin{trigger->tg_trigger->tgoid, InvalidOid};
    while (OidIsValid(origin.trigger)) origin = read_trigger(origin.trigger);
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(origin.table));
    if (!HeapTupleIsValid(tuple)) elog(ERROR, "table of a trigger is missing");
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    return owner;
}

// ---- the arguments ---------------------------------------------------------------------------

const char* argument(const Trigger* trigger, int index, const char* otherwise) {
    return trigger->tgnargs > index ? trigger->tgargs[index] : otherwise;
}

app::ObjectArgument object_argument(const char* text, const char* name) {
    const Datum json = [&] {
        try {
            return pg::call(
                [text] { return DirectFunctionCall1(jsonb_in, CStringGetDatum(text)); });
        } catch (const pg::Error& error) {
            throw pg::Error(kInvalid, std::string(name) + " must be a JSON object", error.detail());
        }
    }();
    auto members = pg::read_json_object(json);
    if (!members) throw pg::Error(kInvalid, std::string(name) + " must be a JSON object");
    return {app::ObjectArgument::State::object, std::move(*members)};
}

int timeout_argument(std::string_view text) {
    int timeout = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), timeout);
    if (error != std::errc() || end != text.data() + text.size()) {
        throw pg::Error(kInvalid, "invalid timeout: \"" + std::string(text) + "\"");
    }
    return timeout;
}

app::RequestArguments request_arguments(const Trigger* trigger) {
    if (trigger->tgnargs < 1 || trigger->tgnargs > 4) {
        throw pg::Error(kInvalid, "net.http_webhook() takes 1 to 4 arguments, not " +
                                      std::to_string(trigger->tgnargs));
    }
    return {.method = "POST",
            .url = trigger->tgargs[0],
            .params = object_argument(argument(trigger, 3, "{}"), "params"),
            .headers = object_argument(argument(trigger, 1, kDefaultHeaders), "headers"),
            .timeout_milliseconds = timeout_argument(argument(trigger, 2, kDefaultTimeout))};
}

// Whether the error is about the arguments of the trigger, so that its context should name the
// trigger.
bool is_of_arguments(const pg::Error& error) {
    return error.sqlstate().starts_with("22") || error.sqlstate().starts_with("42");
}

pg::Error with_trigger(const pg::Error& error, const TriggerData* trigger) {
    const std::string place = "The arguments are those of trigger \"" +
                              std::string(trigger->tg_trigger->tgname) + "\" on table \"" +
                              RelationGetRelationName(trigger->tg_relation) + "\".";
    const std::string detail = error.detail().empty() ? place : error.detail() + " " + place;
    return pg::Error(error.sqlstate(), error.message(), detail,
                     error.hint().empty() ? kUsage : error.hint());
}

void make_request(const TriggerData* trigger) {
    const StringInfo payload = pg::call([trigger] { return make_payload(trigger); });
    const char* body =
        pg::call([payload] { return pg_server_to_any(payload->data, payload->len, PG_UTF8); });
    try {
        app::RequestArguments arguments = request_arguments(trigger->tg_trigger);
        arguments.body = {app::BodyArgument::Kind::json,
                          body == payload->data
                              ? std::string(body, static_cast<std::size_t>(payload->len))
                              : std::string(body),
                          {}};
        arguments.created_by = pg::call([trigger] { return find_owner(trigger); });
        app::make_request(std::move(arguments));
    } catch (const pg::Error& error) {
        if (!is_of_arguments(error)) throw;
        throw with_trigger(error, trigger);
    }
}

// The row that a BEFORE or INSTEAD OF row trigger has to return.
HeapTuple unchanged_row(const TriggerData* trigger) {
    if (!TRIGGER_FIRED_FOR_ROW(trigger->tg_event)) return nullptr;
    return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
                                                      : trigger->tg_trigtuple;
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_http_webhook);
PGDLLEXPORT Datum securatlas_http_webhook(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        const TriggerData* trigger = require_trigger(fcinfo);
        make_request(trigger);
        return PointerGetDatum(unchanged_row(trigger));
    });
}

}  // extern "C"
