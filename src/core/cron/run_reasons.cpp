#include "securatlas/core/cron/run_reasons.hpp"

#include <utility>

namespace securatlas::core::reasons {

Kind kind_of(std::string_view reason) {
    constexpr std::pair<std::string_view, Kind> kBeginnings[] = {
        {kPreviousRun, Kind::previous_run},
        {kJitter, Kind::jitter},
        {kRowLocked, Kind::row_locked},
        {kRoleShare, Kind::role_share},
        {kServerSlots, Kind::server_slots},
        {"waiting for a worker: cron.max_running_jobs (", Kind::running_jobs},
        {"waiting for a worker: cron.max_running_jobs_per_role (", Kind::running_jobs_of_role},
        {"waiting for ", Kind::other_job},
        {"retry at ", Kind::retry},
        {kUnscheduled, Kind::unscheduled},
        {kPaused, Kind::paused},
        {kOverlap, Kind::overlap},
        {kReplaced, Kind::replaced},
        {kSchedulerAway, Kind::scheduler_away},
        {kClockStep, Kind::clock_step},
        {"cancelled: the next run took its place", Kind::replaced},
    };
    for (const auto& [beginning, kind] : kBeginnings) {
        if (reason.starts_with(beginning)) return kind;
    }
    return reason.ends_with(" failed") ? Kind::other_job_failed : Kind::other;
}

}  // namespace securatlas::core::reasons
