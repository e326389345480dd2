#include <gtest/gtest.h>

#include "scheduler_simulator.hpp"
#include "securatlas/core/cron/run_policy.hpp"

namespace securatlas::core::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* kSkipped = "overlap: the previous run has not finished";
constexpr const char* kWaits = "waiting for the previous run";

// A job each minute, whose runs take three and a half; now it is `minutes` later.
Simulator after(OverlapPolicy policy, Duration minutes) {
    Simulator world;
    Job job = make_job(1, "* * * * *");
    job.overlap = policy;
    world.add(job);
    world.takes = [](const Key&) { return Duration(210s); };
    world.start();
    world.run_until(kDay + minutes);
    return world;
}

TEST(SchedulerOverlap, AnOccurrenceIsClaimedThenStarted) {
    Simulator world;
    world.add(make_job(1, "* * * * *"));
    world.start();
    EXPECT_EQ(world.scheduler().next_run(JobId{1}), kDay + 1min);
    EXPECT_EQ(world.scheduler().next_wake(), kDay + 1min);
    world.now = kDay + 1min;
    world.step();
    ASSERT_EQ(world.said<ClaimRun>().size(), 1u);
    EXPECT_EQ(world.said<ClaimRun>()[0].reason, "");
    EXPECT_TRUE(world.said<StartRun>().empty());
    world.step();
    EXPECT_EQ(world.said<StartRun>().size(), 1u);
    EXPECT_EQ(world.scheduler().next_run(JobId{1}), kDay + 2min);
}

TEST(SchedulerOverlap, BufferOne) {
    Simulator world = after(OverlapPolicy::buffer_one, 4min);
    EXPECT_EQ(world.row(1, kDay + 1min)->status, Status::running);
    EXPECT_EQ(world.row(1, kDay + 2min)->status, Status::starting);
    EXPECT_EQ(world.row(1, kDay + 2min)->reason, kWaits);
    for (const auto minute : {3min, 4min}) {
        EXPECT_EQ(world.row(1, kDay + minute)->status, Status::skipped);
        EXPECT_EQ(world.row(1, kDay + minute)->reason, kSkipped);
    }
    world.run_until(kDay + 5min);
    EXPECT_EQ(world.row(1, kDay + 2min)->started, kDay + 1min + 210s);
    EXPECT_EQ(world.row(1, kDay + 5min)->reason, kWaits);
}

TEST(SchedulerOverlap, BufferAllKeepsTheOrder) {
    Simulator world = after(OverlapPolicy::buffer_all, 4min);
    for (const auto minute : {2min, 3min, 4min}) {
        EXPECT_EQ(world.row(1, kDay + minute)->reason, kWaits);
    }
    world.run_until(kDay + 11min);
    EXPECT_EQ(world.row(1, kDay + 2min)->started, kDay + 1min + 210s);
    EXPECT_EQ(world.row(1, kDay + 3min)->started, kDay + 1min + 420s);
    EXPECT_EQ(world.count(1, Status::skipped), 0u);
    EXPECT_EQ(world.count(1, Status::running), 1u);
}

TEST(SchedulerOverlap, BufferAllEndsAtAThousand) {
    Simulator world;
    Job job = make_job(1, "1 second");
    job.overlap = OverlapPolicy::buffer_all;
    world.add(job);
    world.takes = [](const Key&) { return Duration(24h); };
    world.start();
    world.run_until(kDay + 1005s);
    EXPECT_EQ(world.count(1, Status::running), 1u);
    EXPECT_EQ(world.count(1, Status::starting), kMaxBuffered);
    EXPECT_EQ(world.count(1, Status::skipped), 4u);
}

TEST(SchedulerOverlap, Skip) {
    Simulator world = after(OverlapPolicy::skip, 5min);
    EXPECT_EQ(world.count(1, Status::skipped), 3u);
    EXPECT_EQ(world.row(1, kDay + 2min)->reason, kSkipped);
    EXPECT_EQ(world.row(1, kDay + 5min)->status, Status::running);
}

TEST(SchedulerOverlap, CancelOther) {
    Simulator world = after(OverlapPolicy::cancel_other, 2min);
    EXPECT_EQ(world.row(1, kDay + 1min)->status, Status::cancelled);
    EXPECT_EQ(world.row(1, kDay + 2min)->status, Status::running);
    world.run_until(kDay + 4min);
    EXPECT_EQ(world.count(1, Status::cancelled), 3u);
    EXPECT_EQ(world.count(1, Status::running), 1u);
}

TEST(SchedulerOverlap, CancelOtherLetsOnlyTheNewestWait) {
    // Without an answer to the cancel: the run goes on for three minutes.
    Scheduler scheduler([] { return 0.5; });
    Job job = make_job(1, "* * * * *");
    job.overlap = OverlapPolicy::cancel_other;
    job.max_retries = 1;
    job.retry_period = 1s;
    const auto claimed = [](int minute) {
        return RunClaimed{{JobId{1}, kDay + minute * 1min, 1, RunTrigger::schedule}, RunId{minute}};
    };
    std::vector<Event> events = {JobLoaded{job}, Started{kDay, {}, {}, {}}};
    scheduler.step(kDay, events);
    scheduler.step(kDay + 1min, {});
    events = {claimed(1)};
    scheduler.step(kDay + 1min, events);
    EXPECT_EQ(std::get<ClaimRun>(scheduler.step(kDay + 2min, {}).at(0)).reason, kWaits);
    events = {claimed(2)};
    std::vector<Command> said = scheduler.step(kDay + 2min, events);
    ASSERT_EQ(said.size(), 1u);
    EXPECT_EQ(std::get<CancelRun>(said[0]).run, RunId{1});
    scheduler.step(kDay + 3min, {});
    events = {claimed(3)};
    said = scheduler.step(kDay + 3min, events);
    ASSERT_EQ(said.size(), 1u);  // not cancelled twice
    EXPECT_EQ(std::get<SkipRun>(said[0]).run, RunId{2});
    // It failed before the cancel reached it: its place is taken all the same, so no retry.
    events = {RunEnded{RunId{1}, RunOutcome::failed, true}};
    said = scheduler.step(kDay + 3min, events);
    ASSERT_EQ(said.size(), 1u);
    EXPECT_EQ(std::get<StartRun>(said[0]).run, RunId{3});
}

TEST(SchedulerOverlap, Allow) {
    Simulator world = after(OverlapPolicy::allow, 4min);
    EXPECT_EQ(world.count(1, Status::running), 4u);
}

TEST(SchedulerOverlap, SeveralDueAtOneStep) {
    Simulator world;
    world.add(make_job(1, "10 seconds"));
    world.takes = [](const Key&) { return Duration(1h); };
    world.start();
    world.now = kDay + 30s;
    world.quiesce();
    EXPECT_EQ(world.row(1, kDay + 10s)->status, Status::running);
    EXPECT_EQ(world.row(1, kDay + 20s)->reason, kWaits);
    EXPECT_EQ(world.row(1, kDay + 30s)->reason, kSkipped);
}

TEST(SchedulerManual, WaitsForTheRunningOneAndRunsForAnInactiveJob) {
    Simulator world = after(OverlapPolicy::skip, 1min);
    world.now += 1s;
    const RunId run = world.ask(JobId{1});
    EXPECT_EQ(world.said<ExplainWait>().at(0).reason, kWaits);
    world.jobs.at(JobId{1}).active = false;
    world.step({JobLoaded{world.jobs.at(JobId{1})}});
    EXPECT_TRUE(world.said<SkipRun>().empty());
    EXPECT_EQ(world.scheduler().next_run(JobId{1}), std::nullopt);
    world.run_until(kDay + 5min);
    EXPECT_EQ(world.row(1, kDay + 1min + 1s)->id, run);
    EXPECT_EQ(world.row(1, kDay + 1min + 1s)->started, kDay + 1min + 210s);
}

TEST(SchedulerManual, DoesNotWaitForARetryThatWaits) {
    Simulator world;
    Job job = make_job(1, "0 0 * * *");
    job.max_retries = 1;
    job.retry_period = 1h;
    world.add(job);
    world.gives = [](const Key&) { return Simulator::Result{RunOutcome::failed}; };
    world.start();
    world.run_until(kDay + 24h + 1min);
    EXPECT_EQ(world.count(1, Status::starting), 1u);
    world.ask(JobId{1});
    EXPECT_EQ(world.said<StartRun>().size(), 1u);
}

TEST(SchedulerManual, OfAnUnknownJobIsSkipped) {
    Simulator world;
    world.start();
    world.ask(JobId{9});
    EXPECT_EQ(world.said<SkipRun>().at(0).reason, "job was unscheduled");
}

TEST(SchedulerRemoval, WaitingRunsAreSkippedAndRunningOnesGoOn) {
    Simulator world = after(OverlapPolicy::buffer_one, 2min);
    world.step({JobRemoved{JobId{1}}});
    EXPECT_EQ(world.row(1, kDay + 2min)->status, Status::skipped);
    EXPECT_EQ(world.row(1, kDay + 2min)->reason, "job was unscheduled");
    EXPECT_EQ(world.row(1, kDay + 1min)->status, Status::running);
    EXPECT_EQ(world.scheduler().job_count(), 0u);
    EXPECT_EQ(world.scheduler().next_wake(), kNever);
    world.run_until(kDay + 10min);
    EXPECT_EQ(world.row(1, kDay + 1min)->status, Status::succeeded);
    EXPECT_EQ(world.rows.size(), 2u);
}

TEST(SchedulerRemoval, AClaimThatIsAnsweredAfterwardsIsSkipped) {
    for (const bool removed : {true, false}) {
        Simulator world;
        world.add(make_job(1, "* * * * *"));
        world.start();
        world.now = kDay + 1min;
        world.step();
        Job paused = make_job(1, "* * * * *");
        paused.active = false;
        // The answer to the claim comes first in the queue, so give the other event alone.
        Scheduler& scheduler = world.scheduler();
        const std::vector<Event> events = {removed ? Event(JobRemoved{JobId{1}})
                                                   : Event(JobLoaded{paused})};
        EXPECT_TRUE(scheduler.step(world.now, events).empty());
        world.step();
        EXPECT_EQ(world.said<SkipRun>().at(0).reason,
                  removed ? "job was unscheduled" : "job is paused");
        EXPECT_TRUE(world.said<StartRun>().empty());
    }
}

TEST(SchedulerJitter, StartsLaterButBeforeTheNextOccurrence) {
    Simulator world;
    Job job = make_job(1, "* * * * *");
    job.jitter = 30s;
    world.add(job);
    world.start();
    world.run_until(kDay + 1min);
    EXPECT_EQ(world.row(1, kDay + 1min)->reason, "jitter");
    world.run_until(kDay + 2min);
    EXPECT_EQ(world.row(1, kDay + 1min)->started, kDay + 1min + 15s);

    job.jitter = 10h;
    world.random = 0.999;
    world.step({JobLoaded{job}});
    world.run_until(kDay + 4min);
    EXPECT_GT(world.row(1, kDay + 3min)->started, kDay + 3min + 55s);
    EXPECT_LT(world.row(1, kDay + 3min)->started, kDay + 4min);
}

}  // namespace
}  // namespace securatlas::core::test
