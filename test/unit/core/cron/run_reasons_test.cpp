#include "securatlas/core/cron/run_reasons.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace securatlas::core::reasons {
namespace {

TEST(RunReasons, EachTextHasAKind) {
    const std::pair<std::string, Kind> texts[] = {
        {kPreviousRun, Kind::previous_run},
        {kJitter, Kind::jitter},
        {kRowLocked, Kind::row_locked},
        {kRoleShare, Kind::role_share},
        {kServerSlots, Kind::server_slots},
        {running_jobs_limit(32), Kind::running_jobs},
        {role_limit(3), Kind::running_jobs_of_role},
        {waiting_for("load"), Kind::other_job},
        {retry_at("2026-01-01 00:00:00+00"), Kind::retry},
        {kUnscheduled, Kind::unscheduled},
        {kPaused, Kind::paused},
        {kOverlap, Kind::overlap},
        {kReplaced, Kind::replaced},
        {dependency_failed("load"), Kind::other_job_failed},
        {kSchedulerAway, Kind::scheduler_away},
        {kClockStep, Kind::clock_step},
        {"something else", Kind::other},
    };
    std::set<Kind> seen;
    for (const auto& [text, kind] : texts) {
        EXPECT_EQ(kind_of(text), kind) << text;
        seen.insert(kind);
    }
    EXPECT_EQ(seen.size(), kKinds);
    EXPECT_EQ(std::set<std::string>(kKindNames.begin(), kKindNames.end()).size(), kKinds);
}

}  // namespace
}  // namespace securatlas::core::reasons
