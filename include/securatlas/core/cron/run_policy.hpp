// The scheduler's rules as pure functions: what happens to an occurrence while a former run is not
// finished, to occurrences that were missed, and when a failed run is tried again.
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

// The most runs of one job that wait (`buffer_all`) or are made up for (`missed => all`).
inline constexpr std::size_t kMaxBuffered = 1000;

// Missed occurrences of one job are counted up to here; beyond, the count is "at least".
inline constexpr std::size_t kMaxCounted = 10000;

// So many are counted in one step of the scheduler, of all jobs together. Each job after that is
// counted up to kFewCounted only, so that a step stays short however many jobs there are.
inline constexpr std::size_t kMaxCountedInStep = 1000000;
inline constexpr std::size_t kFewCounted = 10;

// ---- overlap -------------------------------------------------------------------------------

enum class OverlapDecision {
    start,    // nothing is in the way
    wait,     // behind the runs that are not finished
    skip,     // it does not run
    replace,  // runs under way are cancelled, waiting ones skipped, and it waits
};

// `unfinished`: runs of the job that have not ended, `buffered`: those of them that wait for
// another run of the job.
OverlapDecision decide_overlap(OverlapPolicy policy, std::size_t unfinished, std::size_t buffered);

// ---- missed occurrences --------------------------------------------------------------------

// The first instant after the given one at which the job fires; kNever if there is none.
using NextAfter = std::function<Instant(Instant)>;

struct MissedInstants {
    std::vector<Instant> latest;  // ascending; the last `limit` of all, or all
    std::size_t count = 0;        // of all, or as many as are known of
    bool counted_all = true;      // false: there are more than `count`
};

// The instants in (from, until]. Counts no more than `most` of them, and finds the latest by
// bisection if there are more, so that a job that fires each second and was away for a year costs
// milliseconds. `limit` is 1 to kMaxBuffered + 1.
MissedInstants find_missed(const NextAfter& next_after, Instant from, Instant until,
                           std::size_t limit, std::size_t most = kMaxCounted);

// How many of the latest instants matter to the policy: those that may run, and the last that does
// not.
std::size_t missed_limit(MissedPolicy policy);

// An occurrence that was missed, or one that was interrupted and would run again.
struct MissedOccurrence {
    Instant at;
    int attempt = 1;
};

// How many of the candidates (ascending) run: the last so many, oldest first. The others do not.
// Those more than `window` before `now` never run.
std::size_t missed_to_run(MissedPolicy policy, Duration window, Instant now,
                          std::span<const MissedOccurrence> candidates);

// ---- retries -------------------------------------------------------------------------------

// When the attempt after `attempt`, which has just failed, starts: nullopt if the job has no
// retries left, or if it would start at or after `next_occurrence`. `random` is in [0, 1).
std::optional<Instant> retry_time(const Job& job, int attempt, Instant now, Instant next_occurrence,
                                  double random);

// ---- texts ---------------------------------------------------------------------------------

// "2026-11-24 02:01:00+00", without fractions of a second.
std::string utc_text(Instant instant);

}  // namespace securatlas::core
