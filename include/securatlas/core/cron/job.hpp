// A job as the scheduler knows it, and the identities of jobs and runs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "securatlas/core/cron/schedule.hpp"
#include "securatlas/core/cron/zone.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::core {

enum class JobId : std::int64_t {};
enum class RunId : std::int64_t {};
enum class OwnerId : std::uint32_t {};  // oid of the role that owns the job

// What happens when an occurrence is due while the job's last run is not finished.
enum class OverlapPolicy { buffer_one, buffer_all, skip, cancel_other, allow };

// What happens to occurrences that were due while no scheduler was running.
enum class MissedPolicy { skip, once, all };

// What a run waits for in another job: that its run has finished, or has succeeded.
enum class DependencyCondition { finished, succeeded };

struct Dependency {
    JobId after;
    DependencyCondition condition;
    friend bool operator==(const Dependency&, const Dependency&) = default;
};

// When and how a job runs. Most jobs have these in common with many others.
struct JobRules {
    std::shared_ptr<const Schedule> schedule;
    std::shared_ptr<const Zone> zone;
    Duration catchup_window = std::chrono::minutes(5);
    Duration jitter{0};  // a run starts up to this much after its occurrence, at random
    Duration retry_period = std::chrono::minutes(1);
    int max_retries = 0;   // attempts beyond the first
    int max_failures = 0;  // occurrences failed in a row that pause the job; 0: never
    int priority = 0;      // -100 to 100, higher first; see rank_of()
    OverlapPolicy overlap = OverlapPolicy::buffer_one;
    MissedPolicy missed = MissedPolicy::once;
    std::vector<Dependency> after;
    friend bool operator==(const JobRules&, const JobRules&) = default;
};

struct Job : JobRules {
    JobId id{};
    OwnerId owner{};
    std::string name;      // for messages: the job's name, or its id if it has none
    Instant planned_from;  // no occurrences at or before it; anchor of "@every"
    bool active = true;
    int consecutive_failures = 0;  // read from the history when the job is loaded
    // scheduled_at of the last finished run in the history, and whether that run did not succeed;
    // kLongAgo: there is none. The runs in Started::interrupted do not count.
    Instant last_occurrence = kLongAgo;
    bool last_failed = false;
};

}  // namespace securatlas::core
