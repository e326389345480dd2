// What all schedulers and job workers of the server are doing, for views.
#pragma once

#include <vector>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg {

struct SchedulerOverview {
    DatabaseOid database;
    SchedulerStatus status;  // `pid` 0: it is not there
    WorkerCounts workers;
};
std::vector<SchedulerOverview> all_schedulers();

struct WorkerOverview {
    Target target;
    DatabaseOid owner;
    Pid pid;
    const char* state;  // starting, idle, busy, leaving
    std::int64_t job;   // 0: none
    std::int64_t run;
    core::Instant started_at;  // of the run; kLongAgo: there is none
    bool calls_back;           // it calls callbacks
    int queued;                // runs that wait behind this one
};
std::vector<WorkerOverview> all_workers();

}  // namespace securatlas::pg
