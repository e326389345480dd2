#include "cron/job_loader.hpp"

#include <optional>
#include <string_view>

#include "securatlas/core/cron/run_reasons.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/cron/settings.hpp"

namespace securatlas::app {
namespace {

core::OverlapPolicy overlap_of(std::string_view text) {
    using enum core::OverlapPolicy;
    if (text == "buffer_all") return buffer_all;
    if (text == "skip") return skip;
    if (text == "cancel_other") return cancel_other;
    if (text == "allow") return allow;
    return buffer_one;
}

core::MissedPolicy missed_of(std::string_view text) {
    using enum core::MissedPolicy;
    if (text == "skip") return skip;
    if (text == "all") return all;
    return once;
}

std::vector<core::Dependency> dependencies_of(const pg::jobs::PlanRow& row) {
    std::vector<core::Dependency> dependencies;
    dependencies.reserve(row.after.size());
    for (const auto& [job, condition] : row.after) {
        dependencies.push_back({core::JobId{job}, condition == "succeeded"
                                                      ? core::DependencyCondition::succeeded
                                                      : core::DependencyCondition::finished});
    }
    return dependencies;
}

}  // namespace

core::Result<core::Job, std::string> JobLoader::load(const pg::jobs::PlanRow& row) {
    pg::ZonedSchedule zoned;
    try {
        zoned = schedule_of(row);
    } catch (const pg::Error& error) {
        // The error can be swallowed, because parsing a schedule leaves nothing behind in the
        // transaction.
        if (!pg::is_no_schedule(error)) throw;
        return core::Failure{core::reasons::paused_because(pg::schedule_problem(error))};
    }
    const pg::Settings settings = pg::settings();
    core::Job job;
    job.id = core::JobId{row.id};
    job.owner = core::OwnerId{row.role};
    job.name = row.name.empty() ? std::to_string(row.id) : row.name;
    job.schedule = std::move(zoned.schedule);
    job.zone = std::move(zoned.zone);
    job.planned_from = row.planned_from;
    job.active = row.active && !row.replicated && settings.launch_active_jobs;
    job.overlap = overlap_of(row.overlap);
    job.missed = missed_of(row.missed);
    job.catchup_window = row.catchup_window.value_or(settings.catchup_window);
    job.jitter = row.jitter;
    job.max_retries = row.max_retries;
    job.retry_period = row.retry_period;
    job.max_failures = row.max_failures;
    job.priority = row.priority;
    job.consecutive_failures = row.consecutive_failures;
    job.after = dependencies_of(row);
    job.last_occurrence = row.last_occurrence;
    job.last_failed = row.last_failed;
    return job;
}

pg::ZonedSchedule JobLoader::schedule_of(const pg::jobs::PlanRow& row) {
    const std::string_view zone =
        row.timezone.empty() ? std::string_view(pg::settings().timezone) : row.timezone;
    std::string key = std::string(zone) + '\n' + row.schedule;
    Cached& cached = cache_[key];
    if (auto schedule = cached.schedule.lock()) return {schedule, cached.zone, {}};
    try {
        pg::ZonedSchedule zoned = pg::read_schedule(row.schedule, zone);
        cached = {zoned.schedule, zoned.zone};
        if (cache_.size() >= sweep_at_) forget_unused();
        return zoned;
    } catch (...) {
        cache_.erase(key);
        throw;
    }
}

void JobLoader::forget_unused() {
    std::erase_if(cache_, [](const auto& entry) { return entry.second.schedule.expired(); });
    sweep_at_ = (std::max)(std::size_t{1024}, cache_.size() * 2);
}

}  // namespace securatlas::app
