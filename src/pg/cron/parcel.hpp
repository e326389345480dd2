// A run's command on its way to a worker in a database that does not hold the extension.
#pragma once

#include "securatlas/pg/cron/runs.hpp"

namespace securatlas::pg::runs {

// Takes the task out of the parcel. task.wanted is false if its sender is gone.
Task read_parcel(std::uint32_t parcel);

}  // namespace securatlas::pg::runs
