// What a starting scheduler finds in the history that earlier schedulers have left.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "securatlas/core/cron/scheduler.hpp"

namespace securatlas::pg::runs {

struct Interrupted {
    std::int64_t run;
    core::Occurrence occurrence;
    bool transactional;
    bool is_latest;  // no later attempt has a row
};

// All unfinished rows except those in `alive` and replicated ones. Manual runs that were requested
// since the server started and have not begun are not among them: they go on waiting, because the
// scheduler may not have been there when they were requested.
std::vector<Interrupted> find_interrupted(const std::vector<std::int64_t>& alive,
                                          core::Instant server_start);

// Ends these rows as failed, "server restarted". Returns those that are locked and therefore not
// ended. Call it in the transaction that claims the next attempts of the runs: once a row is ended,
// a later scheduler does not see that a next attempt is due.
std::vector<std::int64_t> end_interrupted(const std::vector<std::int64_t>& runs);

// A failed attempt that may be retried, but whose retry has no row: the scheduler may have died
// before it claimed the retry.
struct Failed {
    core::Occurrence occurrence;
    core::Instant ended_at;
    std::string sqlstate;
};

// Those that ended at or after `since`, of active jobs that have retries left for them, but none in
// `alive`. They are looked for among the latest ten runs of each job with retries.
std::vector<Failed> find_failed(core::Instant since, const std::vector<std::int64_t>& alive);

}  // namespace securatlas::pg::runs
