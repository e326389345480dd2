// Triggers on cron.job and cron.job_dependency: what is written there is valid, and the scheduler
// learns of it at commit.
#include <algorithm>

#include "arguments.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/cron/schedules.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"

extern "C" {
#include "access/htup_details.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/rel.h"
}

namespace core = securatlas::core;
namespace pg = securatlas::pg;

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

std::string text_of(const TriggerData* trigger, HeapTuple tuple, const char* name) {
    return pg::call([=]() -> const char* {
        const Column column = column_of(tuple, trigger->tg_relation->rd_att, name);
        return column.is_null ? "" : TextDatumGetCString(column.value);
    });
}

bool bool_of(const TriggerData* trigger, HeapTuple tuple, const char* name) {
    return pg::call([=] {
        const Column column = column_of(tuple, trigger->tg_relation->rd_att, name);
        return !column.is_null && DatumGetBool(column.value);
    });
}

std::int64_t job_of(const TriggerData* trigger, HeapTuple tuple) {
    return pg::call([=] {
        return DatumGetInt64(column_of(tuple, trigger->tg_relation->rd_att, "jobid").value);
    });
}

// A job whose schedule is another, or that comes back from a pause, is planned from now on.
bool plans_anew(const TriggerData* trigger, HeapTuple before, HeapTuple after) {
    const auto text_differs = [&](const char* name) {
        return text_of(trigger, before, name) != text_of(trigger, after, name);
    };
    const bool resumed = !bool_of(trigger, before, "active") && bool_of(trigger, after, "active");
    return resumed || text_differs("schedule") || text_differs("timezone");
}

core::Instant instant_of(const TriggerData* trigger, HeapTuple tuple, const char* name) {
    return pg::call([=] {
        const Column column = column_of(tuple, trigger->tg_relation->rd_att, name);
        return column.is_null ? pg::now() : pg::to_instant(DatumGetTimestampTz(column.value));
    });
}

HeapTuple with_planned_from(const TriggerData* trigger, HeapTuple tuple, core::Instant from) {
    return pg::call([=] {
        int column = SPI_fnumber(trigger->tg_relation->rd_att, "planned_from");
        Datum value = TimestampTzGetDatum(pg::to_timestamp(from));
        bool is_null = false;
        return heap_modify_tuple_by_cols(tuple, trigger->tg_relation->rd_att, 1, &column, &value,
                                         &is_null);
    });
}

// The only instant of "@at" is the job's even if it has passed: the rule for missed occurrences
// decides.
core::Instant not_after_only_instant(const core::Schedule& schedule, core::Instant planned_from) {
    if (schedule.kind() != core::ScheduleKind::at) return planned_from;
    const core::Instant only = std::get<core::Schedule::At>(schedule.body()).instant;
    return (std::min)(planned_from, only - core::Duration(1));
}

HeapTuple check_job(const TriggerData* trigger) {
    const bool update = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event);
    HeapTuple after = update ? trigger->tg_newtuple : trigger->tg_trigtuple;
    const std::string schedule = text_of(trigger, after, "schedule");
    if (update && !plans_anew(trigger, trigger->tg_trigtuple, after)) return after;
    core::Instant from = update ? pg::now() : instant_of(trigger, after, "planned_from");
    // A job may be paused whatever its schedule has become.
    if (!update || bool_of(trigger, after, "active")) {
        const auto zoned = pg::read_schedule(schedule, text_of(trigger, after, "timezone"));
        from = not_after_only_instant(*zoned.schedule, from);
    }
    return with_planned_from(trigger, after, from);
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

PGDLLEXPORT Datum securatlas_job_check(PG_FUNCTION_ARGS) {
    return pg::entry([fcinfo] { return PointerGetDatum(check_job(require_trigger(fcinfo))); });
}

PGDLLEXPORT Datum securatlas_job_changed(PG_FUNCTION_ARGS) {
    return pg::entry([fcinfo] {
        tell_changes(require_trigger(fcinfo));
        return Datum{0};
    });
}

}  // extern "C"
