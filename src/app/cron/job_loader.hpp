// Converts rows of cron.job to jobs of the core.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "securatlas/core/cron/job.hpp"
#include "securatlas/core/result.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/cron/schedules.hpp"

namespace securatlas::app {

class JobLoader {
  public:
    // The job, or, if its row is not valid, the reason as text for the job's note.
    core::Result<core::Job, std::string> load(const pg::jobs::PlanRow& row);

  private:
    // Jobs with the same schedule and zone share one object, because many jobs have few different
    // schedules.
    pg::ZonedSchedule schedule_of(const pg::jobs::PlanRow& row);
    void forget_unused();

    struct Cached {
        std::weak_ptr<const core::Schedule> schedule;
        std::shared_ptr<const core::Zone> zone;
    };
    std::unordered_map<std::string, Cached> cache_;
    std::size_t sweep_at_ = 1024;
};

}  // namespace securatlas::app
