// What processes count.
#include "securatlas/pg/shared/statistics.hpp"

#include <algorithm>
#include <cstring>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/process.hpp"
#include "shared/statistics_entries.hpp"

extern "C" {
#include "storage/ipc.h"
}

namespace securatlas::pg {
namespace {

void set_name(HostStatistics& entry, std::string_view host) {
    const std::size_t length = std::min(host.size(), sizeof entry.name - 1);
    memcpy(entry.name, host.data(), length);
    memset(entry.name + length, 0, sizeof entry.name - length);
}

template <class Condition>
void remove_jobs(StatisticsTables& tables, DatabaseOid database, Condition condition) {
    each_entry<JobStatistics>(tables.jobs, database, true, [&](JobStatistics& entry) {
        if (!condition(entry)) return false;
        end_entry(tables, entry);
        return true;
    });
}

void keep_at_exit(int, Datum database) { write_statistics_file(DatumGetObjectId(database)); }

std::int64_t microseconds(core::Instant time) { return time.time_since_epoch().count(); }

// ---- what a run adds -----------------------------------------------------------------------

struct Times {
    bool started;
    bool has_lag;
    std::int64_t time;
    std::int64_t lag;
};

// The start of a retry or of a run that is made up for says nothing about the scheduler.
Times times_of(const Statistics::RunEnd& end) {
    const core::Occurrence& occurrence = end.order.occurrence;
    Times times{};
    times.started = end.started_at > core::Instant{};
    if (!times.started) return times;
    times.time = std::max<std::int64_t>((end.ended_at - end.started_at).count(), 0);
    times.has_lag = occurrence.attempt == 1 && occurrence.trigger != core::RunTrigger::catchup;
    if (times.has_lag) {
        times.lag = std::max<std::int64_t>((end.started_at - occurrence.scheduled_at).count(), 0);
    }
    return times;
}

void add_outcome(Counters<JobValue>& job, const Statistics::RunEnd& end) {
    const core::Occurrence& occurrence = end.order.occurrence;
    const bool is_manual = occurrence.trigger == core::RunTrigger::manual;
    switch (end.outcome) {
        case core::RunOutcome::succeeded:
            job.add(JobValue::succeeded, 1);
            job.raise(JobValue::last_success, microseconds(end.ended_at));
            if (!is_manual) job.set(JobValue::consecutive_failures, 0);
            break;
        case core::RunOutcome::failed:
            job.add(JobValue::failed, 1);
            // The attempts of one occurrence are one failure.
            if (!is_manual && occurrence.attempt == 1) job.add(JobValue::consecutive_failures, 1);
            break;
        case core::RunOutcome::cancelled:
            job.add(JobValue::cancelled, 1);
            break;
    }
    job.set(JobValue::last_outcome, 1 + static_cast<std::int64_t>(end.outcome));
    if (occurrence.attempt > 1) job.add(JobValue::retries, 1);
}

void add_end(Counters<JobValue>& job, const Statistics::RunEnd& end, const Times& times) {
    add_outcome(job, end);
    if (!times.started) return;
    job.add(JobValue::total_time, times.time);
    job.raise(JobValue::max_time, times.time);
    job.raise(JobValue::last_start, microseconds(end.started_at));
    if (!times.has_lag) return;
    job.add(JobValue::total_lag, times.lag);
    job.raise(JobValue::max_lag, times.lag);
}

void add_end(Counters<DatabaseValue>& database, const Times& times) {
    if (!times.started) return;
    database.add(DatabaseValue::total_time, times.time);
    database.add_at(DatabaseValue::durations, core::histogram_bucket(core::Duration(times.time)),
                    1);
    if (!times.has_lag) return;
    database.add(DatabaseValue::total_lag, times.lag);
    database.add_at(DatabaseValue::lags, core::histogram_bucket(core::Duration(times.lag)), 1);
}

// ---- what an attempt adds ------------------------------------------------------------------

void add_attempt(Counters<DatabaseValue>& database, const Statistics::Attempt& attempt) {
    using Result = Statistics::Attempt::Result;
    if (attempt.duration) {
        database.add(DatabaseValue::attempts, 1);
        if (attempt.is_first) database.add(DatabaseValue::sent, 1);
    }
    database.add(DatabaseValue::bytes_out, attempt.bytes_out);
    database.add(DatabaseValue::bytes_in, attempt.bytes_in);
    if (attempt.result == Result::succeeded) database.add(DatabaseValue::succeeded, 1);
    if (attempt.result == Result::failed) database.add(DatabaseValue::failed, 1);
    if (attempt.result == Result::expired) database.add(DatabaseValue::expired, 1);
}

void add_attempt(Counters<HostValue>& host, const Statistics::Attempt& attempt) {
    using Result = Statistics::Attempt::Result;
    host.add(HostValue::bytes_out, attempt.bytes_out);
    host.add(HostValue::bytes_in, attempt.bytes_in);
    if (attempt.result == Result::succeeded) host.add(HostValue::succeeded, 1);
    if (attempt.result == Result::failed || attempt.result == Result::expired) {
        host.add(HostValue::failed, 1);
    }
    if (attempt.result == Result::retried) host.add(HostValue::retried, 1);
    if (!attempt.duration) return;
    host.add(HostValue::attempts, 1);
    host.add(HostValue::total_time, attempt.duration->count());
    host.add_at(HostValue::durations, core::histogram_bucket(*attempt.duration), 1);
}

// Makes the counters of a host, unless too many hosts have some: then it returns those of all
// others.
StatisticsKey place_of(StatisticsTables& tables, DatabaseOid database, std::string_view& host) {
    const StatisticsKey key = key_of(database, host);
    const auto name = host;
    const auto nothing = [](HostStatistics&) {};
    if (with_entry<HostStatistics>(tables, tables.hosts, key, false, nothing)) return key;
    bool is_full = true;
    (void)with_database(tables, database, [&is_full](DatabaseStatistics& entry) {
        auto& hosts = entry.counters[DatabaseValue::hosts];
        is_full = hosts.load(std::memory_order_relaxed) >= kMaxCountedHosts;
        if (!is_full) hosts.fetch_add(1, std::memory_order_relaxed);
    });
    if (is_full) host = kOtherHosts;
    const StatisticsKey place = is_full ? key_of(database, kOtherHosts) : key;
    (void)with_entry<HostStatistics>(tables, tables.hosts, place, true, [&](HostStatistics& entry) {
        set_name(entry, is_full ? kOtherHosts : name);
    });
    return place;
}

}  // namespace

std::int64_t statistics_now() { return microseconds(now()); }

// ---- the processes that count --------------------------------------------------------------

void Statistics::begin(DatabaseOid database) noexcept {
    bool is_new = false;
    with_statistics([&](StatisticsTables& tables) {
        const StatisticsKey key{database, 0, 0};
        bool found = false;
        auto* entry =
            static_cast<DatabaseStatistics*>(dshash_find_or_insert(tables.databases, &key, &found));
        if (!found) clear(*entry);
        is_new = !found;
        dshash_release_lock(tables.databases, entry);
        before_shmem_exit(keep_at_exit, ObjectIdGetDatum(database));
    });
    if (is_new) read_statistics_file(database);
}

void Statistics::count_end(DatabaseOid database, const RunEnd& end, bool is_known) noexcept {
    const Times times = times_of(end);
    with_statistics([&](StatisticsTables& tables) {
        (void)with_job(tables, database, static_cast<std::int64_t>(end.order.occurrence.job),
                       is_known, [&](JobStatistics& entry) {
                           add_end(entry.counters, end, times);
                           rank_entry(tables, entry);
                       });
        (void)with_database(tables, database,
                            [&](DatabaseStatistics& entry) { add_end(entry.counters, times); });
    });
}

void Statistics::count_skip(DatabaseOid database, std::int64_t job, core::reasons::Kind kind,
                            std::int64_t occurrences, bool is_known) noexcept {
    const auto value = core::reasons::is_missed(kind) ? JobValue::missed : JobValue::skipped;
    const auto number = static_cast<std::size_t>(kind);
    const std::size_t lost =
        (number < core::reasons::kFirstLost ? core::reasons::kKinds - 1 : number) -
        core::reasons::kFirstLost;
    with_statistics([&](StatisticsTables& tables) {
        (void)with_job(tables, database, job, is_known, [&](JobStatistics& entry) {
            entry.counters.add(value, occurrences);
            entry.counters.add_at(JobValue::lost, lost, occurrences);
            rank_entry(tables, entry);
        });
        (void)with_database(tables, database, [&](DatabaseStatistics& entry) {
            entry.counters.add_at(DatabaseValue::reasons, static_cast<std::size_t>(kind),
                                  occurrences);
        });
    });
}

void Statistics::count_error(DatabaseOid database) noexcept {
    with_statistics([&](StatisticsTables& tables) {
        (void)with_database(tables, database, [](DatabaseStatistics& entry) {
            entry.counters.set(DatabaseValue::last_error_at, statistics_now());
        });
    });
}

void Statistics::forget_job(DatabaseOid database, std::int64_t job) noexcept {
    with_statistics([&](StatisticsTables& tables) {
        const StatisticsKey key{database, 0, job};
        auto* entry = static_cast<JobStatistics*>(dshash_find(tables.jobs, &key, true));
        if (entry == nullptr) return;
        end_entry(tables, *entry);
        dshash_delete_entry(tables.jobs, entry);
    });
}

void Statistics::keep_jobs(DatabaseOid database, const std::vector<core::JobId>& jobs) noexcept {
    with_statistics([&](StatisticsTables& tables) {
        remove_jobs(tables, database, [&jobs](const JobStatistics& entry) {
            return !std::binary_search(jobs.begin(), jobs.end(), core::JobId{entry.key.id});
        });
    });
}

void Statistics::count_attempt(DatabaseOid database, const Attempt& attempt) noexcept {
    with_statistics([&](StatisticsTables& tables) {
        std::string_view host = attempt.host;
        const StatisticsKey key = place_of(tables, database, host);
        (void)with_entry<HostStatistics>(
            tables, tables.hosts, key, false,
            [&](HostStatistics& entry) { add_attempt(entry.counters, attempt); });
        (void)with_database(tables, database, [&](DatabaseStatistics& entry) {
            add_attempt(entry.counters, attempt);
        });
    });
}

void Statistics::count(DatabaseOid database, DatabaseValue value, std::int64_t amount) noexcept {
    with_statistics([&](StatisticsTables& tables) {
        (void)with_database(tables, database,
                            [&](DatabaseStatistics& entry) { entry.counters.add(value, amount); });
    });
}

// The job may have no counters yet: its first run has not ended.
void Statistics::count_requests(DatabaseOid database, std::int64_t job,
                                std::int64_t amount) noexcept {
    with_statistics([&](StatisticsTables& tables) {
        (void)with_job(tables, database, job, true, [&](JobStatistics& entry) {
            entry.counters.add(JobValue::requests, amount);
        });
    });
}

void Statistics::forget(DatabaseOid database) noexcept {
    with_statistics([&](StatisticsTables& tables) {
        const auto all = [](auto&) { return true; };
        remove_jobs(tables, database, all);
        each_entry<HostStatistics>(tables.hosts, database, true, all);
        const StatisticsKey key{database, 0, 0};
        (void)dshash_delete_key(tables.databases, &key);
    });
    remove_statistics_file(database);
}

}  // namespace securatlas::pg
