// The scheduler's rules as pure functions: what happens to an occurrence while an earlier run is
// unfinished, to occurrences that were missed, when a failed run is retried, and which of the runs
// that are due comes first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "securatlas/core/cron/job.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::core {

// At most this many runs of one job wait (`buffer_all`) or are made up for (`missed => all`).
inline constexpr std::size_t kMaxBuffered = 1000;

// Missed occurrences of one job are counted up to here; beyond, the count is "at least".
inline constexpr std::size_t kMaxCounted = 10000;

// At most this many missed occurrences are counted after an outage, over all jobs. After that each
// job is counted up to kFewCounted only, so that the start stays short however many jobs there are.
inline constexpr std::size_t kMaxCountedAtOnce = 1000000;
inline constexpr std::size_t kFewCounted = 10;

// ---- overlap -------------------------------------------------------------------------------

enum class OverlapDecision {
    start,    // nothing is in the way
    wait,     // behind the unfinished runs
    skip,     // it does not run
    replace,  // running runs are cancelled, waiting ones skipped, and it waits
};

// `unfinished`: number of runs of the job that have not ended. `buffered`: how many of them wait
// for another run of the job.
OverlapDecision decide_overlap(OverlapPolicy policy, std::size_t unfinished, std::size_t buffered);

// ---- missed occurrences --------------------------------------------------------------------

// The first instant after the given one at which the job fires; kNever if there is none.
using NextAfter = std::function<Instant(Instant)>;

struct MissedInstants {
    std::vector<Instant> latest;  // ascending; the last `limit` of them
    std::size_t count = 0;        // of all, or as many as were counted
    bool counted_all = true;      // false: there are more than `count`
};

// The instants in (from, until]. Counts at most `most` of them; if there are more, finds the latest
// by bisection, so that a job that fires every second costs milliseconds after a year's outage.
// `limit` is 1 to kMaxBuffered + 1.
MissedInstants find_missed(const NextAfter& next_after, Instant from, Instant until,
                           std::size_t limit, std::size_t most = kMaxCounted);

// How many of the latest instants the policy needs: those that may run, and the last one that does
// not.
std::size_t missed_limit(MissedPolicy policy);

// An occurrence that was missed, or whose run was interrupted and may run again.
struct MissedOccurrence {
    Instant at;
    int attempt = 1;
};

// How many of the candidates (ascending) run: that many of the latest, oldest first; the others do
// not. Candidates more than `window` before `now` never run.
std::size_t missed_to_run(MissedPolicy policy, Duration window, Instant now,
                          std::span<const MissedOccurrence> candidates);

// ---- retries -------------------------------------------------------------------------------

// When the attempt after `attempt`, which has just failed, starts: nullopt if the job has no
// retries left, or if it would start at or after `next_occurrence`. `random` is in [0, 1).
std::optional<Instant> retry_time(const JobRules& rules, int attempt, Instant now,
                                  Instant next_occurrence, double random);

// ---- order ---------------------------------------------------------------------------------

// A job of priority 1 comes before what was due up to so much earlier.
inline constexpr Duration kPerPriority = std::chrono::seconds(10);

// Of the runs of a role that are due, that of the earlier rank comes first. Because the rank stays
// while time goes on, only what is due within kPerPriority for each point of difference comes
// before a run of lower priority, and nothing waits for ever.
constexpr Instant rank_of(Instant scheduled_at, int priority) {
    return scheduled_at - priority * kPerPriority;
}

// ---- texts ---------------------------------------------------------------------------------

// "2026-11-24 02:01:00+00", without fractions of a second.
std::string utc_text(Instant instant);

}  // namespace securatlas::core
