#include "cron/run_rows.hpp"

#include "border/keyed_row.hpp"
#include "cron/run_texts.hpp"
#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "access/table.h"
#include "access/xact.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg::runs {
namespace {

constexpr const char* kSchema = "cron";
constexpr const char* kHistory = "job_run_details";

// ---- C world -------------------------------------------------------------------------------

// A text in the memory of the transaction.
struct Bytes {
    const char* data;
    std::size_t length;
};

Bytes bytes_of(Datum value) {
    text* packed = DatumGetTextPP(value);
    return {VARDATA_ANY(packed), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(packed))};
}

// A row that may be missing, of a table that is open.
struct FoundRow {
    Relation table;
    HeapTuple row;

    Value value(const char* column) const {
        if (row == nullptr) return {Datum{0}, true};
        return value_of(row, table, column_number(table, column));
    }
    Bytes text(const char* column) const {
        const Value found = value(column);
        if (found.is_null) return {nullptr, 0};
        return bytes_of(found.datum);
    }
    bool has_text(const char* column, std::string_view text_wanted) const {
        const Bytes found = text(column);
        return std::string_view(found.data, found.length) == text_wanted;
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
};

FoundTask found_task(const FoundRow& run, const FoundRow& job) {
    const auto either = [&](const char* column) {
        const Bytes of_run = run.text(column);
        return of_run.data != nullptr ? of_run : job.text(column);
    };
    const Bytes command = either("command");
    const bool waits = run.row == nullptr ? job.row != nullptr : run.has_text("status", "starting");
    const Value max_runtime = job.value("max_runtime");
    return {.wanted = command.data != nullptr && waits,
            .command = command,
            .job_name = either("jobname"),
            .database = either("database"),
            .username = either("username"),
            .max_runtime = max_runtime.is_null ? nullptr : DatumGetIntervalP(max_runtime.datum),
            .keep_success = !job.has_text("log_runs", "failures")};
}

void find_tasks(const RunOrder* orders, std::size_t count, FoundTask* tasks) {
    Relation history = open_table(kSchema, kHistory, AccessShareLock);
    Relation jobs = open_table(kSchema, "job", AccessShareLock);
    PushActiveSnapshot(GetTransactionSnapshot());
    Snapshot snapshot = GetActiveSnapshot();
    const AttrNumber run_key = column_number(history, "runid");
    const AttrNumber job_key = column_number(jobs, "jobid");
    for (std::size_t i = 0; i < count; ++i) {
        const auto run = static_cast<std::int64_t>(orders[i].run);
        const auto job = static_cast<std::int64_t>(orders[i].occurrence.job);
        tasks[i] = found_task({history, find_row(history, run_key, run, snapshot)},
                              {jobs, find_row(jobs, job_key, job, snapshot)});
    }
    PopActiveSnapshot();
    table_close(jobs, NoLock);
    table_close(history, NoLock);
}

bool is_unfinished(const FoundRow& run) {
    return run.row != nullptr &&
           (run.has_text("status", "starting") || run.has_text("status", "running"));
}

struct EndChanges {
    std::array<Change, 8> all;
    int count;
};

EndChanges changes_of(Relation history, const RunReport& report, Datum status) {
    EndChanges changes{};
    const auto set = [&](const char* column, Datum value, bool is_null = false) {
        changes.all[static_cast<std::size_t>(changes.count++)] = {column_number(history, column),
                                                                  value, is_null};
    };
    const bool has_reason = report.reason[0] != '\0';
    set("status", status);
    set("return_message", CStringGetTextDatum(report.message.data()));
    set("sqlstate", CStringGetTextDatum(report.sqlstate.data()));
    set("reason", has_reason ? CStringGetTextDatum(report.reason.data()) : Datum{0}, !has_reason);
    set("job_pid", Int32GetDatum(report.pid));
    set("start_time", TimestampTzGetDatum(to_timestamp(report.started_at)));
    set("end_time", TimestampTzGetDatum(to_timestamp(report.ended_at)));
    if (!report.transactional) set("transactional", BoolGetDatum(false));
    return changes;
}

bool write_end_into(Relation history, const RunReport& report, const EndChanges& changes) {
    constexpr KnownParts kKnown = {.trigger = "run_role",  // of changes of roleid only
                                   .check = "job_run_details_status_check"};
    if (!is_plainly_updated(history, kKnown, changes.all.data(), changes.count)) {
        return false;
    }
    const AttrNumber key = column_number(history, "runid");
    const auto run = static_cast<std::int64_t>(report.order.run);
    CommandCounterIncrement();
    while (true) {
        PushActiveSnapshot(GetLatestSnapshot());
        Snapshot snapshot = GetActiveSnapshot();
        const FoundRow found = {history, find_row(history, key, run, snapshot)};
        const bool is_there = is_unfinished(found);
        const bool done = is_there && update_row(history, found.row, snapshot, changes.all.data(),
                                                 changes.count, Locked::wait);
        PopActiveSnapshot();
        if (!is_there) return false;
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
            .keep_success = found[i].keep_success};
    }
    return tasks;
}

bool write_end(const RunReport& report) {
    const std::string_view status = outcome_text(report.outcome);
    return call([&report, status] {
        Relation history = open_table(kSchema, kHistory, RowExclusiveLock);
        const Datum text = PointerGetDatum(
            cstring_to_text_with_len(status.data(), static_cast<int>(status.size())));
        const bool written = write_end_into(history, report, changes_of(history, report, text));
        table_close(history, NoLock);
        return written;
    });
}

}  // namespace securatlas::pg::runs
