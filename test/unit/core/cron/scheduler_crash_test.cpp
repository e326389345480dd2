#include <gtest/gtest.h>

#include "scheduler_simulator.hpp"

namespace securatlas::core::test {
namespace {

using namespace std::chrono_literals;

int below(int limit, std::mt19937& random) {
    return std::uniform_int_distribution<int>(0, limit - 1)(random);
}

// How often each occurrence of the job succeeded.
std::map<Instant, int> successes(const Simulator& world, JobId job) {
    std::map<Instant, int> found;
    for (const auto& [key, row] : world.rows) {
        if (key.job == job && row.status == Status::succeeded) ++found[key.at];
    }
    return found;
}

// A life that is cut off now and then: before its commands are carried out (nothing is committed),
// after, or with runs under way; the next one starts up to ten minutes later.
void live_and_die(Simulator& world, Instant until, std::mt19937& random) {
    while (world.now < until) {
        Instant wake = std::min(until, world.scheduler().next_wake());
        wake = std::min(wake, world.now + 1s * (1 + below(90, random)));
        world.now = std::max(world.now + 1us, wake);
        const int fate = below(12, random);
        std::vector<Command> commands = world.think({});
        if (fate != 0) world.carry_out(std::move(commands));
        if (fate > 1) continue;
        world.crash();
        world.now += 1s * (below(600, random));
        world.start();
    }
}

TEST(SchedulerCrash, EachOccurrenceSucceedsExactlyOnce) {
    for (unsigned seed = 1; seed <= 200; ++seed) {
        std::mt19937 random(seed);
        Simulator world;
        for (int id = 1; id <= 3; ++id) {
            Job job = make_job(id, id == 1 ? "* * * * *" : id == 2 ? "*/5 * * * *" : "7 * * * *");
            job.missed = MissedPolicy::all;
            job.catchup_window = 24h;
            job.overlap = id == 2 ? OverlapPolicy::allow : OverlapPolicy::buffer_all;
            job.max_retries = 0;
            world.add(job);
        }
        world.jobs.at(JobId{1}).after.push_back({JobId{3}, DependencyCondition::finished});
        world.takes = [](const Key& key) { return Duration(1s + (key.at - kDay) % 40s * 2); };
        world.start();
        const Instant until = kDay + 2h;
        live_and_die(world, until, random);
        // The last life is left in peace.
        world.run_until(world.now + 1min);
        const Instant end = world.now;
        world.run_until(end + 8h);
        const Duration periods[] = {1min, 5min, 1h};
        for (int id = 1; id <= 3; ++id) {
            const auto found = successes(world, JobId{id});
            for (Instant at = kDay + (id == 3 ? Duration(7min) : periods[id - 1]); at <= end;
                 at += periods[id - 1]) {
                const auto times = found.find(at);
                ASSERT_NE(times, found.end())
                    << "seed " << seed << " job " << id << " at " << (at - kDay) / 1s;
                ASSERT_EQ(times->second, 1) << "seed " << seed << " job " << id;
            }
        }
    }
}

TEST(SchedulerCrash, EveryStepOfOneRunCanBeTheLast) {
    // 0: the claim is decided, 1: claimed, 2: started, 3: ended; each without and with its effects.
    for (int last_step = 0; last_step < 4; ++last_step) {
        for (const bool carried_out : {false, true}) {
            Simulator world;
            world.add(make_job(1, "0 1 * * *"));
            world.start();
            world.now = kDay + 1h;
            for (int step = 0; step < last_step; ++step) {
                world.step();
                if (step == 1) world.now += 1s;
            }
            std::vector<Command> commands = world.think({});
            if (carried_out) world.carry_out(std::move(commands));
            world.crash();
            world.now += 1min;
            world.start();
            world.run_until(world.now + 1h);
            EXPECT_EQ(world.count(1, Status::succeeded), 1u) << last_step << carried_out;
            EXPECT_TRUE(world.all_over());
        }
    }
}

// Events that no process in its right mind would send, in any order: nothing may crash, loop, or be
// started without a claim, or twice.
TEST(SchedulerStorm, AnythingMayHappenInAnyOrder) {
    for (unsigned seed = 1; seed <= 12; ++seed) {
        std::mt19937 random(seed);
        Scheduler scheduler([&random] { return below(1000, random) / 1000.0; });
        const char* schedules[] = {"* * * * *", "10 seconds", "0 1 * * *", "@reboot",
                                   "@at 2026-11-24 00:10:00+00"};
        std::vector<Occurrence> claims;
        std::map<RunId, bool> claimed;  // and whether it was started
        std::int64_t next_run = 100;
        Instant now = kDay;
        const auto any_job = [&random] { return JobId{below(8, random)}; };
        const auto load = [&] {
            Job job = make_job(below(8, random), schedules[below(5, random)], now);
            job.active = below(4, random) != 0;
            job.overlap = static_cast<OverlapPolicy>(below(5, random));
            job.missed = static_cast<MissedPolicy>(below(3, random));
            job.jitter = 1s * (below(20, random));
            job.max_retries = below(3, random);
            job.retry_period = 1s * (below(30, random));
            job.max_failures = below(4, random);
            job.catchup_window = below(8, random) == 0 ? (Duration::max)() : Duration(5min);
            while (below(2, random) == 0) {
                job.after.push_back(
                    {any_job(), static_cast<DependencyCondition>(below(2, random))});
            }
            return job;
        };
        for (int round = 0; round < 1000; ++round) {
            now += 1s * (below(40, random));
            if (below(50, random) == 0) now += 1min * (below(600, random));
            if (below(50, random) == 0) now -= 1min * (below(600, random));
            std::vector<Event> events;
            while (below(4, random) != 0) {
                Occurrence occurrence{any_job(), kDay, 1, RunTrigger::manual};
                if (!claims.empty() && below(8, random) != 0) {
                    occurrence = claims.back();
                    claims.pop_back();
                }
                const RunId some{1000000 + below(200, random)};
                switch (below(8, random)) {
                    case 0:
                        events.push_back(JobLoaded{load()});
                        break;
                    case 1:
                        if (below(4, random) == 0) events.push_back(JobRemoved{any_job()});
                        break;
                    case 2:
                        events.push_back(Started{kDay,
                                                 now,
                                                 {{occurrence, below(2, random) == 0}},
                                                 {{some, occurrence}},
                                                 {{occurrence, now}}});
                        claimed.try_emplace(some, true);
                        break;
                    case 3:
                        claimed.try_emplace(RunId{next_run}, false);
                        events.push_back(ManualRun{RunId{next_run++}, any_job(), now});
                        break;
                    case 4:
                        events.push_back(RunRefused{occurrence});
                        break;
                    case 5:
                        events.push_back(RunEnded{RunId{next_run - 1 - below(20, random)},
                                                  static_cast<RunOutcome>(below(3, random)),
                                                  below(2, random) == 0});
                        break;
                    default:
                        claimed.try_emplace(RunId{next_run}, false);
                        events.push_back(RunClaimed{occurrence, RunId{next_run++}});
                        break;
                }
            }
            for (const Command& command : scheduler.step(now, events)) {
                if (const auto* claim = std::get_if<ClaimRun>(&command)) {
                    claims.push_back(claim->occurrence);
                } else if (const auto* start = std::get_if<StartRun>(&command)) {
                    const auto run = claimed.find(start->run);
                    ASSERT_NE(run, claimed.end());
                    ASSERT_FALSE(run->second) << "started twice";
                    run->second = true;
                }
            }
            ASSERT_LE(scheduler.job_count(), 8u);
            ASSERT_GT(scheduler.next_wake(), now);
        }
    }
}

}  // namespace
}  // namespace securatlas::core::test
