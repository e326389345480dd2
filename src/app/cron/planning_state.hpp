// Which database the jobs and cron.scheduler_state speak of: it may have been renamed, or be a copy
// or a restored dump of another one. To be called in a transaction of the scheduler.
#pragma once

#include <optional>

#include "securatlas/core/time.hpp"

namespace securatlas::app {

// At the scheduler's start. Gives the jobs the name that their database has now, pauses those that
// the original of a copy still runs, and makes cron.scheduler_state this database's. Returns up to
// when it had been planned; nullopt: never.
std::optional<core::Instant> settle_planning_state(core::Instant now);

// The same for a dump that was restored while the scheduler was running.
void settle_restored_state(core::Instant planned_until);

}  // namespace securatlas::app
