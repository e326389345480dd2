#include <gtest/gtest.h>

#include "scheduler_simulator.hpp"

namespace securatlas::core::test {
namespace {

using namespace std::chrono_literals;

// Job 1 waits for job 2. Runs take ten minutes.
Simulator pair_of(const std::string& first, const std::string& second,
                  DependencyCondition condition = DependencyCondition::finished) {
    Simulator world;
    Job waiter = make_job(1, first);
    waiter.after.push_back({JobId{2}, condition});
    world.add(waiter);
    world.add(make_job(2, second));
    world.takes = [](const Key&) { return Duration(10min); };
    world.start();
    return world;
}

Simulator::Result failure(const Key&) { return {RunOutcome::failed, true}; }

TEST(SchedulerDependency, DueTogetherTheOtherGoesFirst) {
    Simulator world = pair_of("0 1 * * *", "0 1 * * *");
    world.run_until(kDay + 1h);
    EXPECT_EQ(world.row(2, kDay + 1h)->status, Status::running);
    EXPECT_EQ(world.row(1, kDay + 1h)->status, Status::starting);
    EXPECT_EQ(world.row(1, kDay + 1h)->reason, "waiting for job2");
    world.run_until(kDay + 2h);
    EXPECT_EQ(world.row(1, kDay + 1h)->started, kDay + 1h + 10min);
}

TEST(SchedulerDependency, ChainsKeepTheirOrderWhateverTheIds) {
    Simulator world;
    for (int id = 1; id <= 50; ++id) {
        Job job = make_job(id, "0 1 * * *");
        if (id < 50) job.after.push_back({JobId{id + 1}, DependencyCondition::succeeded});
        world.add(job);
    }
    world.start();
    world.run_until(kDay + 2h);
    for (int id = 1; id < 50; ++id) {
        EXPECT_EQ(world.row(id, kDay + 1h)->started, world.row(id + 1, kDay + 1h)->ended);
    }
}

TEST(SchedulerDependency, AnEarlierOneThatStillRunsHolds) {
    Simulator world = pair_of("5 1 * * *", "0 1 * * *");
    world.run_until(kDay + 1h + 5min);
    EXPECT_EQ(world.row(1, kDay + 1h + 5min)->reason, "waiting for job2");
    world.run_until(kDay + 2h);
    EXPECT_EQ(world.row(1, kDay + 1h + 5min)->started, kDay + 1h + 10min);
}

TEST(SchedulerDependency, NothingInThatTimeDoesNotHold) {
    // Job 2's run of 00:30 is still under way at 02:00, but belongs to the run of 01:00.
    Simulator world = pair_of("0 * * * *", "30 0 * * *");
    world.jobs.at(JobId{1}).overlap = OverlapPolicy::allow;
    world.step({JobLoaded{world.jobs.at(JobId{1})}});
    world.takes = [](const Key&) { return Duration(150min); };
    world.run_until(kDay + 2h);
    EXPECT_EQ(world.row(1, kDay + 1h)->reason, "waiting for job2");
    EXPECT_EQ(world.row(1, kDay + 2h)->started, kDay + 2h);
}

TEST(SchedulerDependency, ARetryHolds) {
    Simulator world = pair_of("5 1 * * *", "0 1 * * *", DependencyCondition::succeeded);
    Job& other = world.jobs.at(JobId{2});
    other.max_retries = 1;
    other.retry_period = 20min;
    world.step({JobLoaded{other}});
    world.gives = [](const Key& key) {
        const bool bad = key.job == JobId{2} && key.attempt == 1;
        return Simulator::Result{bad ? RunOutcome::failed : RunOutcome::succeeded};
    };
    world.run_until(kDay + 1h + 15min);
    EXPECT_EQ(world.row(1, kDay + 1h + 5min)->reason, "waiting for job2");
    world.run_until(kDay + 2h);
    EXPECT_EQ(world.row(1, kDay + 1h + 5min)->started, kDay + 1h + 10min + 20min + 10min);
}

TEST(SchedulerDependency, AManualRunHolds) {
    Simulator world = pair_of("5 1 * * *", "0 12 * * *");
    world.run_until(kDay + 1h);
    world.ask(JobId{2});
    world.run_until(kDay + 1h + 5min);
    EXPECT_EQ(world.row(1, kDay + 1h + 5min)->reason, "waiting for job2");
}

TEST(SchedulerDependency, AFailureSkipsTheOneThatWaits) {
    Simulator world = pair_of("0 1 * * *", "0 1 * * *", DependencyCondition::succeeded);
    world.gives = failure;
    world.run_until(kDay + 2h);
    EXPECT_EQ(world.row(1, kDay + 1h)->status, Status::skipped);
    EXPECT_EQ(world.row(1, kDay + 1h)->reason, "job2 failed");
    EXPECT_EQ(world.row(1, kDay + 1h)->started, std::nullopt);

    Simulator indifferent = pair_of("0 1 * * *", "0 1 * * *");
    indifferent.gives = failure;
    indifferent.run_until(kDay + 2h);
    EXPECT_EQ(indifferent.row(1, kDay + 1h)->started, kDay + 1h + 10min);
}

TEST(SchedulerDependency, AFailureBeforeItWasDueSkipsIt) {
    Simulator world = pair_of("30 1 * * *", "0 1 * * *", DependencyCondition::succeeded);
    world.gives = [](const Key& key) {
        const bool bad = key.job == JobId{2} && key.at < kDay + 24h;
        return Simulator::Result{bad ? RunOutcome::failed : RunOutcome::succeeded};
    };
    world.run_until(kDay + 48h);
    EXPECT_EQ(world.row(1, kDay + 1h + 30min)->status, Status::skipped);
    EXPECT_EQ(world.row(1, kDay + 1h + 30min)->reason, "job2 failed");
    EXPECT_EQ(world.row(1, kDay + 25h + 30min)->status, Status::succeeded);
}

TEST(SchedulerDependency, AFailureBeforeTheRestartSkipsItToo) {
    Simulator world = pair_of("30 1 * * *", "0 1 * * *", DependencyCondition::succeeded);
    world.jobs.at(JobId{1}).last_occurrence = kDay - 24h + 90min;
    world.jobs.at(JobId{2}).last_occurrence = kDay + 1h;
    world.jobs.at(JobId{2}).last_failed = true;
    world.crash();
    world.now = world.planned_until.emplace(kDay + 80min);
    world.start();
    world.run_until(kDay + 2h);
    EXPECT_EQ(world.row(1, kDay + 90min)->reason, "job2 failed");
}

TEST(SchedulerDependency, AnOldFailureDoesNotMatter) {
    // Job 2 failed at 01:00; that is why the run of 01:30 is skipped, but not the one of 02:30.
    Simulator world = pair_of("30 * * * *", "0 1 * * *", DependencyCondition::succeeded);
    world.gives = [](const Key& key) {
        return Simulator::Result{key.job == JobId{2} ? RunOutcome::failed : RunOutcome::succeeded};
    };
    world.run_until(kDay + 3h);
    EXPECT_EQ(world.row(1, kDay + 1h + 30min)->status, Status::skipped);
    EXPECT_EQ(world.row(1, kDay + 2h + 30min)->status, Status::succeeded);
}

TEST(SchedulerDependency, ASkipForAFailureIsNoSuccess) {
    Simulator world;
    for (int id = 1; id <= 3; ++id) {
        Job job = make_job(id, "0 1 * * *");
        if (id < 3) job.after.push_back({JobId{id + 1}, DependencyCondition::succeeded});
        world.add(job);
    }
    world.gives = failure;
    world.start();
    world.run_until(kDay + 2h);
    EXPECT_EQ(world.row(2, kDay + 1h)->reason, "job3 failed");
    EXPECT_EQ(world.row(1, kDay + 1h)->reason, "job2 failed");
}

TEST(SchedulerDependency, NorIsASkipBeforeItWasDue) {
    Simulator world;
    const char* schedules[] = {"40 1 * * *", "30 1 * * *", "0 1 * * *"};
    for (int id = 1; id <= 3; ++id) {
        Job job = make_job(id, schedules[id - 1]);
        if (id < 3) job.after.push_back({JobId{id + 1}, DependencyCondition::succeeded});
        world.add(job);
    }
    world.gives = failure;
    world.start();
    world.run_until(kDay + 2h);
    EXPECT_EQ(world.row(2, kDay + 1h + 30min)->reason, "job3 failed");
    EXPECT_EQ(world.row(1, kDay + 1h + 40min)->reason, "job2 failed");
}

TEST(SchedulerDependency, ARemovedJobHoldsNobody) {
    Simulator world = pair_of("0 1 * * *", "0 1 * * *", DependencyCondition::succeeded);
    world.run_until(kDay + 1h + 1min);
    world.step({JobRemoved{JobId{2}}});
    EXPECT_EQ(world.row(1, kDay + 1h)->started, kDay + 1h + 1min);
}

TEST(SchedulerDependency, ADependencyThatIsTakenAwayHoldsNobody) {
    Simulator world = pair_of("0 1 * * *", "0 1 * * *");
    world.run_until(kDay + 1h + 1min);
    world.jobs.at(JobId{1}).after.clear();
    world.step({JobLoaded{world.jobs.at(JobId{1})}});
    EXPECT_EQ(world.row(1, kDay + 1h)->started, kDay + 1h + 1min);
}

TEST(SchedulerDependency, OneThatWaitsIsNotFinishedForItsOwnJob) {
    Simulator world = pair_of("0 * * * *", "0 1 * * *");
    world.takes = [](const Key& key) {
        return key.job == JobId{2} ? Duration(150min) : Duration(1s);
    };
    world.run_until(kDay + 3h);
    EXPECT_EQ(world.row(1, kDay + 1h)->reason, "waiting for job2");
    EXPECT_EQ(world.row(1, kDay + 2h)->reason, "waiting for the previous run");
    EXPECT_EQ(world.row(1, kDay + 3h)->status, Status::skipped);
}

TEST(SchedulerDependency, ACycleHangsNobody) {
    Simulator world;
    for (int id = 1; id <= 3; ++id) {
        Job job = make_job(id, "* * * * *");
        job.after.push_back({JobId{id % 3 + 1}, DependencyCondition::succeeded});
        job.after.push_back({JobId{id}, DependencyCondition::finished});
        world.add(job);
    }
    world.start();
    world.run_until(kDay + 10min + 30s);
    for (int id = 1; id <= 3; ++id) EXPECT_EQ(world.count(id, Status::succeeded), 10u);
    // After a crash with all of them under way, too.
    world.run_until(kDay + 11min);
    world.crash();
    world.start();
    world.run_until(kDay + 12min - 1s);
    for (int id = 1; id <= 3; ++id) EXPECT_EQ(world.count(id, Status::succeeded), 11u);
}

TEST(SchedulerDependency, MissedOnesKeepTheOrder) {
    Simulator world = pair_of("0 1 * * *", "0 1 * * *");
    world.crash();
    world.now = kDay + 1h + 2min;
    world.start();
    world.run_until(kDay + 2h);
    EXPECT_EQ(world.row(2, kDay + 1h)->trigger, RunTrigger::catchup);
    EXPECT_EQ(world.row(1, kDay + 1h)->started, world.row(2, kDay + 1h)->ended);
}

}  // namespace
}  // namespace securatlas::core::test
