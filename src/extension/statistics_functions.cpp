// SQL functions behind the views of schema cron_stat.
#include <algorithm>

#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/core/histogram.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/net/visible_hosts.hpp"
#include "securatlas/pg/shared/overview.hpp"
#include "securatlas/pg/shared/statistics.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/tuplestore.h"
}

namespace core = securatlas::core;
namespace pg = securatlas::pg;
namespace ext = securatlas::extension;

namespace {

// ---- values; all C world -------------------------------------------------------------------

// The columns of a row, one after another.
struct Columns {
    int count = 0;
    Datum values[24] = {};
    bool nulls[24] = {};

    void add(Datum value, bool is_null = false) {
        values[count] = value;
        nulls[count++] = is_null;
    }
    void add(std::int64_t number) { add(Int64GetDatum(number)); }
    void add_seconds(std::int64_t microseconds) {
        add(Float8GetDatum(static_cast<double>(microseconds) / 1e6));
    }
    void add_instant(core::Instant time, bool is_null) {
        add(TimestampTzGetDatum(pg::to_timestamp(time)), is_null);
    }
    // Microseconds since 1970; 0: never.
    void add_time(std::int64_t at) { add_instant(core::Instant(core::Duration(at)), at == 0); }
    void add_text(const char* text) {
        add(text == nullptr ? Datum{0} : CStringGetTextDatum(text), text == nullptr);
    }
    void add_array(const std::int64_t* numbers, std::size_t size) {
        Datum datums[64];
        for (std::size_t i = 0; i < size; ++i) datums[i] = Int64GetDatum(numbers[i]);
        add(PointerGetDatum(
            construct_array(datums, static_cast<int>(size), INT8OID, 8, true, TYPALIGN_DOUBLE)));
    }
};

Datum row_of(FunctionCallInfo fcinfo, Columns& columns) {
    // The description is the same in all calls of a query.
    auto* description = static_cast<TupleDesc>(fcinfo->flinfo->fn_extra);
    if (description == nullptr) {
        if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE) {
            elog(ERROR, "return type must be a row type");
        }
        const MemoryContext before = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
        description = BlessTupleDesc(CreateTupleDescCopy(description));
        MemoryContextSwitchTo(before);
        fcinfo->flinfo->fn_extra = description;
    }
    return HeapTupleGetDatum(heap_form_tuple(description, columns.values, columns.nulls));
}

void put_row(FunctionCallInfo fcinfo, Columns& columns) {
    const auto* result = reinterpret_cast<const ReturnSetInfo*>(fcinfo->resultinfo);
    tuplestore_putvalues(result->setResult, result->setDesc, columns.values, columns.nulls);
}

const char* outcome_name(std::int64_t outcome) {
    if (outcome == 0) return nullptr;
    switch (static_cast<core::RunOutcome>(outcome - 1)) {
        case core::RunOutcome::succeeded:
            return "succeeded";
        case core::RunOutcome::failed:
            return "failed";
        case core::RunOutcome::cancelled:
            return "cancelled";
    }
    return nullptr;
}

// {"overlap": 3}
void add_lost(Columns& columns, const pg::JobFigures& job) {
    StringInfoData json;
    initStringInfo(&json);
    for (std::size_t i = 0; i < core::reasons::kLostKinds; ++i) {
        const std::int64_t number = job.at(pg::JobValue::lost, i);
        if (number == 0) continue;
        appendStringInfo(&json, "%c\"%s\": " INT64_FORMAT, json.len == 0 ? '{' : ',',
                         core::reasons::kKindNames[core::reasons::kFirstLost + i], number);
    }
    appendStringInfoString(&json, json.len == 0 ? "{}" : "}");
    columns.add(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

Columns job_columns(const pg::JobFigures& job) {
    using enum pg::JobValue;
    Columns columns;
    for (const auto value : {succeeded, failed, cancelled, skipped, missed}) {
        columns.add(job[value]);
    }
    if (job[skipped] + job[missed] == 0) {
        columns.add(Datum{0}, true);
    } else {
        add_lost(columns, job);
    }
    for (const auto value : {retries, requests}) columns.add(job[value]);
    for (const auto value : {total_time, max_time, total_lag, max_lag}) {
        columns.add_seconds(job[value]);
    }
    columns.add_time(job[last_start]);
    columns.add_time(job[last_success]);
    columns.add_text(outcome_name(job[last_outcome]));
    columns.add(job[consecutive_failures]);
    columns.add_time(job[stats_reset]);
    return columns;
}

Columns database_columns(const pg::DatabaseFigures& database) {
    using enum pg::DatabaseValue;
    Columns columns;
    columns.add(std::max<std::int64_t>(database[starts] - 1, 0));
    columns.add_time(database[last_error_at]);
    for (const auto value : {made, sent, attempts, succeeded, failed, expired, cancelled, bytes_out,
                             bytes_in, callbacks_failed}) {
        columns.add(database[value]);
    }
    columns.add_array(&database.values[static_cast<std::size_t>(reasons)], core::reasons::kKinds);
    columns.add_array(&database.values[static_cast<std::size_t>(lags)], core::kHistogramBuckets);
    columns.add_array(&database.values[static_cast<std::size_t>(durations)],
                      core::kHistogramBuckets);
    columns.add_seconds(database[total_lag]);
    columns.add_seconds(database[total_time]);
    columns.add_time(database[stats_reset]);
    return columns;
}

void put_host(FunctionCallInfo fcinfo, const pg::Statistics::Host& host) {
    using enum pg::HostValue;
    Columns columns;
    columns.add_text(host.name.c_str());
    for (const auto value : {attempts, succeeded, failed, retried, bytes_out, bytes_in}) {
        columns.add(host.figures[value]);
    }
    columns.add_seconds(host.figures[total_time]);
    const std::int64_t* counts = &host.figures.values[static_cast<std::size_t>(durations)];
    for (const double share : {0.5, 0.95, 0.99}) {
        const auto at = core::histogram_quantile({counts, core::kHistogramBuckets}, share);
        const auto milliseconds = static_cast<double>(at.value_or(core::Duration(0)).count());
        columns.add(Float8GetDatum(milliseconds / 1000.0), !at);
    }
    columns.add_array(counts, core::kHistogramBuckets);
    columns.add_time(host.figures[stats_reset]);
    put_row(fcinfo, columns);
}

void put_scheduler(FunctionCallInfo fcinfo, const pg::SchedulerOverview& scheduler,
                   const pg::DatabaseFigures& figures) {
    const pg::SchedulerStatus& status = scheduler.status;
    const bool down = status.pid == 0;
    Columns columns;
    columns.add(ObjectIdGetDatum(scheduler.database));
    columns.add(Int32GetDatum(status.pid), down);
    columns.add_instant(status.started, down);
    columns.add(std::max<std::int64_t>(figures[pg::DatabaseValue::starts] - 1, 0));
    columns.add_instant(status.planned_until, down);
    columns.add(Int64GetDatum(status.jobs), down);
    columns.add(Int64GetDatum(status.waiting), down);
    columns.add_instant(status.oldest_wait, down || status.oldest_wait == core::kNever);
    columns.add(Int32GetDatum(scheduler.workers.busy));
    columns.add(Int32GetDatum(scheduler.workers.idle));
    columns.add(Int32GetDatum(scheduler.workers.limit));
    columns.add_text(status.last_error[0] == '\0' ? nullptr : status.last_error.data());
    columns.add_time(figures[pg::DatabaseValue::last_error_at]);
    columns.add_time(figures[pg::DatabaseValue::stats_reset]);
    put_row(fcinfo, columns);
}

void put_worker(FunctionCallInfo fcinfo, const pg::WorkerOverview& worker) {
    Columns columns;
    columns.add(Int32GetDatum(worker.pid), worker.pid == 0);
    columns.add(ObjectIdGetDatum(worker.target.database));
    columns.add(ObjectIdGetDatum(worker.target.role));
    columns.add(ObjectIdGetDatum(worker.owner), worker.owner == 0);
    columns.add_text(worker.calls_back ? "calling back" : worker.state);
    columns.add(Int64GetDatum(worker.job), worker.job == 0);
    columns.add(Int64GetDatum(worker.run), worker.run == 0);
    columns.add_instant(worker.started_at, worker.started_at == core::kLongAgo);
    columns.add(Int32GetDatum(worker.queued));
    put_row(fcinfo, columns);
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_job_statistics);
PG_FUNCTION_INFO_V1(securatlas_database_statistics);
PG_FUNCTION_INFO_V1(securatlas_host_statistics);
PG_FUNCTION_INFO_V1(securatlas_schedulers);
PG_FUNCTION_INFO_V1(securatlas_workers);
PG_FUNCTION_INFO_V1(securatlas_top_jobs);
PG_FUNCTION_INFO_V1(securatlas_reason_kind);
PG_FUNCTION_INFO_V1(securatlas_reset_statistics);
PG_FUNCTION_INFO_V1(securatlas_reset_job_statistics);
PG_FUNCTION_INFO_V1(securatlas_reset_host_statistics);

PGDLLEXPORT Datum securatlas_job_statistics(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        const auto job = pg::Statistics::job(pg::current_database(), PG_GETARG_INT64(0));
        return pg::call([&] {
            Columns columns = job_columns(job);
            return row_of(fcinfo, columns);
        });
    });
}

PGDLLEXPORT Datum securatlas_database_statistics(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        const auto database = pg::Statistics::database(pg::current_database());
        return pg::call([&] {
            Columns columns = database_columns(database);
            return row_of(fcinfo, columns);
        });
    });
}

// Only those who may see all statistics see hosts: a host can be a secret of who sends to it.
PGDLLEXPORT Datum securatlas_host_statistics(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        std::vector<pg::Statistics::Host> hosts;
        if (pg::may_see_all_statistics()) hosts = pg::Statistics::hosts(pg::current_database());
        pg::call([&] {
            InitMaterializedSRF(fcinfo, 0);
            for (const pg::Statistics::Host& host : hosts) put_host(fcinfo, host);
        });
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_schedulers(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        auto schedulers = pg::all_schedulers();
        if (!pg::may_see_all_statistics()) schedulers.clear();
        std::vector<pg::DatabaseFigures> figures;
        figures.reserve(schedulers.size());
        for (const auto& one : schedulers) {
            figures.push_back(pg::Statistics::database(one.database));
        }
        pg::call([&] {
            InitMaterializedSRF(fcinfo, 0);
            for (std::size_t i = 0; i < schedulers.size(); ++i) {
                put_scheduler(fcinfo, schedulers[i], figures[i]);
            }
        });
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_workers(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        auto workers = pg::all_workers();
        if (!pg::may_see_all_statistics()) workers.clear();
        pg::call([&] {
            InitMaterializedSRF(fcinfo, 0);
            for (const pg::WorkerOverview& worker : workers) put_worker(fcinfo, worker);
        });
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_top_jobs(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        const int most = std::clamp(PG_GETARG_INT32(0), 0, 1'000'000);
        const auto jobs =
            pg::Statistics::top_jobs(pg::current_database(), static_cast<std::size_t>(most));
        return pg::call([&] {
            auto* datums = static_cast<Datum*>(palloc(sizeof(Datum) * (jobs.size() + 1)));
            std::ranges::transform(jobs, datums, [](auto job) { return Int64GetDatum(job); });
            return PointerGetDatum(construct_array(datums, static_cast<int>(jobs.size()), INT8OID,
                                                   8, true, TYPALIGN_DOUBLE));
        });
    });
}

PGDLLEXPORT Datum securatlas_reason_kind(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        const auto kind = core::reasons::kind_of(ext::text_argument(fcinfo, 0).value_or(""));
        return pg::call([kind] {
            return CStringGetTextDatum(core::reasons::kKindNames[static_cast<std::size_t>(kind)]);
        });
    });
}

PGDLLEXPORT Datum securatlas_reset_statistics(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return ext::entry_point([] {
        pg::Statistics::reset(pg::current_database());
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_reset_job_statistics(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        pg::Statistics::reset_job(pg::current_database(), PG_GETARG_INT64(0));
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_reset_host_statistics(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] {
        const auto host = ext::text_argument(fcinfo, 0).value_or("");
        pg::Statistics::reset_host(pg::current_database(), host);
        return Datum{0};
    });
}

}  // extern "C"
