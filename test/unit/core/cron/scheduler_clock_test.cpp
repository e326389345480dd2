#include <gtest/gtest.h>

#include "scheduler_simulator.hpp"

namespace securatlas::core::test {
namespace {

using namespace std::chrono_literals;

Simulator every_minute(MissedPolicy missed, Duration window = 5min) {
    Simulator world;
    Job job = make_job(1, "* * * * *");
    job.missed = missed;
    job.catchup_window = window;
    job.overlap = OverlapPolicy::buffer_all;
    world.add(job);
    world.start();
    world.run_until(kDay + 5min + 30s);
    return world;
}

TEST(SchedulerClock, ForwardByLessThanAMinuteMissesNothing) {
    Simulator world = every_minute(MissedPolicy::skip);
    world.now += 59s;
    world.quiesce();
    EXPECT_EQ(world.row(1, kDay + 6min)->status, Status::running);
    EXPECT_EQ(world.row(1, kDay + 6min)->trigger, RunTrigger::schedule);
}

TEST(SchedulerClock, ForwardFollowsTheMissedRule) {
    for (const Duration jump : {Duration(1h), Duration(24h)}) {
        const Instant to = kDay + 5min + 30s + jump;  // the minute before last is a missed one
        Simulator skip = every_minute(MissedPolicy::skip);
        skip.now = to;
        skip.quiesce();
        const Row* row = skip.row(1, to - 90s);
        ASSERT_NE(row, nullptr);
        EXPECT_EQ(row->status, Status::skipped);
        EXPECT_EQ(row->count, jump / 1min - 1);
        EXPECT_EQ(skip.row(1, to - 30s)->trigger, RunTrigger::schedule);
        EXPECT_EQ(skip.scheduler().next_run(JobId{1}), to + 30s);

        Simulator once = every_minute(MissedPolicy::once);
        once.now = to;
        once.quiesce();
        EXPECT_EQ(once.row(1, to - 90s)->trigger, RunTrigger::catchup);
        EXPECT_EQ(once.row(1, to - 150s)->count, jump / 1min - 2);

        Simulator all = every_minute(MissedPolicy::all, 100h);
        all.now = to;
        all.quiesce();
        all.run_until(to + 25min);
        const auto missed = static_cast<std::size_t>(jump / 1min - 1);
        const std::size_t made_up = std::min<std::size_t>(missed, 1000);
        EXPECT_EQ(all.count(1, Status::skipped), missed > 1000 ? 1u : 0u);
        EXPECT_EQ(all.count(1, Status::succeeded), 5 + made_up + 1 + 25);
    }
}

TEST(SchedulerClock, BackDoesNotFreezeAndRunsNothingTwice) {
    for (const Duration jump : {Duration(2s), Duration(3min), Duration(1h), Duration(24h)}) {
        Simulator world = every_minute(MissedPolicy::once);
        world.now -= jump;
        const Instant back = world.now;
        world.run_until(back + 10min);
        // The minutes of both stretches, each once. The simulator refuses a second start.
        for (Instant at = kDay + 1min; at <= kDay + 5min; at += 1min) {
            EXPECT_EQ(world.row(1, at)->status, Status::succeeded);
        }
        for (Instant at = std::chrono::ceil<std::chrono::minutes>(back); at < back + 10min - 2s;
             at += 1min) {
            ASSERT_NE(world.row(1, at), nullptr) << (at - kDay) / 1s;
            EXPECT_EQ(world.row(1, at)->status, Status::succeeded) << (at - kDay) / 1s;
        }
        for (const auto& [key, row] : world.rows) EXPECT_EQ(key.attempt, 1);
    }
}

TEST(SchedulerClock, BackDoesNotFreezeAJobThatWasMadeAhead) {
    Simulator world;
    world.now = kDay + 24h * 400;
    world.start();
    world.add(make_job(1, "* * * * *", world.now));
    world.step({JobLoaded{world.jobs.at(JobId{1})}});
    world.now = kDay;
    world.quiesce();
    EXPECT_EQ(world.scheduler().next_run(JobId{1}), kDay + 1min);
    // Nor if it is loaded only now.
    world.crash();
    world.start();
    EXPECT_EQ(world.scheduler().next_run(JobId{1}), kDay + 1min);
}

TEST(SchedulerClock, BackBetweenTwoLives) {
    Simulator world = every_minute(MissedPolicy::once);
    world.crash();
    world.now -= 1h;
    world.start();
    EXPECT_EQ(world.scheduler().next_run(JobId{1}), kDay + 6min - 1h);
}

TEST(SchedulerClock, ALittleBackIsNoStep) {
    Simulator world = every_minute(MissedPolicy::once);
    const std::optional<Instant> next = world.scheduler().next_run(JobId{1});
    world.now -= 1s;
    world.quiesce();
    EXPECT_EQ(world.scheduler().next_run(JobId{1}), next);
}

TEST(SchedulerClock, BackDoesNotCancelForAnOccurrenceThatHasRun) {
    Simulator world;
    Job job = make_job(1, "* * * * *");
    job.overlap = OverlapPolicy::cancel_other;
    world.add(job);
    world.takes = [](const Key& key) {
        return key.at == kDay + 5min ? Duration(24h) : Duration(1s);
    };
    world.start();
    world.run_until(kDay + 5min + 1s);
    world.now -= 3min;
    world.run_until(kDay + 5min + 30s);
    EXPECT_EQ(world.row(1, kDay + 5min)->status, Status::running);
}

TEST(SchedulerClock, BackDoesNotClaimWhatIsUnderWay) {
    Simulator world = every_minute(MissedPolicy::once);
    world.takes = [](const Key&) { return Duration(24h); };
    world.run_until(kDay + 6min);
    ASSERT_EQ(world.row(1, kDay + 6min)->status, Status::running);
    world.now -= 30s;
    world.quiesce();
    world.now = kDay + 6min;
    world.step();
    EXPECT_TRUE(world.last.empty());
}

TEST(SchedulerReload, KeepsWhatIsDueAtThisStep) {
    Simulator world = every_minute(MissedPolicy::once);
    world.now = kDay + 6min + 1s;
    world.step({JobLoaded{world.jobs.at(JobId{1})}});
    EXPECT_EQ(world.said<ClaimRun>().size(), 1u);
    world.step({JobLoaded{world.jobs.at(JobId{1})}});
    EXPECT_TRUE(world.said<ClaimRun>().empty());
    EXPECT_EQ(world.scheduler().job_count(), 1u);
}

TEST(SchedulerReload, TakesTheNewSchedule) {
    Simulator world = every_minute(MissedPolicy::once);
    world.step({JobLoaded{make_job(1, "0 3 * * *", world.now)}});
    EXPECT_EQ(world.scheduler().next_wake(), kDay + 3h);
    world.step({JobLoaded{make_job(1, "* * * * *", world.now)}});
    EXPECT_EQ(world.scheduler().next_wake(), kDay + 6min);
}

TEST(SchedulerReload, PausedTimeIsNotMissedTime) {
    Simulator world = every_minute(MissedPolicy::all);
    Job& job = world.jobs.at(JobId{1});
    job.active = false;
    world.step({JobLoaded{job}});
    world.run_until(kDay + 10min + 1s);
    job.active = true;
    world.step({JobLoaded{job}});
    world.run_until(kDay + 11min + 30s);
    EXPECT_EQ(world.row(1, kDay + 10min), nullptr);
    EXPECT_EQ(world.row(1, kDay + 11min)->status, Status::succeeded);
}

// A zone whose clock goes forward at `spring` and back at `autumn`, by an hour.
class SummerZone : public Zone {
  public:
    SummerZone(std::chrono::seconds standard, Instant spring, Instant autumn)
        : standard_(standard), spring_(spring), autumn_(autumn) {}
    ZoneSpan span_at(Instant instant) const override {
        if (instant < spring_) return {standard_, spring_};
        if (instant < autumn_) return {standard_ + 1h, autumn_};
        return {standard_, kNever};
    }

  private:
    std::chrono::seconds standard_;
    Instant spring_;
    Instant autumn_;
};

// Years of scheduling, with both changes: a daily job runs each day, whatever its time, and an
// hourly one each hour that passes.
TEST(SchedulerClock, AYearInTenZones) {
    const Instant begin = std::chrono::sys_days{std::chrono::year{2027} / 1 / 1};
    for (int zone = 0; zone < 10; ++zone) {
        const auto offset = std::chrono::hours(3 * zone - 12);
        const auto rules = std::make_shared<const SummerZone>(
            offset, begin + 24h * 86 + 2h - offset, begin + 24h * 303 + 2h - offset);
        Simulator world;
        world.now = begin - offset;
        world.planned_until = world.now;
        const char* daily[] = {"0 0 * * *", "30 1 * * *", "30 2 * * *", "0 3 * * *", "59 23 * * *"};
        for (int id = 1; id <= 5; ++id) world.add(make_job(id, daily[id - 1], world.now - 1us));
        world.add(make_job(6, "15 * * * *", world.now));
        for (auto& [id, job] : world.jobs) {
            job.zone = rules;
            job.missed = MissedPolicy::all;
        }
        world.takes = [](const Key&) { return Duration(0); };
        world.planned_until = world.now - 1us;
        world.start();
        std::size_t daily_runs = 0;
        std::size_t hourly_runs = 0;
        // In months, because the simulator looks at every row at every step.
        for (int month = 1; month <= 12; ++month) {
            const Duration passed =
                month == 12 ? Duration(24h * 365 - 1us) : Duration(24h * 30 * month + 754min);
            world.run_until(begin - offset + passed);
            ASSERT_TRUE(world.all_over());
            hourly_runs += world.count(6, Status::succeeded);
            for (int id = 1; id <= 5; ++id) daily_runs += world.count(id, Status::succeeded);
            world.rows.clear();
        }
        EXPECT_EQ(hourly_runs, 365u * 24) << "zone " << zone;
        EXPECT_EQ(daily_runs, 5u * 365) << "zone " << zone;
    }
}

}  // namespace
}  // namespace securatlas::core::test
