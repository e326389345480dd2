#include <gtest/gtest.h>
#include <malloc.h>

#include <ctime>

#include "scheduler_simulator.hpp"
#include "securatlas/core/cron/run_policy.hpp"

namespace securatlas::core::test {
namespace {

using namespace std::chrono_literals;

constexpr int kJobs = 100000;

// Jobs with a schedule and a zone of the few that there are, and short names.
std::vector<Event> many_jobs(const std::string& schedule) {
    const Job model = make_job(0, schedule);
    std::vector<Event> events;
    events.reserve(kJobs + 1);
    for (int id = 1; id <= kJobs; ++id) {
        Job job = model;
        job.id = JobId{id};
        job.name = "job" + std::to_string(id);
        events.push_back(JobLoaded{job});
    }
    events.push_back(Started{kDay, {}, {}, {}});
    return events;
}

TEST(SchedulerLoad, AHundredThousandJobsFitIn240BytesEach) {
    const std::vector<Event> events = many_jobs("0 2 * * *");
    const std::size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    Scheduler scheduler([] { return 0.5; });
    EXPECT_TRUE(scheduler.step(kDay, events).empty());
    const std::size_t used = mallinfo2().uordblks + mallinfo2().hblkhd - before;
#if !defined(__SANITIZE_ADDRESS__)
    EXPECT_GT(used / kJobs, 100u);
    EXPECT_LT(used / kJobs, 240u);
#else
    EXPECT_EQ(used, used);
#endif
    EXPECT_EQ(scheduler.job_count(), static_cast<std::size_t>(kJobs));
    EXPECT_EQ(scheduler.next_wake(), kDay + 2h);
}

TEST(SchedulerLoad, JobsMayComeInSeveralStepsBeforePlanningStarts) {
    const std::vector<Event> events = many_jobs("0 2 * * *");
    Started started{kDay - 24h, {}, {}, {}};
    std::vector<Event> at_once(events.begin(), events.begin() + 100);
    at_once.emplace_back(started);
    Scheduler expected([] { return 0.5; });
    const std::vector<Command> commands = expected.step(kDay + 3h, at_once);

    Scheduler scheduler([] { return 0.5; });
    for (int from = 0; from < 100; from += 30) {
        const auto page = std::span(events).subspan(
            static_cast<std::size_t>(from), static_cast<std::size_t>(std::min(30, 100 - from)));
        EXPECT_TRUE(scheduler.step(kDay + 3h, page).empty());
        EXPECT_EQ(scheduler.next_wake(), kNever);
    }
    const std::vector<Event> start{started};
    EXPECT_EQ(scheduler.step(kDay + 3h, start).size(), commands.size());
    EXPECT_GT(commands.size(), 0u);
    EXPECT_EQ(scheduler.next_wake(), expected.next_wake());
    EXPECT_EQ(scheduler.planned_until(), expected.planned_until());
}

TEST(SchedulerLoad, KnowsTheJobsThatWereLoadedAndNotRemoved) {
    Scheduler scheduler([] { return 0.5; });
    scheduler.step(
        kDay,
        std::vector<Event>{JobLoaded{make_job(1, "0 2 * * *")}, JobLoaded{make_job(2, "0 2 * * *")},
                           JobLoaded{make_job(3, "0 2 * * *")}, Started{kDay, {}, {}, {}}});
    scheduler.step(kDay, std::vector<Event>{JobRemoved{JobId{2}}, JobRemoved{JobId{7}}});
    std::vector<JobId> ids = scheduler.job_ids();
    std::ranges::sort(ids);
    EXPECT_EQ(ids, (std::vector<JobId>{JobId{1}, JobId{3}}));
}

TEST(SchedulerLoad, AChangeOfAJobConcernsNoOtherWithTheSameRules) {
    const Job first = make_job(1, "0 2 * * *");
    Job second = first;
    second.id = JobId{2};
    Scheduler scheduler([] { return 0.5; });
    scheduler.step(
        kDay, std::vector<Event>{JobLoaded{first}, JobLoaded{second}, Started{kDay, {}, {}, {}}});
    Job changed = make_job(1, "0 5 * * *");
    changed.after = {{JobId{2}, DependencyCondition::finished}};
    scheduler.step(kDay, std::vector<Event>{JobLoaded{changed}});
    EXPECT_EQ(scheduler.next_run(JobId{1}), kDay + 5h);
    EXPECT_EQ(scheduler.next_run(JobId{2}), kDay + 2h);
    scheduler.step(kDay, std::vector<Event>{JobRemoved{JobId{1}}});
    EXPECT_EQ(scheduler.next_run(JobId{2}), kDay + 2h);
}

TEST(SchedulerLoad, AStepAsksForNoMoreThanIsDue) {
    Scheduler scheduler([] { return 0.5; });
    scheduler.step(kDay, many_jobs("0 2 * * *"));
    EXPECT_TRUE(scheduler.step(kDay + 1h, {}).empty());
    const std::vector<Command> due = scheduler.step(kDay + 2h, {});
    ASSERT_EQ(due.size(), static_cast<std::size_t>(kJobs));
    std::vector<Event> claimed;
    std::int64_t run = 0;
    for (const Command& command : due) {
        claimed.push_back(RunClaimed{std::get<ClaimRun>(command).occurrence, RunId{++run}});
    }
    const std::vector<Command> starts = scheduler.step(kDay + 2h, claimed);
    ASSERT_EQ(starts.size(), static_cast<std::size_t>(kJobs));
    for (const Command& command : starts) ASSERT_TRUE(std::holds_alternative<StartRun>(command));
    EXPECT_EQ(scheduler.next_wake(), kDay + 26h);
}

// In UTC; counts how often it is asked, which is at least once for each instant that is looked at.
class CountingZone : public FixedZone {
  public:
    ZoneSpan span_at(Instant at) const override {
        ++asked;
        return FixedZone::span_at(at);
    }
    mutable std::int64_t asked = 0;
};

// The work of a step is bounded after a year away too; what runs is exact for all jobs.
TEST(SchedulerLoad, AYearAwayIsCountedInPart) {
    for (const MissedPolicy missed : {MissedPolicy::once, MissedPolicy::all}) {
        const auto zone = std::make_shared<const CountingZone>();
        std::vector<Event> events = many_jobs("* * * * *");
        for (Event& event : events) {
            auto* loaded = std::get_if<JobLoaded>(&event);
            if (loaded == nullptr) continue;
            loaded->job.zone = zone;
            loaded->job.missed = missed;
            loaded->job.catchup_window = 90s;
        }
        Scheduler scheduler([] { return 0.5; });
        const Instant latest = kDay + 24h * 365;
        std::vector<Command> said = scheduler.step(latest + 30s, events);
        for (std::int64_t before = 0; scheduler.is_behind(); before = zone->asked) {
            EXPECT_LT(zone->asked - before, 1000000) << "in one step";
            const std::vector<Command> more = scheduler.step(latest + 30s, {});
            said.insert(said.end(), more.begin(), more.end());
        }
        EXPECT_GT(zone->asked, static_cast<std::int64_t>(kMaxCountedAtOnce));
        EXPECT_LT(zone->asked, 10000000);

        const std::int64_t runs = missed == MissedPolicy::all ? 2 : 1;
        std::int64_t claims = 0;
        std::int64_t skips = 0;
        for (const Command& command : said) {
            if (const auto* claim = std::get_if<ClaimRun>(&command)) {
                ++claims;
                ASSERT_GE(claim->occurrence.scheduled_at, latest - 1min * (runs - 1));
                continue;
            }
            const RecordSkip& skip = std::get<RecordSkip>(command);
            ++skips;
            ASSERT_EQ(skip.occurrence.scheduled_at, latest - 1min * runs);
            ASSERT_NE(skip.reason.find("at least"), std::string::npos);
            const bool in_full =
                static_cast<std::size_t>(skip.occurrence.job) <= kMaxCountedAtOnce / kMaxCounted;
            ASSERT_EQ(skip.count,
                      static_cast<std::int64_t>(in_full ? kMaxCounted : kFewCounted) - runs);
        }
        EXPECT_EQ(claims, kJobs * runs);
        EXPECT_EQ(skips, kJobs);
    }
}

// The promise is well under a second; the bound (of processor time) leaves room for a slow machine
// and sanitizers.
TEST(SchedulerLoad, IsQuick) {
    std::vector<Event> events = many_jobs("*/5 * * * *");
    for (Event& event : events) {
        // Everybody waits for the first: the worst case for changes of it.
        auto* loaded = std::get_if<JobLoaded>(&event);
        if (loaded != nullptr && loaded->job.id != JobId{1}) {
            loaded->job.after.push_back({JobId{1}, DependencyCondition::finished});
        }
    }
    const std::clock_t begin = std::clock();
    Scheduler scheduler([] { return 0.5; });
    scheduler.step(kDay, events);
    const std::vector<Event> reload(events.end() - 1000, events.end() - 1);
    for (int i = 0; i < 20; ++i) scheduler.step(kDay, reload);
    EXPECT_EQ(scheduler.step(kDay + 5min, {}).size(), static_cast<std::size_t>(kJobs));
    EXPECT_LT(std::clock() - begin, 10 * CLOCKS_PER_SEC);
}

}  // namespace
}  // namespace securatlas::core::test
