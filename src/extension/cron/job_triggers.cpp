// Triggers on the tables of schema cron: what is written there is valid and may be written, and the
// scheduler learns of it at commit.
#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/app/cron/check_job.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/replication.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/cron/runs.hpp"
#include "securatlas/pg/cron/written_job.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"

extern "C" {
#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
}

namespace app = securatlas::app;
namespace pg = securatlas::pg;
namespace ext = securatlas::extension;

namespace {

struct Column {
    Datum value;
    bool is_null;
};

// C world.
Column column_of(HeapTuple tuple, TupleDesc description, const char* name) {
    Column column{};
    const int number = SPI_fnumber(description, name);
    column.value = SPI_getbinval(tuple, description, number, &column.is_null);
    return column;
}

std::int64_t job_of(const TriggerData* trigger, HeapTuple tuple) {
    return pg::call([=] {
        return DatumGetInt64(column_of(tuple, trigger->tg_relation->rd_att, "jobid").value);
    });
}

// Lets only the owner of the extension write cron.scheduler_state, whatever privileges were granted
// on it, and drops rows replicated from another server.
HeapTuple check_state(const TriggerData* trigger) {
    if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event)) {
        return pg::is_replicated_change() ? nullptr : trigger->tg_trigtuple;
    }
    const bool owner = pg::call([trigger] {
        return has_privs_of_role(GetUserId(), trigger->tg_relation->rd_rel->relowner);
    });
    if (!owner) {
        throw pg::Error("42501", "permission denied for table scheduler_state",
                        "Only the scheduler and the owner of the extension may write it.");
    }
    return nullptr;
}

// C world. Ends an unfinished run that a user has copied from elsewhere: another server may be
// executing it, and this one must not run it again.
HeapTuple end_copied_run(const TriggerData* trigger) {
    const TupleDesc description = trigger->tg_relation->rd_att;
    const HeapTuple row = trigger->tg_trigtuple;
    const Datum now = TimestampTzGetDatum(GetCurrentTimestamp());
    const struct {
        const char* column;
        Datum value;
        bool keeps;  // what the row has
    } changes[] = {
        {"status", CStringGetTextDatum("failed"), false},
        {"reason", CStringGetTextDatum("copied"), false},
        {"return_message", CStringGetTextDatum("copied from another server before it had ended"),
         true},
        {"start_time", now, true},
        {"end_time", now, true},
    };
    int columns[lengthof(changes)];
    Datum values[lengthof(changes)];
    bool nulls[lengthof(changes)] = {};
    int count = 0;
    for (const auto& [column, value, keeps] : changes) {
        if (keeps && !column_of(row, description, column).is_null) continue;
        columns[count] = SPI_fnumber(description, column);
        values[count] = value;
        ++count;
    }
    return heap_modify_tuple_by_cols(row, description, count, columns, values, nulls);
}

HeapTuple check_run(const TriggerData* trigger) {
    if (pg::runs::is_requesting()) return trigger->tg_trigtuple;
    return pg::call([trigger] { return end_copied_run(trigger); });
}

// A run keeps the role that it was inserted with, although the publisher sends its own with each
// change.
HeapTuple keep_role_of_run(const TriggerData* trigger) {
    return pg::call([trigger] {
        const TupleDesc description = trigger->tg_relation->rd_att;
        int column = SPI_fnumber(description, "roleid");
        bool is_null = false;
        Datum value = heap_getattr(trigger->tg_trigtuple, column, description, &is_null);
        return heap_modify_tuple_by_cols(trigger->tg_newtuple, description, 1, &column, &value,
                                         &is_null);
    });
}

HeapTuple find_role_of_run(const TriggerData* trigger) {
    if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)) return keep_role_of_run(trigger);
    struct Name {
        const char* text;  // null: none
        int column;
    };
    const Name name = pg::call([trigger] {
        const TupleDesc description = trigger->tg_relation->rd_att;
        const Column user = column_of(trigger->tg_trigtuple, description, "username");
        return Name{user.is_null ? nullptr : TextDatumGetCString(user.value),
                    SPI_fnumber(description, "roleid")};
    });
    const auto role = name.text == nullptr ? std::nullopt : pg::find_role(name.text);
    return pg::call([&, trigger] {
        int column = name.column;
        Datum value = ObjectIdGetDatum(role.value_or(0));
        bool is_null = !role;
        return heap_modify_tuple_by_cols(trigger->tg_trigtuple, trigger->tg_relation->rd_att, 1,
                                         &column, &value, &is_null);
    });
}

void tell_changes(const TriggerData* trigger) {
    if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event)) {
        pg::at_commit::notify_everything();
        return;
    }
    const std::int64_t job = job_of(trigger, trigger->tg_trigtuple);
    pg::at_commit::notify(pg::Notice::Kind::job_changed, job);
    if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)) {
        pg::at_commit::notify(pg::Notice::Kind::job_changed, job_of(trigger, trigger->tg_newtuple));
    }
    const bool of_job = strcmp(RelationGetRelationName(trigger->tg_relation), "job") == 0;
    if (of_job && TRIGGER_FIRED_BY_DELETE(trigger->tg_event)) {
        pg::jobs::remove_dependencies_of(job);
        pg::alerts::forget_job(job);
    }
}

const TriggerData* require_trigger(FunctionCallInfo fcinfo) {
    if (!CALLED_AS_TRIGGER(fcinfo)) {
        throw pg::Error("39P01", "the function can only be called as a trigger");
    }
    return reinterpret_cast<const TriggerData*>(fcinfo->context);
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_job_check);
PG_FUNCTION_INFO_V1(securatlas_job_changed);
PG_FUNCTION_INFO_V1(securatlas_state_check);
PG_FUNCTION_INFO_V1(securatlas_run_check);
PG_FUNCTION_INFO_V1(securatlas_run_role);

PGDLLEXPORT Datum securatlas_job_check(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        pg::jobs::WrittenJob job(require_trigger(fcinfo));
        app::check_job(job);
        return PointerGetDatum(job.row());
    });
}

PGDLLEXPORT Datum securatlas_job_changed(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        tell_changes(require_trigger(fcinfo));
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_state_check(PG_FUNCTION_ARGS) {
    return ext::entry_point(
        [fcinfo] { return PointerGetDatum(check_state(require_trigger(fcinfo))); });
}

PGDLLEXPORT Datum securatlas_run_check(PG_FUNCTION_ARGS) {
    return ext::entry_point(
        [fcinfo] { return PointerGetDatum(check_run(require_trigger(fcinfo))); });
}

PGDLLEXPORT Datum securatlas_run_role(PG_FUNCTION_ARGS) {
    return ext::entry_point(
        [fcinfo] { return PointerGetDatum(find_role_of_run(require_trigger(fcinfo))); });
}

}  // extern "C"
