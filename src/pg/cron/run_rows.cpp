#include "cron/run_rows.hpp"

#include "border/keyed_row.hpp"
#include "border/relation_changes.hpp"
#include "cron/run_texts.hpp"
#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg::runs {
namespace {

constexpr const char* kSchema = "cron";
constexpr const char* kHistory = "job_run_details";

// ---- C world -------------------------------------------------------------------------------

// The columns of cron.job_run_details that a run's worker reads and writes.
struct RunColumns {
    AttrNumber run, command, job_name, database, username, status, message, sqlstate, reason, pid,
        started, ended, transactional;

    static RunColumns of(Relation history) {
        const auto number = [history](const char* name) { return column_number(history, name); };
        return {number("runid"),          number("command"),    number("jobname"),
                number("database"),       number("username"),   number("status"),
                number("return_message"), number("sqlstate"),   number("reason"),
                number("job_pid"),        number("start_time"), number("end_time"),
                number("transactional")};
    }
};

struct JobColumns {
    AttrNumber job, command, name, database, username, max_runtime, log_runs;

    static JobColumns of(Relation jobs) {
        const auto number = [jobs](const char* name) { return column_number(jobs, name); };
        return {number("jobid"),    number("command"),     number("jobname"), number("database"),
                number("username"), number("max_runtime"), number("log_runs")};
    }
};

// The values of a row; of none if the row is missing.
struct FoundRow {
    HeapTuple row;
    Datum* values;
    bool* nulls;

    static FoundRow of(HeapTuple row, Relation table) {
        if (row == nullptr) return {};
        TupleDesc columns = RelationGetDescr(table);
        const auto count = static_cast<Size>(columns->natts);
        FoundRow found{row, static_cast<Datum*>(palloc(sizeof(Datum) * count)),
                       static_cast<bool*>(palloc(sizeof(bool) * count))};
        heap_deform_tuple(row, columns, found.values, found.nulls);
        return found;
    }
    Value value(AttrNumber column) const {
        if (row == nullptr || nulls[column - 1]) return {Datum{0}, true};
        return {values[column - 1], false};
    }
    Bytes text(AttrNumber column) const {
        const Value found = value(column);
        if (found.is_null) return {nullptr, 0};
        return bytes_of(found.datum);
    }
    bool has_text(AttrNumber column, std::string_view text_wanted) const {
        return text(column).view() == text_wanted;
    }
};

struct FoundTask {
    bool wanted;
    Bytes command;
    Bytes job_name;
    Bytes database;
    Bytes username;
    const Interval* max_runtime;
    bool keep_success;
    Place place;
};

FoundTask found_task(const FoundRow& run, const RunColumns& of_run, const FoundRow& job,
                     const JobColumns& of_job) {
    const auto either = [&](AttrNumber run_column, AttrNumber job_column) {
        const Bytes found = run.text(run_column);
        return found.data != nullptr ? found : job.text(job_column);
    };
    const Bytes command = either(of_run.command, of_job.command);
    const bool waits =
        run.row == nullptr ? job.row != nullptr : run.has_text(of_run.status, "starting");
    const Value max_runtime = job.value(of_job.max_runtime);
    return {.wanted = command.data != nullptr && waits,
            .command = command,
            .job_name = either(of_run.job_name, of_job.name),
            .database = either(of_run.database, of_job.database),
            .username = either(of_run.username, of_job.username),
            .max_runtime = max_runtime.is_null ? nullptr : DatumGetIntervalP(max_runtime.datum),
            .keep_success = !job.has_text(of_job.log_runs, "failures"),
            .place = run.row == nullptr ? Place{}
                                        : Place{ItemPointerGetBlockNumber(&run.row->t_self),
                                                ItemPointerGetOffsetNumber(&run.row->t_self)}};
}

void find_tasks(const RunOrder* orders, std::size_t count, FoundTask* tasks) {
    Relation history = open_table(kSchema, kHistory, AccessShareLock);
    Relation jobs = open_table(kSchema, "job", AccessShareLock);
    PushActiveSnapshot(GetTransactionSnapshot());
    const RunColumns of_run = RunColumns::of(history);
    const JobColumns of_job = JobColumns::of(jobs);
    RowFinder find_run = begin_finding(history, of_run.run, GetActiveSnapshot());
    RowFinder find_job = begin_finding(jobs, of_job.job, GetActiveSnapshot());
    for (std::size_t i = 0; i < count; ++i) {
        const auto run = static_cast<std::int64_t>(orders[i].run);
        const auto job = static_cast<std::int64_t>(orders[i].occurrence.job);
        tasks[i] = found_task(FoundRow::of(find_next(find_run, run), history), of_run,
                              FoundRow::of(find_next(find_job, job), jobs), of_job);
    }
    end_finding(find_job);
    end_finding(find_run);
    PopActiveSnapshot();
    table_close(jobs, NoLock);
    table_close(history, NoLock);
}

// What each run needs of the definition of the history, kept until that changes.
struct Prepared {
    MemoryContext memory;
    Oid history;
    bool is_stale;  // set when the definition of the history or of one of its indexes changes
    bool is_plain;  // the indexes are set if it is
    RunColumns columns;
    KnownIndexes indexes;
};
constinit Prepared prepared{};

void note_change(Oid relation) {
    bool is_part = !OidIsValid(relation) || relation == prepared.history;
    for (int i = 0; i < prepared.indexes.count; ++i) {
        is_part = is_part || relation == prepared.indexes.ids[i];
    }
    if (is_part) prepared.is_stale = true;
}

struct EndChanges {
    std::array<Change, 8> all;
    int count;
};

EndChanges changes_of(const RunColumns& columns, const RunReport& report, Datum status) {
    EndChanges changes{};
    const auto set = [&](AttrNumber column, Datum value, bool is_null = false) {
        changes.all[static_cast<std::size_t>(changes.count++)] = {column, value, is_null};
    };
    const bool has_reason = report.reason[0] != '\0';
    set(columns.status, status);
    set(columns.message, CStringGetTextDatum(report.message.data()));
    set(columns.sqlstate, CStringGetTextDatum(report.sqlstate.data()));
    set(columns.reason, has_reason ? CStringGetTextDatum(report.reason.data()) : Datum{0},
        !has_reason);
    set(columns.pid, Int32GetDatum(report.pid));
    set(columns.started, TimestampTzGetDatum(to_timestamp(report.started_at)));
    set(columns.ended, TimestampTzGetDatum(to_timestamp(report.ended_at)));
    if (!report.transactional) set(columns.transactional, BoolGetDatum(false));
    return changes;
}

// With a lock on the table, so that its definition stays as it is.
void prepare(Relation history) {
    if (prepared.memory == nullptr) {
        on_relation_change(note_change);
        prepared.memory = AllocSetContextCreate(TopMemoryContext, "securatlas_sched history",
                                                ALLOCSET_SMALL_SIZES);
    } else if (prepared.history == RelationGetRelid(history) && !prepared.is_stale) {
        return;
    }
    MemoryContextReset(prepared.memory);
    prepared.indexes.count = 0;
    prepared.history = RelationGetRelid(history);
    prepared.is_stale = false;  // before reading, so that a change meanwhile is not lost
    prepared.columns = RunColumns::of(history);
    constexpr KnownParts kKnown = {.trigger = "run_role",  // of changes of roleid only
                                   .check = "job_run_details_status_check"};
    const EndChanges changes = changes_of(prepared.columns, RunReport{}, Datum{0});
    MemoryContext caller = MemoryContextSwitchTo(prepared.memory);
    prepared.is_plain = is_plainly_updated(history, kKnown, changes.all.data(), changes.count) &&
                        read_indexes(history, &prepared.indexes);
    MemoryContextSwitchTo(caller);
}

bool is_unfinished(const FoundRow& run) {
    const AttrNumber status = prepared.columns.status;
    return run.row != nullptr &&
           (run.has_text(status, "starting") || run.has_text(status, "running"));
}

// The unfinished row of the run; null if there is none.
HeapTuple unfinished_row(Relation history, std::int64_t run, const Place& place,
                         Snapshot snapshot) {
    const AttrNumber key = prepared.columns.run;
    HeapTuple row = nullptr;
    if (place.offset != 0) {
        ItemPointerData there;
        ItemPointerSet(&there, place.block, place.offset);
        row = row_at(history, &there, snapshot);
        if (row != nullptr && DatumGetInt64(value_of(row, history, key).datum) != run)
            row = nullptr;
    }
    if (row == nullptr) row = find_row(history, key, run, snapshot);
    return is_unfinished(FoundRow::of(row, history)) ? row : nullptr;
}

bool write_end_into(Relation history, const RunReport& report, const Place& place, Datum status) {
    prepare(history);
    if (!prepared.is_plain) return false;
    const EndChanges changes = changes_of(prepared.columns, report, status);
    const auto run = static_cast<std::int64_t>(report.order.run);
    CommandCounterIncrement();
    while (true) {
        PushActiveSnapshot(GetLatestSnapshot());
        Snapshot snapshot = GetActiveSnapshot();
        HeapTuple row = unfinished_row(history, run, place, snapshot);
        const bool done =
            row != nullptr && update_row(history, row, snapshot, changes.all.data(), changes.count,
                                         Locked::wait, &prepared.indexes);
        PopActiveSnapshot();
        if (row == nullptr) return false;
        if (done) return true;
    }
}

// ---- C++ world -----------------------------------------------------------------------------

std::string string_of(Bytes bytes) {
    return bytes.data == nullptr ? std::string() : std::string(bytes.data, bytes.length);
}

}  // namespace

// For a run with a row, reads what the claim has written; for one without, what the job says now.
std::unordered_map<core::RunId, Task> read_tasks(const std::vector<RunOrder>& orders) {
    const FoundTask* found = call([&orders] {
        auto* tasks = static_cast<FoundTask*>(palloc(sizeof(FoundTask) * (orders.size() + 1)));
        find_tasks(orders.data(), orders.size(), tasks);
        return tasks;
    });
    std::unordered_map<core::RunId, Task> tasks;
    for (std::size_t i = 0; i < orders.size(); ++i) {
        tasks[orders[i].run] = {
            .wanted = found[i].wanted,
            .command = string_of(found[i].command),
            .job_name = string_of(found[i].job_name),
            .database = string_of(found[i].database),
            .username = string_of(found[i].username),
            .max_runtime = found[i].max_runtime == nullptr
                               ? std::nullopt
                               : std::optional(to_duration(*found[i].max_runtime)),
            .keep_success = found[i].keep_success,
            .place = found[i].place};
    }
    return tasks;
}

bool write_end(const RunReport& report, const Place& place) {
    const std::string_view status = outcome_text(report.outcome);
    return call([&report, &place, status] {
        Relation history = open_table(kSchema, kHistory, RowExclusiveLock);
        const Datum text = PointerGetDatum(
            cstring_to_text_with_len(status.data(), static_cast<int>(status.size())));
        const bool written = write_end_into(history, report, place, text);
        table_close(history, NoLock);
        return written;
    });
}

}  // namespace securatlas::pg::runs
