#include <gtest/gtest.h>

#include "scheduler_simulator.hpp"
#include "securatlas/core/cron/run_policy.hpp"

namespace securatlas::core::test {
namespace {

using namespace std::chrono_literals;

// The scheduler was away from kDay for `away`; the job fires each minute.
Simulator back_after(MissedPolicy missed, Duration window, Duration away) {
    Simulator world;
    Job job = make_job(1, "* * * * *");
    job.missed = missed;
    job.catchup_window = window;
    world.add(job);
    world.now = kDay + away;
    world.start();
    return world;
}

TEST(SchedulerMissed, SkipRecordsOneRow) {
    const Simulator world = back_after(MissedPolicy::skip, 1h, 10min + 30s);
    ASSERT_EQ(world.rows.size(), 1u);
    EXPECT_EQ(world.row(1, kDay + 10min)->status, Status::skipped);
    EXPECT_EQ(world.row(1, kDay + 10min)->count, 10);
}

TEST(SchedulerMissed, OnceRunsTheLatestAndRecordsTheOthers) {
    const Simulator world = back_after(MissedPolicy::once, 5min, 10min + 30s);
    ASSERT_EQ(world.rows.size(), 2u);
    EXPECT_EQ(world.row(1, kDay + 10min)->status, Status::starting);
    EXPECT_EQ(world.row(1, kDay + 10min)->trigger, RunTrigger::catchup);
    EXPECT_EQ(world.row(1, kDay + 9min)->status, Status::skipped);
    EXPECT_EQ(world.row(1, kDay + 9min)->count, 9);
}

TEST(SchedulerMissed, OnceWithNothingElseRecordsNothing) {
    const Simulator world = back_after(MissedPolicy::once, 5min, 1min + 30s);
    ASSERT_EQ(world.rows.size(), 1u);
    EXPECT_EQ(world.row(1, kDay + 1min)->status, Status::starting);
}

TEST(SchedulerMissed, TheWindowsEdge) {
    const Simulator inside = back_after(MissedPolicy::once, 30s, 10min + 30s);
    EXPECT_EQ(inside.row(1, kDay + 10min)->status, Status::starting);
    const Simulator outside = back_after(MissedPolicy::once, 30s - 1us, 10min + 30s);
    EXPECT_EQ(outside.row(1, kDay + 10min)->status, Status::skipped);
    EXPECT_EQ(outside.row(1, kDay + 10min)->count, 10);
}

TEST(SchedulerMissed, AllRunsThoseInsideOldestFirst) {
    Simulator world = back_after(MissedPolicy::all, 5min, 10min);
    EXPECT_EQ(world.row(1, kDay + 4min)->status, Status::skipped);
    EXPECT_EQ(world.row(1, kDay + 4min)->count, 4);
    EXPECT_EQ(world.count(1, Status::starting), 6u);
    world.run_until(kDay + 10min + 30s);
    EXPECT_EQ(world.count(1, Status::succeeded), 6u);
    for (auto minute = 6min; minute <= 10min; ++minute) {
        EXPECT_GE(world.row(1, kDay + minute)->started, world.row(1, kDay + minute - 1min)->ended);
    }
}

TEST(SchedulerMissed, AllRunsAThousandAtMost) {
    Simulator world;
    Job job = make_job(1, "1 second");
    job.missed = MissedPolicy::all;
    job.catchup_window = 24h * 400;
    world.add(job);
    world.now = kDay + 24h * 365;
    world.start();
    EXPECT_EQ(world.count(1, Status::starting), kMaxBuffered);
    ASSERT_EQ(world.count(1, Status::skipped), 1u);
    const Row* skipped = world.row(1, world.now - 1000s);
    ASSERT_NE(skipped, nullptr);
    EXPECT_EQ(skipped->status, Status::skipped);
    EXPECT_NE(skipped->reason.find("at least"), std::string::npos);
    EXPECT_EQ(skipped->count, static_cast<std::int64_t>(kMaxCounted - kMaxBuffered));
}

TEST(SchedulerMissed, NothingWithoutAFormerLifeOrBeforeTheJob) {
    Simulator world;
    world.add(make_job(1, "* * * * *"));
    world.planned_until.reset();
    world.now = kDay + 10min;
    world.start();
    EXPECT_TRUE(world.rows.empty());

    Simulator young;
    young.add(make_job(1, "* * * * *", kDay + 9min));
    young.now = kDay + 10min;
    young.start();
    ASSERT_EQ(young.rows.size(), 1u);
    EXPECT_EQ(young.row(1, kDay + 10min)->status, Status::starting);
}

TEST(SchedulerMissed, AnInactiveJobMissesNothing) {
    Simulator world;
    Job job = make_job(1, "* * * * *");
    job.active = false;
    world.add(job);
    world.now = kDay + 10min;
    world.start();
    EXPECT_TRUE(world.rows.empty());
    EXPECT_EQ(world.scheduler().next_wake(), kNever);
    EXPECT_EQ(world.scheduler().job_count(), 1u);
}

TEST(SchedulerMissed, ADatedJobFollowsTheRule) {
    for (const bool late : {false, true}) {
        Simulator world;
        world.add(make_job(1, "@at 2026-11-24 00:01:00+00"));
        world.now = kDay + (late ? 10min : 2min);
        world.start();
        EXPECT_EQ(world.row(1, kDay + 1min)->status, late ? Status::skipped : Status::starting);
        EXPECT_EQ(world.row(1, kDay + 1min)->trigger, RunTrigger::once);
        world.run_until(kDay + 20min);
        EXPECT_EQ(world.deleted.size(), late ? 0u : 1u);
    }
}

TEST(SchedulerMissed, ADatedJobGoesWhenItHasSucceeded) {
    Simulator world;
    world.add(make_job(1, "@at 2026-11-24 00:01:00+00"));
    world.start();
    world.run_until(kDay + 5min);
    EXPECT_EQ(world.row(1, kDay + 1min)->trigger, RunTrigger::once);
    EXPECT_EQ(world.deleted, std::vector<JobId>{JobId{1}});
    EXPECT_EQ(world.scheduler().job_count(), 0u);
}

TEST(SchedulerMissed, AJobAtTheServersStart) {
    for (const bool restarted : {false, true}) {
        Simulator world;
        world.add(make_job(1, "@reboot", kDay - 1h));
        world.now = kDay + 20min;
        world.start(restarted ? std::optional<Instant>(kDay + 1min) : std::nullopt);
        EXPECT_EQ(world.rows.size(), restarted ? 1u : 0u);
        if (restarted) {
            EXPECT_EQ(world.row(1, kDay + 1min)->status, Status::starting);
        }
    }
}

// ---- interrupted runs ----------------------------------------------------------------------

Simulator interrupted(bool transactional, int max_retries, RunTrigger trigger, bool active = true) {
    Simulator world;
    Job job = make_job(1, "0 12 * * *");
    job.max_retries = max_retries;
    job.active = active;
    world.add(job);
    world.transactional = transactional;
    Row row;
    row.id = RunId{1000};
    row.status = Status::running;
    row.trigger = trigger;
    world.rows[{JobId{1}, kDay, 1}] = row;
    world.now = kDay + 1min;
    world.start();
    return world;
}

TEST(SchedulerInterrupted, RunsAgainIfItLeftNoEffectsOrHasRetries) {
    for (const auto trigger : {RunTrigger::schedule, RunTrigger::manual}) {
        const Simulator clean = interrupted(true, 0, trigger);
        ASSERT_NE(clean.row(1, kDay, 2), nullptr);
        EXPECT_EQ(clean.row(1, kDay, 2)->trigger, RunTrigger::catchup);
        EXPECT_EQ(interrupted(false, 0, trigger).row(1, kDay, 2), nullptr);
        EXPECT_NE(interrupted(false, 1, trigger).row(1, kDay, 2), nullptr);
        EXPECT_EQ(interrupted(true, 0, trigger, false).row(1, kDay, 2), nullptr);
    }
}

TEST(SchedulerInterrupted, IsOneOfTheMissed) {
    Simulator world;
    world.add(make_job(1, "* * * * *"));
    Row row;
    row.id = RunId{1000};
    world.rows[{JobId{1}, kDay, 1}] = row;
    world.now = kDay + 2min;
    world.start();
    // Of the interrupted 00:00, and the missed 00:01 and 00:02, the last one runs.
    EXPECT_EQ(world.row(1, kDay, 2), nullptr);
    EXPECT_EQ(world.row(1, kDay + 1min)->count, 2);
    EXPECT_EQ(world.row(1, kDay + 2min)->status, Status::starting);
}

TEST(SchedulerInterrupted, AdoptedRunsAreRunning) {
    Scheduler scheduler([] { return 0.5; });
    const Occurrence adopted{JobId{1}, kDay, 1, RunTrigger::schedule};
    std::vector<Event> events = {JobLoaded{make_job(1, "* * * * *")},
                                 Started{kDay, {}, {}, {{RunId{5}, adopted}}}};
    EXPECT_TRUE(scheduler.step(kDay + 30s, events).empty());
    const std::vector<Command> said = scheduler.step(kDay + 1min, {});
    ASSERT_EQ(said.size(), 1u);
    EXPECT_EQ(std::get<ClaimRun>(said[0]).reason, "waiting for the previous run");
    events = {RunClaimed{std::get<ClaimRun>(said[0]).occurrence, RunId{6}},
              RunEnded{RunId{5}, RunOutcome::succeeded, false}};
    EXPECT_EQ(std::get<StartRun>(scheduler.step(kDay + 2min - 1s, events).at(0)).run, RunId{6});
}

// Its failure is counted once, also if its end was recorded before the scheduler came back.
TEST(SchedulerInterrupted, AnAdoptedRunThatIsCountedCountsOnce) {
    for (const bool is_counted : {false, true}) {
        for (const auto trigger : {RunTrigger::schedule, RunTrigger::manual}) {
            Scheduler scheduler([] { return 0.5; });
            Job job = make_job(1, "0 12 * * *");
            job.max_failures = 3;
            job.max_retries = 0;
            job.consecutive_failures = 2;
            const Occurrence adopted{JobId{1}, kDay, 1, trigger};
            scheduler.step(
                kDay + 30s,
                std::vector<Event>{JobLoaded{job},
                                   Started{kDay, {}, {}, {{RunId{5}, adopted, is_counted}}}});
            const std::vector<Command> said = scheduler.step(
                kDay + 40s, std::vector<Event>{RunEnded{RunId{5}, RunOutcome::failed, false}});
            const bool pauses = !is_counted && trigger == RunTrigger::schedule;
            EXPECT_EQ(std::ranges::count_if(said,
                                            [](const Command& command) {
                                                return std::holds_alternative<PauseJob>(command);
                                            }),
                      pauses ? 1 : 0);
        }
    }
}

// What the step says about the run that failed at 00:01:10.
std::vector<Command> after_failure(const Job& job, Instant now, int attempt = 1) {
    Scheduler scheduler([] { return 0.5; });
    const Occurrence failed{JobId{1}, kDay + 1min, attempt, RunTrigger::schedule};
    return scheduler.step(
        now, std::vector<Event>{JobLoaded{job},
                                Started{kDay + 65s, {}, {}, {}, {{failed, kDay + 70s}}}});
}

TEST(SchedulerMissed, ARetryThatNobodyClaimedIsClaimedAtTheNextStart) {
    Job job = make_job(1, "*/10 * * * *", kDay);
    job.planned_from = kDay;
    job.max_retries = 1;
    job.retry_period = 1min;
    for (const auto& [now, trigger] :
         {std::pair{kDay + 75s, RunTrigger::retry}, {kDay + 5min, RunTrigger::catchup}}) {
        const auto said = after_failure(job, now);
        ASSERT_EQ(said.size(), 1u);
        const auto* claim = std::get_if<ClaimRun>(&said.front());
        ASSERT_NE(claim, nullptr);
        EXPECT_EQ(claim->occurrence.scheduled_at, kDay + 1min);
        EXPECT_EQ(claim->occurrence.attempt, 2);
        EXPECT_EQ(claim->occurrence.trigger, trigger);
        EXPECT_EQ(claim->reason.starts_with("retry at"), trigger == RunTrigger::retry);
    }
    EXPECT_TRUE(after_failure(job, kDay + 75s, 2).empty()) << "no retries left";
    job.retry_period = 10min;
    EXPECT_TRUE(after_failure(job, kDay + 75s).empty()) << "the next occurrence comes before";
    job.active = false;
    job.retry_period = 1min;
    EXPECT_TRUE(after_failure(job, kDay + 75s).empty()) << "paused";
}

TEST(SchedulerMissed, WhatFellDueBetweenTheChangeOfAJobAndItsLoadingIsNotLost) {
    for (const auto& [planned_from, runs] : {std::pair{kDay + 55s, 1u}, {kDay + 65s, 0u}}) {
        Simulator world;
        world.start();
        world.now = kDay + 50s;
        world.step();
        world.now = kDay + 70s;
        world.step({JobLoaded{make_job(1, "* * * * *", planned_from)}});
        EXPECT_EQ(world.rows.size(), runs);
        EXPECT_EQ(world.row(1, kDay + 1min) != nullptr, runs == 1);
    }
}

TEST(SchedulerMissed, AOneOffIsNotLostHoweverLateItIsLoaded) {
    Simulator world;
    world.start();
    world.now = kDay + 100s;
    world.step();
    world.now = kDay + 110s;
    world.gives = [](const Key&) { return Simulator::Result{RunOutcome::failed, false}; };
    const Job job = make_job(1, "@at 2026-11-24 00:01:00+00", kDay + 59s);
    world.add(job);
    world.step({JobLoaded{job}});
    world.run_until(kDay + 2min);
    ASSERT_EQ(world.rows.size(), 1u);
    EXPECT_EQ(world.row(1, kDay + 1min)->status, Status::failed);
    EXPECT_EQ(world.row(1, kDay + 1min)->trigger, RunTrigger::once);
    world.step({JobLoaded{job}});  // changed in another way: its instant has had its run
    EXPECT_TRUE(world.said<ClaimRun>().empty());
}

}  // namespace
}  // namespace securatlas::core::test
