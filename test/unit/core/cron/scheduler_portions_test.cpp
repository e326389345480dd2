// Very many occurrences are due at once: they are claimed in portions, by time.
#include <gtest/gtest.h>

#include <set>

#include "scheduler_simulator.hpp"
#include "securatlas/core/cron/run_reasons.hpp"

namespace securatlas::core::test {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kPortion = 10000;

Job every_minute(int id) {
    Job job = make_job(id, "* * * * *");
    job.missed = MissedPolicy::all;
    job.catchup_window = 24h;
    return job;
}

// Carries out what the scheduler says without the cost of the simulator's rows: each claim is
// answered in the next step, and its run ends in the one after that.
struct Life {
    explicit Life(const std::vector<Event>& jobs, Instant planned_until) {
        events = jobs;
        events.push_back(Started{planned_until, {}, {}, {}});
    }

    std::vector<Occurrence> step(Instant now) {
        std::vector<Occurrence> claims;
        const std::vector<Event> said_before = std::exchange(events, {});
        for (const Command& command : scheduler.step(now, said_before)) {
            if (const auto* claim = std::get_if<ClaimRun>(&command)) {
                claims.push_back(claim->occurrence);
                events.push_back(RunClaimed{claim->occurrence, RunId{next_run++}});
            } else if (const auto* start = std::get_if<StartRun>(&command)) {
                events.push_back(RunEnded{start->run, RunOutcome::succeeded, false});
            }
        }
        return claims;
    }

    Scheduler scheduler{[] { return 0.5; }};
    std::vector<Event> events;
    std::int64_t next_run = 1;
};

TEST(SchedulerPortions, VeryManyJobsAfterADay) {
    constexpr std::size_t kJobs = 12000;
    const Job model = every_minute(0);
    std::vector<Event> jobs;
    for (int id = 1; id <= static_cast<int>(kJobs); ++id) {
        Job job = model;
        job.id = JobId{id};
        jobs.push_back(JobLoaded{std::move(job)});
    }
    const Instant now = kDay + 24h + 30s;
    Life life(jobs, kDay);
    std::vector<Occurrence> claims;
    while (claims.empty()) claims = life.step(now);  // until all have been judged
    // The latest thousand of each job. A minute is never cut in two.
    for (int minute = 0; minute < 3; ++minute) {
        if (minute > 0) claims = life.step(now);
        const Instant at = kDay + 24h - 999min + 1min * minute;
        ASSERT_EQ(claims.size(), kJobs);
        for (const Occurrence& claim : claims) ASSERT_EQ(claim.scheduled_at, at);
        EXPECT_EQ(life.scheduler.planned_until(), at);
        EXPECT_TRUE(life.scheduler.is_behind());
        EXPECT_LE(life.scheduler.next_wake(), now);
    }
}

TEST(SchedulerPortions, NothingIsCollectedWhileTooManyClaimsAreUnanswered) {
    std::vector<Event> events;
    for (int id = 1; id <= 1200; ++id) events.push_back(JobLoaded{every_minute(id)});
    events.push_back(Started{kDay, {}, {}, {}});
    Scheduler scheduler([] { return 0.5; });
    const Instant now = kDay + 24h + 30s;
    std::vector<Occurrence> unanswered;
    std::size_t claims = 1;
    while (claims > 0 || scheduler.planned_until() == kDay) {
        claims = 0;
        for (const Command& command : scheduler.step(now, std::exchange(events, {}))) {
            const auto* claim = std::get_if<ClaimRun>(&command);
            if (claim == nullptr) continue;
            ++claims;
            unanswered.push_back(claim->occurrence);
        }
        ASSERT_LT(claims, kPortion + 1200);
        ASSERT_LT(unanswered.size(), 1000000u + kPortion);
    }
    EXPECT_TRUE(scheduler.is_behind());
    EXPECT_EQ(scheduler.next_wake(), kNever) << "it is the answers that it waits for";
    events.push_back(RunRefused{unanswered.front()});
    for (std::size_t i = 1; i < kPortion; ++i) events.push_back(RunRefused{unanswered[i]});
    EXPECT_FALSE(scheduler.step(now, events).empty());
}

// What was claimed in an earlier life has a row, and is not claimed again; all else is, once, and
// in order; whatever is not logged has no row and is not claimed again after planned_until.
TEST(SchedulerPortions, EachOccurrenceIsClaimedOnceWhenAnyStepIsTheLast) {
    std::vector<Event> jobs;
    constexpr int kJobs = 60;
    for (int id = 1; id <= kJobs; ++id) jobs.push_back(JobLoaded{every_minute(id)});
    std::map<JobId, Instant> latest;
    std::size_t claimed = 0;
    std::size_t lives = 0;
    Instant planned_until = kDay + 8h;
    const Instant now = kDay + 24h + 30s;
    for (bool is_behind = true; is_behind; ++lives) {
        Life life(jobs, planned_until);
        // Two steps of each life are carried out, and the third is not.
        for (int step = 0; step < 2; ++step) {
            for (const Occurrence& claim : life.step(now)) {
                ASSERT_GT(claim.scheduled_at, planned_until);
                const auto [place, fresh] = latest.try_emplace(claim.job, claim.scheduled_at);
                ASSERT_TRUE(fresh || claim.scheduled_at == place->second + 1min);
                place->second = claim.scheduled_at;
                EXPECT_EQ(claim.trigger, RunTrigger::catchup);
                ++claimed;
            }
            ASSERT_LE(planned_until, life.scheduler.planned_until());
            planned_until = life.scheduler.planned_until();
            is_behind = life.scheduler.is_behind();
        }
        (void)life.step(now);
    }
    EXPECT_EQ(claimed, static_cast<std::size_t>(kJobs) * 16 * 60);
    EXPECT_GT(lives, 2u);
    EXPECT_EQ(planned_until, now);
}

// Jobs that make up for the last ten minutes, while what they have missed is judged.
struct Judgement {
    static constexpr int kJobs = 600;

    static Job job(int id) {
        Job made = every_minute(id);
        made.catchup_window = 10min;
        made.overlap = OverlapPolicy::allow;
        return made;
    }
    static std::vector<Event> jobs() {
        std::vector<Event> made;
        for (int id = 1; id <= kJobs; ++id) made.push_back(JobLoaded{job(id)});
        return made;
    }

    // Judges all in portions, before anything is claimed. `meanwhile` happens after the first one.
    // Until all are, planned_until stays as it was.
    void run(std::vector<Event> meanwhile, Instant planned_until, const char* why) {
        for (; steps == 0 || life.scheduler.is_behind(); ++steps, now += 40s) {
            if (steps > 0) {
                ASSERT_LE(life.scheduler.next_wake(), now) << "it must not sleep";
            }
            if (steps == 1) life.events = std::move(meanwhile);
            const std::vector<Event> events = std::exchange(life.events, {});
            for (const Command& command : life.scheduler.step(now, events)) {
                if (const auto* skip = std::get_if<RecordSkip>(&command)) {
                    ASSERT_TRUE(skips.emplace(skip->occurrence.job, skip->count).second);
                    EXPECT_EQ(skip->reason, why);
                } else if (const auto* claim = std::get_if<ClaimRun>(&command)) {
                    claimed[claim->occurrence.job].push_back(claim->occurrence);
                }
            }
            EXPECT_TRUE(claimed.empty() || !life.scheduler.is_behind());
            if (life.scheduler.is_behind()) {
                EXPECT_EQ(life.scheduler.planned_until(), planned_until);
            }
        }
        EXPECT_GE(steps, 4u);
        EXPECT_EQ(life.scheduler.planned_until(), now - 40s);
    }

    // What is in the window, and what fell due meanwhile, which was not missed.
    void expect_of(int id, std::size_t made_up_for) {
        const auto later = static_cast<std::size_t>((now - 40s - kDay - 24h) / 1min);
        const std::vector<Occurrence>& claims = claimed[JobId{id}];
        EXPECT_EQ(skips[JobId{id}], 24 * 60 - 10);
        ASSERT_EQ(claims.size(), 10 + later);
        for (std::size_t i = 0; i < claims.size(); ++i) {
            EXPECT_EQ(claims[i].trigger,
                      i < made_up_for ? RunTrigger::catchup : RunTrigger::schedule);
        }
    }

    Life life{jobs(), kDay};
    Instant now = kDay + 24h + 30s;
    std::map<JobId, std::int64_t> skips;
    std::map<JobId, std::vector<Occurrence>> claimed;
    std::size_t steps = 0;
};

// What each of very many jobs has missed is judged in portions, too, and nothing is claimed before.
TEST(SchedulerPortions, MissedOccurrencesAreJudgedInPortions) {
    Judgement all;
    Job fresh = Judgement::job(Judgement::kJobs + 1);
    fresh.planned_from = all.now + 40s;
    all.run({JobRemoved{JobId{1}}, JobLoaded{fresh}, ManualRun{RunId{1000000}, JobId{3}, all.now}},
            kDay, reasons::kSchedulerAway);
    EXPECT_EQ(all.claimed.count(JobId{1}), 0u);
    EXPECT_EQ(all.skips.size(), static_cast<std::size_t>(Judgement::kJobs));  // not the new one
    for (const int id : {2, 3, Judgement::kJobs}) all.expect_of(id, 10);
}

// What the clock has left out is judged likewise.
TEST(SchedulerPortions, WhatTheClockHasLeftOutIsJudgedInPortions) {
    Judgement all;
    const Instant before = kDay + 30s;
    EXPECT_TRUE(all.life.step(before).empty());
    Job paused = Judgement::job(4);
    paused.active = false;
    all.run({JobRemoved{JobId{1}}, JobLoaded{Judgement::job(2)}, JobLoaded{paused}}, before,
            reasons::kClockStep);
    EXPECT_EQ(all.claimed.count(JobId{1}), 0u);
    EXPECT_EQ(all.claimed.count(JobId{4}), 0u);
    for (const int id : {2, 3, Judgement::kJobs}) all.expect_of(id, 9);
}

// A job that is removed meanwhile, with an occurrence that waits for the others to be judged.
TEST(SchedulerPortions, AJobThatRunsAtTheStartIsRemovedBeforeAllAreJudged) {
    std::vector<Event> events;
    events.push_back(JobLoaded{make_job(1, "@reboot")});
    events.push_back(JobLoaded{make_job(2, "@reboot")});
    for (int id = 3; id <= 500; ++id) {
        Job job = every_minute(id);
        job.catchup_window = 1min;
        events.push_back(JobLoaded{job});
    }
    events.push_back(Started{kDay, kDay + 24h, {}, {}});
    Life life({}, kDay);
    life.events = std::move(events);
    const Instant now = kDay + 24h + 30s;
    EXPECT_TRUE(life.step(now).empty());
    ASSERT_TRUE(life.scheduler.is_behind());
    life.events.push_back(JobRemoved{JobId{1}});
    std::map<JobId, int> claimed;
    while (life.scheduler.is_behind()) {
        for (const Occurrence& claim : life.step(now)) ++claimed[claim.job];
    }
    EXPECT_EQ(claimed.count(JobId{1}), 0u);
    EXPECT_EQ(claimed[JobId{2}], 1);
}

// Runs that a crash interrupted take their turn among those that were missed.
TEST(SchedulerPortions, InterruptedRunsComeInTheirOrder) {
    std::vector<Event> events;
    constexpr int kJobs = 40;
    for (int id = 1; id <= kJobs; ++id) events.push_back(JobLoaded{every_minute(id)});
    const Instant planned_until = kDay + 12h;
    Started started{planned_until, {}, {}, {}};
    const std::set<Instant> interrupted = {planned_until - 10min, planned_until - 9min,
                                           planned_until + 400min};
    for (const Instant at : interrupted) {
        started.interrupted.push_back({{JobId{7}, at, 1, RunTrigger::schedule}, true});
    }
    events.push_back(started);
    Life life({}, planned_until);
    life.events = events;
    const Instant now = kDay + 24h + 30s;
    std::vector<Occurrence> claims;
    do {
        for (const Occurrence& claim : life.step(now)) {
            if (claim.job == JobId{7}) claims.push_back(claim);
        }
        // It does not go back: what has no row is claimed up to here.
        EXPECT_GE(life.scheduler.planned_until(), planned_until);
    } while (life.scheduler.is_behind());
    ASSERT_EQ(claims.size(), 2u + 12 * 60);
    for (std::size_t i = 0; i < claims.size(); ++i) {
        if (i > 0) {
            ASSERT_LT(claims[i - 1].scheduled_at, claims[i].scheduled_at);
        }
        EXPECT_EQ(claims[i].attempt, interrupted.contains(claims[i].scheduled_at) ? 2 : 1);
    }
}

// What falls due while the scheduler is behind was not missed, and comes after what was.
TEST(SchedulerPortions, WhatFallsDueMeanwhileWaitsForItsTurn) {
    std::vector<Event> events;
    for (int id = 1; id <= 50; ++id) events.push_back(JobLoaded{every_minute(id)});
    Job skips = make_job(51, "* * * * *");
    skips.missed = MissedPolicy::skip;
    skips.after.push_back({JobId{50}, DependencyCondition::finished});
    events.push_back(JobLoaded{skips});
    Life life(events, kDay + 8h);
    Instant now = kDay + 24h + 30s;
    std::vector<Occurrence> all;
    std::vector<Occurrence> skipping;
    do {
        for (const Occurrence& claim : life.step(now)) {
            ASSERT_TRUE(all.empty() || all.back().scheduled_at <= claim.scheduled_at);
            all.push_back(claim);
            if (claim.job == JobId{51}) skipping.push_back(claim);
        }
        now += 50s;
        ASSERT_LT(now, kDay + 25h);
    } while (life.scheduler.is_behind());
    ASSERT_FALSE(skipping.empty());
    for (const Occurrence& claim : skipping) {
        EXPECT_GT(claim.scheduled_at, kDay + 24h);
        EXPECT_EQ(claim.trigger, RunTrigger::schedule);
    }
    EXPECT_EQ(life.scheduler.planned_until(), now - 50s);
}

// A job is loaded again, paused, resumed or removed while it is made up for.
TEST(SchedulerPortions, AJobThatChangesMeanwhile) {
    std::vector<Event> jobs;
    for (int id = 1; id <= 50; ++id) jobs.push_back(JobLoaded{every_minute(id)});
    std::get<JobLoaded>(jobs[2]).job.catchup_window = 10min;
    const Instant now = kDay + 24h + 30s;
    Life life(jobs, kDay + 8h);
    std::map<JobId, std::set<Instant>> claimed;
    for (int step = 1; step == 1 || life.scheduler.is_behind(); ++step) {
        if (step == 2) {
            for (const Event& job : jobs) life.events.push_back(job);
            life.events.push_back(JobRemoved{JobId{1}});
            Job paused = every_minute(2);
            paused.active = false;
            life.events.push_back(JobLoaded{paused});
        }
        if (step == 3) life.events.push_back(JobLoaded{every_minute(2)});
        for (const Occurrence& claim : life.step(now)) {
            ASSERT_TRUE(claimed[claim.job].insert(claim.scheduled_at).second);
            EXPECT_FALSE(step > 1 && claim.job == JobId{1});
            EXPECT_FALSE(step == 2 && claim.job == JobId{2});
        }
    }
    EXPECT_EQ(claimed[JobId{3}].size(), 10u) << "only those of its window";
    EXPECT_EQ(*claimed[JobId{3}].begin(), kDay + 24h - 9min);
    EXPECT_LT(claimed[JobId{2}].size(), 960u);
    for (int id = 4; id <= 50; ++id) EXPECT_EQ(claimed[JobId{id}].size(), 960u);
}

TEST(SchedulerPortions, TheClockGoesForwardByADay) {
    std::vector<Event> events;
    for (int id = 1; id <= 60; ++id) events.push_back(JobLoaded{every_minute(id)});
    Life life(events, kDay);
    EXPECT_TRUE(life.step(kDay + 30s).empty());
    const Instant now = kDay + 16h + 30s;
    std::map<JobId, Instant> latest;
    std::size_t steps = 0;
    do {
        const std::vector<Occurrence> claims = life.step(now);
        ASSERT_LT(claims.size(), kPortion + 60);
        for (const Occurrence& claim : claims) {
            const auto [place, fresh] = latest.try_emplace(claim.job, kDay);
            ASSERT_EQ(claim.scheduled_at, place->second + 1min);
            place->second = claim.scheduled_at;
        }
        ++steps;
    } while (life.scheduler.is_behind());
    EXPECT_GE(steps, 5u);
    EXPECT_EQ(latest.size(), 60u);
    // The last one was not missed: it is skipped while the others wait.
    for (const auto& [job, at] : latest) EXPECT_EQ(at, kDay + 16h - 1min);
    EXPECT_EQ(life.scheduler.planned_until(), now);
}

}  // namespace
}  // namespace securatlas::core::test
