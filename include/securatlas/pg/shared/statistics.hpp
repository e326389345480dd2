// What has happened, counted in shared memory: for each job, for each host, and for each database.
//
// Counters are atomic. Whoever counts finds the counters in a shared hash table, under a lock that
// it shares with everybody who counts or reads: only a job that is new or gone makes others wait,
// for a moment. Nothing here fails or throws; what cannot be counted, for want of memory, is not.
//
// The counters of a database are kept in a file while the server is down. They begin at 0 after a
// crash, as PostgreSQL's own do.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/cron/run_reasons.hpp"
#include "securatlas/core/histogram.hpp"
#include "securatlas/core/time.hpp"
#include "securatlas/pg/shared/order.hpp"

namespace securatlas::pg {

// Times are microseconds since 1970, durations are microseconds. 0: has not happened.
enum class JobValue : std::uint8_t {
    succeeded,
    failed,
    cancelled,
    skipped,
    missed,
    retries,
    requests,
    total_time,
    max_time,
    total_lag,
    max_lag,
    last_start,
    last_success,
    last_outcome,  // 1 + core::RunOutcome
    consecutive_failures,
    stats_reset,
    lost,  // and those that follow: skipped or missed, by kind from core::reasons::kFirstLost on
    count = lost + core::reasons::kLostKinds
};

enum class HostValue : std::uint8_t {
    attempts,
    succeeded,
    failed,
    retried,
    bytes_out,
    bytes_in,
    total_time,
    stats_reset,
    durations,  // and the buckets that follow
    count = durations + core::kHistogramBuckets
};

enum class DatabaseValue : std::uint8_t {
    starts,  // of schedulers
    last_error_at,
    made,
    sent,
    attempts,
    succeeded,
    failed,
    expired,
    cancelled,
    bytes_out,
    bytes_in,
    callbacks_failed,
    hosts,  // that have counters of their own
    total_lag,
    total_time,
    stats_reset,
    reasons,  // of runs that did not run, by core::reasons::Kind
    lags = reasons + core::reasons::kKinds,
    durations = lags + core::kHistogramBuckets,
    count = durations + core::kHistogramBuckets
};

template <class Value>
struct Figures {
    std::array<std::int64_t, static_cast<std::size_t>(Value::count)> values{};
    std::int64_t operator[](Value value) const { return values[static_cast<std::size_t>(value)]; }
    std::int64_t at(Value first, std::size_t index) const {
        return values[static_cast<std::size_t>(first) + index];
    }
};
using JobFigures = Figures<JobValue>;
using HostFigures = Figures<HostValue>;
using DatabaseFigures = Figures<DatabaseValue>;

// Hosts of a database that have counters of their own; all others share those of kOtherHosts.
inline constexpr std::int64_t kMaxCountedHosts = 1000;
inline constexpr std::string_view kOtherHosts = "(others)";

class Statistics {
  public:
    // -- a scheduler or http worker, once it is attached to its database

    // Reads what was kept while the server was down, unless there are counters already. From now on
    // this process keeps them when it ends.
    static void begin(DatabaseOid database) noexcept;

    // -- the scheduler
    struct RunEnd {
        RunOrder order;
        core::RunOutcome outcome;
        core::Instant started_at = core::kLongAgo;  // kLongAgo: it never started
        core::Instant ended_at{};
    };
    // `is_known`: the job is still there, so that its counters are made if there are none.
    static void count_end(DatabaseOid database, const RunEnd& end, bool is_known) noexcept;
    static void count_skip(DatabaseOid database, std::int64_t job, core::reasons::Kind kind,
                           std::int64_t occurrences, bool is_known) noexcept;
    static void count_error(DatabaseOid database) noexcept;
    static void forget_job(DatabaseOid database, std::int64_t job) noexcept;
    // Forgets all jobs that are not among these, which are sorted.
    static void keep_jobs(DatabaseOid database, const std::vector<core::JobId>& jobs) noexcept;

    // -- the http worker
    struct Attempt {
        std::string_view host;
        std::optional<core::Duration> duration;  // nullopt: nothing was sent
        std::int64_t bytes_out = 0;
        std::int64_t bytes_in = 0;
        enum class Result : std::uint8_t { succeeded, failed, expired, retried } result;
        bool is_first = false;  // of its request
    };
    static void count_attempt(DatabaseOid database, const Attempt& attempt) noexcept;

    // -- any process, after a commit
    static void count(DatabaseOid database, DatabaseValue value, std::int64_t amount) noexcept;
    static void count_requests(DatabaseOid database, std::int64_t job,
                               std::int64_t amount) noexcept;

    // -- any backend. These throw Error 55000 if the library is not preloaded.
    static JobFigures job(DatabaseOid database, std::int64_t job);
    static DatabaseFigures database(DatabaseOid database);
    struct Host {
        std::string name;
        HostFigures figures;
    };
    static std::vector<Host> hosts(DatabaseOid database);
    // Up to `most` jobs: those that fail first, then those with the most runs, then the older ones.
    static std::vector<std::int64_t> top_jobs(DatabaseOid database, std::size_t most);

    static void reset(DatabaseOid database);
    static void reset_job(DatabaseOid database, std::int64_t job);
    static void reset_host(DatabaseOid database, std::string_view host);

    // -- the launcher, and the scheduler of a database without the extension
    static void forget(DatabaseOid database) noexcept;
};

}  // namespace securatlas::pg
