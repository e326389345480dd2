// SQL functions and the trigger of alerts.
#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/app/cron/manage_alerts.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/json.hpp"
#include "securatlas/pg/border/replication.hpp"
#include "securatlas/pg/cron/written_job.hpp"

extern "C" {
#include "commands/trigger.h"
#include "utils/fmgrprotos.h"
#include "utils/rel.h"
}

using securatlas::extension::entry_point;
namespace app = securatlas::app;
namespace pg = securatlas::pg;
namespace ext = securatlas::extension;

namespace {

void set_headers(app::AlertRequest& request, FunctionCallInfo fcinfo, int index) {
    if (PG_ARGISNULL(index)) return;
    const Datum headers = PG_GETARG_DATUM(index);
    request.headers = pg::read_json_object(headers);
    request.headers_text =
        pg::call([headers] { return DatumGetCString(DirectFunctionCall1(jsonb_out, headers)); });
}

// What is replicated acts on its own server only. Otherwise the role is the one of that name,
// unless the extension writes the row itself.
HeapTuple check_alert(const TriggerData* trigger) {
    const bool is_replicated = pg::is_replicated_change();
    if (strcmp(RelationGetRelationName(trigger->tg_relation), "alert") != 0) {
        return is_replicated ? nullptr : trigger->tg_trigtuple;
    }
    pg::jobs::WrittenJob alert(trigger);
    if (is_replicated) {
        alert.set_role(0);
    } else if (!pg::is_own_change() && (alert.is_new() || alert.text_differs("username"))) {
        alert.set_role(pg::find_role(alert.text("username")).value_or(0));
    }
    return alert.row();
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_add_alert);
PG_FUNCTION_INFO_V1(securatlas_drop_alert);
PG_FUNCTION_INFO_V1(securatlas_alert_check);

PGDLLEXPORT Datum securatlas_add_alert(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        app::AlertRequest request;
        request.name = ext::text_argument(fcinfo, 0);
        request.events = ext::texts_argument(fcinfo, 1);
        request.jobs = ext::text_argument(fcinfo, 2);
        request.channel = ext::text_argument(fcinfo, 3);
        if (!PG_ARGISNULL(4)) request.function = PG_GETARG_OID(4);
        request.url = ext::text_argument(fcinfo, 5);
        request.format = ext::text_argument(fcinfo, 6);
        set_headers(request, fcinfo, 7);
        request.remind_after = ext::interval_argument(fcinfo, 8);
        request.late_after = ext::interval_argument(fcinfo, 9);
        request.active = ext::bool_argument(fcinfo, 10);
        return Int64GetDatum(app::add_alert(request));
    });
}

PGDLLEXPORT Datum securatlas_drop_alert(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        app::drop_alert(ext::text_argument(fcinfo, 0));
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_alert_check(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        if (!CALLED_AS_TRIGGER(fcinfo)) {
            throw pg::Error("39P01", "the function can only be called as a trigger");
        }
        return PointerGetDatum(check_alert(reinterpret_cast<const TriggerData*>(fcinfo->context)));
    });
}

}  // extern "C"
