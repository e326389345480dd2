// Jobs that exist and cannot be loaded when planning starts, or when they are new.
#include <gtest/gtest.h>

#include "scheduler_simulator.hpp"

namespace securatlas::core::test {
namespace {

using namespace std::chrono_literals;

// A life that starts half a minute after kDay + 10min without job 1.
struct Without {
    explicit Without(Started started = {kDay + 8min, {}, {}, {}}) {
        const std::vector<Event> events = {JobUnreadable{JobId{1}}, std::move(started)};
        said = scheduler.step(kDay + 10min + 30s, events);
    }
    void step(Instant now, std::vector<Event> events) { said = scheduler.step(now, events); }
    template <class T>
    std::vector<T> all() const {
        std::vector<T> found;
        for (const Command& command : said) {
            if (const T* one = std::get_if<T>(&command)) found.push_back(*one);
        }
        return found;
    }

    Scheduler scheduler{[] { return 0.5; }};
    std::vector<Command> said;
};

Job every_minute() {
    Job job = make_job(1, "* * * * *");
    job.missed = MissedPolicy::all;
    job.catchup_window = 1h;
    return job;
}

TEST(SchedulerUnreadable, ItsInterruptedRunAndWhatItMissedAreMadeUpForWhenItIsLoaded) {
    const Occurrence run{JobId{1}, kDay + 7min, 1, RunTrigger::schedule};
    Without life({kDay + 8min, {}, {{run, true}}, {}});
    EXPECT_TRUE(life.said.empty());
    life.step(kDay + 11min + 30s, {JobUnreadable{JobId{1}}});
    EXPECT_TRUE(life.said.empty());
    life.step(kDay + 12min + 30s, {JobLoaded{every_minute()}});
    const auto claims = life.all<ClaimRun>();
    ASSERT_EQ(claims.size(), 5u);
    EXPECT_EQ(claims[0].occurrence.scheduled_at, kDay + 7min);
    EXPECT_EQ(claims[0].occurrence.attempt, 2);
    for (std::size_t i = 1; i < 5; ++i) {
        EXPECT_EQ(claims[i].occurrence.scheduled_at, kDay + 8min + 1min * i);
        EXPECT_EQ(claims[i].occurrence.attempt, 1);
    }
    life.step(kDay + 12min + 40s, {JobLoaded{every_minute()}});
    EXPECT_TRUE(life.all<ClaimRun>().empty()) << "made up for once";
}

TEST(SchedulerUnreadable, ItsFailedRunIsTriedAgain) {
    const Occurrence run{JobId{1}, kDay + 8min, 1, RunTrigger::schedule};
    Without life({kDay + 8min, {}, {}, {}, {{run, kDay + 9min}}});
    Job job = make_job(1, "0 1 * * *");
    job.max_retries = 1;
    life.step(kDay + 10min + 40s, {JobLoaded{job}});
    ASSERT_EQ(life.all<ClaimRun>().size(), 1u);
    EXPECT_EQ(life.all<ClaimRun>()[0].occurrence.attempt, 2);
}

TEST(SchedulerUnreadable, ARunThatAWorkerHasEndsBeforeItIsLoadedOrAfter) {
    const Occurrence run{JobId{1}, kDay + 8min, 1, RunTrigger::schedule};
    for (const bool before : {false, true}) {
        Without life({kDay + 10min, {}, {}, {{RunId{5}, run}}});
        Job job = make_job(1, "* * * * *");
        job.max_failures = 2;
        job.consecutive_failures = before ? 1 : 0;  // the history has the failure
        const RunEnded ended{RunId{5}, RunOutcome::failed, false};
        if (before) life.step(kDay + 10min + 31s, {ended});
        life.step(kDay + 10min + 40s, {JobLoaded{job}});
        if (!before) life.step(kDay + 10min + 50s, {ended});
        EXPECT_TRUE(life.all<PauseJob>().empty()) << "one failure is counted once";
        life.step(kDay + 11min, {});
        ASSERT_EQ(life.all<ClaimRun>().size(), 1u);
        EXPECT_EQ(life.all<ClaimRun>()[0].reason, "") << "nothing runs before it";
    }
}

TEST(SchedulerUnreadable, WhatItMissedIsNotMadeUpForIfItIsGone) {
    Without life;
    life.step(kDay + 10min + 40s, {JobRemoved{JobId{1}}});
    Job job = every_minute();
    life.step(kDay + 10min + 50s, {JobLoaded{job}});
    EXPECT_TRUE(life.all<ClaimRun>().empty());
}

TEST(SchedulerUnreadable, WhatANewJobMissesUntilItIsLoadedIsNotLost) {
    Without life;
    life.step(kDay + 10min + 50s, {JobRemoved{JobId{1}}});
    life.step(kDay + 11min + 10s, {JobUnreadable{JobId{1}}});
    Job job = every_minute();
    job.planned_from = kDay + 11min + 5s;
    life.step(kDay + 13min + 10s, {JobLoaded{job}});
    EXPECT_EQ(life.all<ClaimRun>().size(), 2u);
    // Its last version stays when a later one cannot be loaded.
    life.step(kDay + 13min + 20s, {JobUnreadable{JobId{1}}});
    EXPECT_EQ(life.scheduler.next_run(JobId{1}), kDay + 14min);
}

}  // namespace
}  // namespace securatlas::core::test
