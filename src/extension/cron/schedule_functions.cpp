// SQL functions of schema cron that explain schedules and show the status of the scheduler.
#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/schedules.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
}

namespace core = securatlas::core;
namespace pg = securatlas::pg;
namespace ext = securatlas::extension;

namespace {

constexpr int kMaxNextRuns = 10'000;

std::string require_schedule(FunctionCallInfo fcinfo) {
    auto schedule = ext::text_argument(fcinfo, 0);
    if (!schedule) throw pg::Error("22004", "schedule can not be NULL");
    return *schedule;
}

// NULL becomes the empty text: the default zone.
std::string timezone_argument(FunctionCallInfo fcinfo, int index) {
    const auto timezone = ext::text_argument(fcinfo, index);
    if (timezone && timezone->empty()) pg::require_zone(*timezone);
    return timezone.value_or(std::string());
}

std::vector<core::Instant> next_runs(FunctionCallInfo fcinfo, std::optional<core::Instant> after) {
    const auto count = ext::int_argument(fcinfo, 1);
    if (!count) throw pg::Error("22004", "count can not be NULL");
    if (!after) throw pg::Error("22004", "after can not be NULL");
    if (*count < 0 || *count > kMaxNextRuns) {
        throw pg::Error("22023", "count is out of range", "It must be from 0 to 10000.");
    }
    const auto zoned = pg::read_schedule(require_schedule(fcinfo), timezone_argument(fcinfo, 3));
    const core::Instant anchor = ext::instant_argument(fcinfo, 4).value_or(*after);
    std::vector<core::Instant> runs;
    core::Instant last = *after;
    while (runs.size() < static_cast<std::size_t>(*count)) {
        const auto next = core::next_occurrence(*zoned.schedule, *zoned.zone, anchor, last);
        if (!next) break;
        runs.push_back(last = *next);
    }
    return runs;
}

Datum array_of(const std::vector<core::Instant>& instants) {
    return pg::call([&instants] {
        const auto count = static_cast<int>(instants.size());
        auto* values = static_cast<Datum*>(palloc(sizeof(Datum) * (instants.size() + 1)));
        for (int i = 0; i < count; ++i) {
            values[i] =
                TimestampTzGetDatum(pg::to_timestamp(instants[static_cast<std::size_t>(i)]));
        }
        return PointerGetDatum(
            construct_array(values, count, TIMESTAMPTZOID, 8, true, TYPALIGN_DOUBLE));
    });
}

std::string explain(FunctionCallInfo fcinfo) {
    const auto zoned = pg::read_schedule(require_schedule(fcinfo), timezone_argument(fcinfo, 1));
    return core::explain_schedule(*zoned.schedule, zoned.zone_name);
}

// C world. The columns of cron._scheduler_status, in order.
Datum status_row(FunctionCallInfo fcinfo, const pg::SchedulerStatus& status,
                 const pg::WorkerCounts& workers) {
    TupleDesc description = nullptr;
    if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE) {
        elog(ERROR, "return type must be a row type");
    }
    const auto instant = [](core::Instant time) {
        return TimestampTzGetDatum(pg::to_timestamp(time));
    };
    const bool down = status.pid == 0;
    Datum values[] = {Int32GetDatum(status.pid),
                      instant(status.started),
                      instant(status.planned_until),
                      Int64GetDatum(status.jobs),
                      Int32GetDatum(workers.busy),
                      Int32GetDatum(workers.idle),
                      Int32GetDatum(workers.limit),
                      Int64GetDatum(status.waiting),
                      instant(status.oldest_wait),
                      instant(status.last_clock_step),
                      CStringGetTextDatum(status.last_error.data())};
    bool nulls[] = {down,
                    down,
                    down,
                    down,
                    false,
                    false,
                    false,
                    down,
                    down || status.oldest_wait == core::kNever,
                    down || status.last_clock_step == core::kLongAgo,
                    status.last_error[0] == '\0'};
    return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls));
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_next_runs);
PG_FUNCTION_INFO_V1(securatlas_try_next_runs);
PG_FUNCTION_INFO_V1(securatlas_explain_schedule);
PG_FUNCTION_INFO_V1(securatlas_scheduler_status);

PGDLLEXPORT Datum securatlas_next_runs(PG_FUNCTION_ARGS) {
    return ext::entry_point(
        [fcinfo] { return array_of(next_runs(fcinfo, ext::instant_argument(fcinfo, 2))); });
}

PGDLLEXPORT Datum securatlas_try_next_runs(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        std::vector<core::Instant> runs;
        try {
            runs = next_runs(fcinfo, ext::instant_argument(fcinfo, 2).value_or(pg::now()));
        } catch (const pg::Error&) {
            // The error can be swallowed, because parsing a schedule leaves nothing behind in the
            // transaction.
            fcinfo->isnull = true;
            return Datum{0};
        }
        return array_of(runs);
    });
}

PGDLLEXPORT Datum securatlas_explain_schedule(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        const auto sentence = explain(fcinfo);
        return pg::call([&sentence] { return CStringGetTextDatum(sentence.c_str()); });
    });
}

PGDLLEXPORT Datum securatlas_scheduler_status(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        const pg::DatabaseOid database = pg::current_database();
        const auto status = pg::DatabaseTable::status(database).value_or(pg::SchedulerStatus{});
        const auto workers = pg::WorkerTable::counts(database);
        return pg::call([&] { return status_row(fcinfo, status, workers); });
    });
}

}  // extern "C"
