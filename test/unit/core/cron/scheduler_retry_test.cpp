#include <gtest/gtest.h>

#include "scheduler_simulator.hpp"

namespace securatlas::core::test {
namespace {

using namespace std::chrono_literals;

Simulator failing(const std::string& schedule, int max_retries, Duration period) {
    Simulator world;
    Job job = make_job(1, schedule);
    job.max_retries = max_retries;
    job.retry_period = period;
    world.add(job);
    world.gives = [](const Key&) { return Simulator::Result{RunOutcome::failed}; };
    world.start();
    return world;
}

constexpr Instant kFirst = kDay + 1h;  // of "0 1 * * *"

TEST(SchedulerRetry, WaitsClaimedForItsTime) {
    Simulator world = failing("0 1 * * *", 2, 1min);
    world.run_until(kFirst + 1s);
    const Row* second = world.row(1, kFirst, 2);
    ASSERT_NE(second, nullptr);
    EXPECT_EQ(second->trigger, RunTrigger::retry);
    EXPECT_EQ(second->reason, "retry at 2026-11-24 01:01:01+00");
    EXPECT_EQ(second->status, Status::starting);
    EXPECT_EQ(world.scheduler().next_wake(), kFirst + 1s + 1min);
    world.run_until(kFirst + 10min);
    EXPECT_EQ(world.row(1, kFirst, 2)->started, kFirst + 1s + 1min);
    EXPECT_EQ(world.row(1, kFirst, 3)->started, kFirst + 1s + 1min + 1s + 2min);
    EXPECT_EQ(world.rows.size(), 3u);
    EXPECT_EQ(world.count(1, Status::failed), 3u);
}

TEST(SchedulerRetry, EndsWithTheFirstSuccess) {
    Simulator world = failing("0 1 * * *", 5, 1min);
    world.gives = [](const Key& key) {
        return Simulator::Result{key.attempt < 2 ? RunOutcome::failed : RunOutcome::succeeded};
    };
    world.run_until(kFirst + 2h);
    EXPECT_EQ(world.rows.size(), 2u);
    EXPECT_EQ(world.row(1, kFirst, 2)->status, Status::succeeded);
}

TEST(SchedulerRetry, AnHourAtTheMost) {
    Simulator world = failing("0 1 * * *", 12, 20min);
    world.run_until(kDay + 24h);
    EXPECT_EQ(world.row(1, kFirst, 3)->started.value() - *world.row(1, kFirst, 2)->ended, 40min);
    for (int attempt = 4; attempt <= 13; ++attempt) {
        EXPECT_EQ(world.row(1, kFirst, attempt)->started.value() -
                      *world.row(1, kFirst, attempt - 1)->ended,
                  1h);
    }
}

TEST(SchedulerRetry, NotAtOrAfterTheNextOccurrence) {
    Simulator world = failing("* * * * *", 9, 59s);
    world.run_until(kDay + 5min);
    EXPECT_EQ(world.row(1, kDay + 1min, 2), nullptr);  // 1 s + 59 s is the next minute
    Simulator sooner = failing("* * * * *", 9, 58s);
    sooner.run_until(kDay + 5min);
    EXPECT_EQ(sooner.row(1, kDay + 1min, 2)->started, kDay + 1min + 59s);
    EXPECT_EQ(sooner.row(1, kDay + 1min, 3), nullptr);
}

TEST(SchedulerRetry, NotIfItCannotMendOrWasCancelledOrIsInactive) {
    Simulator hopeless = failing("0 1 * * *", 3, 1min);
    hopeless.gives = [](const Key&) { return Simulator::Result{RunOutcome::failed, false}; };
    hopeless.run_until(kFirst + 10min);
    EXPECT_EQ(hopeless.rows.size(), 1u);

    Simulator cancelled = failing("0 1 * * *", 3, 1min);
    cancelled.gives = [](const Key&) { return Simulator::Result{RunOutcome::cancelled}; };
    cancelled.run_until(kFirst + 10min);
    EXPECT_EQ(cancelled.rows.size(), 1u);

    Simulator inactive = failing("0 1 * * *", 3, 1min);
    inactive.run_until(kFirst);
    inactive.jobs.at(JobId{1}).active = false;
    inactive.step({JobLoaded{inactive.jobs.at(JobId{1})}});
    inactive.run_until(kFirst + 10min);
    EXPECT_EQ(inactive.rows.size(), 1u);
}

TEST(SchedulerRetry, ThatWaitsHoldsTheNextOccurrence) {
    // The second attempt is still running when the next occurrence is due.
    Simulator world = failing("* * * * *", 1, 30s);
    world.takes = [](const Key& key) { return key.attempt == 1 ? Duration(1s) : Duration(50s); };
    world.run_until(kDay + 2min);
    EXPECT_EQ(world.row(1, kDay + 1min, 2)->status, Status::running);
    EXPECT_EQ(world.row(1, kDay + 2min)->reason, "waiting for the previous run");
    world.run_until(kDay + 2min + 30s);
    EXPECT_EQ(world.row(1, kDay + 2min)->started, kDay + 1min + 31s + 50s);
}

TEST(SchedulerRetry, GoesBeforeRunsThatWait) {
    Simulator world;
    Job job = make_job(1, "0 * * * *");
    job.max_retries = 1;
    world.add(job);
    world.takes = [](const Key& key) { return key.attempt == 1 ? Duration(90min) : Duration(1s); };
    world.gives = [](const Key& key) {
        return Simulator::Result{key.attempt == 1 ? RunOutcome::failed : RunOutcome::succeeded};
    };
    world.start();
    world.run_until(kDay + 3h - 1s);
    EXPECT_EQ(world.row(1, kDay + 1h, 2)->started, kDay + 2h + 31min);
    EXPECT_EQ(world.row(1, kDay + 2h)->started, kDay + 2h + 31min + 1s);
}

TEST(SchedulerRetry, TheClockSetBackDoesNotFreezeIt) {
    Simulator world = failing("0 1 * * *", 1, 1min);
    world.run_until(kFirst + 1s);
    world.now -= 24h;
    world.quiesce();
    EXPECT_EQ(world.scheduler().next_wake(), kFirst + 1s + 1min - 24h);
    world.run_until(kFirst - 24h + 5min);
    EXPECT_EQ(world.row(1, kFirst, 2)->status, Status::failed);
}

TEST(SchedulerFailures, PauseTheJobAtTheLimit) {
    Simulator world = failing("* * * * *", 1, 10s);
    world.jobs.at(JobId{1}).max_failures = 3;
    world.jobs.at(JobId{1}).name = "it's";
    world.step({JobLoaded{world.jobs.at(JobId{1})}});
    world.run_until(kDay + 10min);
    ASSERT_EQ(world.paused.size(), 1u);
    const auto last = static_cast<std::int64_t>(world.row(1, kDay + 3min, 2)->id);
    EXPECT_EQ(world.paused[0].note, "paused after 3 failed occurrences in a row; last: run " +
                                        std::to_string(last) +
                                        ". Mend the cause, then cron.resume('it''s')");
    EXPECT_EQ(world.rows.size(), 6u);
    EXPECT_EQ(world.scheduler().next_run(JobId{1}), std::nullopt);

    // Resumed, it has three more.
    world.jobs.at(JobId{1}).active = true;
    world.jobs.at(JobId{1}).planned_from = world.now;
    world.step({JobLoaded{world.jobs.at(JobId{1})}});
    world.run_until(kDay + 20min);
    EXPECT_EQ(world.paused.size(), 2u);
    EXPECT_EQ(world.rows.size(), 12u);
}

TEST(SchedulerFailures, ASuccessAndManualRunsDoNotCount) {
    Simulator world = failing("* * * * *", 0, 1min);
    Job& job = world.jobs.at(JobId{1});
    job.max_failures = 3;
    world.step({JobLoaded{job}});
    // Each third occurrence succeeds.
    world.gives = [](const Key& key) {
        const bool good = (key.at - kDay) % 3min == 0min;
        return Simulator::Result{good ? RunOutcome::succeeded : RunOutcome::failed};
    };
    for (int i = 0; i < 6; ++i) {
        world.run_until(kDay + i * 1min + 30s);
        world.ask(JobId{1});
    }
    world.run_until(kDay + 10min);
    EXPECT_TRUE(world.paused.empty());
    EXPECT_GT(world.count(1, Status::failed), 9u);
}

TEST(SchedulerFailures, TheHistoryCounts) {
    Simulator world;
    Job job = make_job(1, "* * * * *");
    job.max_failures = 3;
    job.consecutive_failures = 2;
    world.add(job);
    world.gives = [](const Key&) { return Simulator::Result{RunOutcome::failed}; };
    world.start();
    world.run_until(kDay + 5min);
    EXPECT_EQ(world.paused.size(), 1u);
    EXPECT_EQ(world.rows.size(), 1u);
}

}  // namespace
}  // namespace securatlas::core::test
