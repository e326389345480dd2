// What a scheduler that starts finds in the history of the life before it.
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

// All unfinished rows but those in `alive`, and those that came by replication. Not among them are
// manual runs that were asked for since the server started and have not begun: they go on waiting,
// as the scheduler may not have been there yet.
std::vector<Interrupted> find_interrupted(const std::vector<std::int64_t>& alive,
                                          core::Instant server_start);

// Ends those rows as failed, "server restarted". Returns those that are left because somebody has
// locked them. A row's end belongs into the transaction that claims the run's next attempt: after
// it nothing tells a later scheduler that the attempt is due.
std::vector<std::int64_t> end_interrupted(const std::vector<std::int64_t>& runs);

// A failed attempt that may have a retry, of which nothing was written: the scheduler may have died
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
