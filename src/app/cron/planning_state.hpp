// Which database the jobs and cron.scheduler_state speak of: it may have been renamed, or be a copy
// or a restored dump of another one. To be called in a transaction of the scheduler.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "securatlas/core/time.hpp"

namespace securatlas::app {

struct PlanningStart {
    std::optional<core::Instant> planned_until;  // nullopt: it had never been planned
    bool is_settled = false;                     // false: a row was locked; call it again
    std::vector<std::int64_t> locked_jobs;       // must not run until they are settled
};

// At the scheduler's start, and after a dump was restored. Gives the jobs the name that their
// database has now, pauses those that the original of a copy still runs, and then makes
// cron.scheduler_state this database's. Waits for no row.
PlanningStart settle_planning_state(core::Instant now);

}  // namespace securatlas::app
