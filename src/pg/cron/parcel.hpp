// Passes a run's command to a worker in another database, in dynamic shared memory.
#pragma once

#include "securatlas/pg/cron/runs.hpp"

namespace securatlas::pg::runs {

// Reads the task from the parcel. task.wanted is false if the parcel does not exist any more.
Task read_parcel(std::uint32_t parcel);

}  // namespace securatlas::pg::runs
