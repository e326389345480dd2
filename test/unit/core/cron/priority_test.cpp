// Priorities: what comes first among the runs of a role, how waiting makes up for priority, and
// what priorities leave as it is: limits, the turns of roles, and the order of a job's own runs.
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>
#include <vector>

#include "scheduler_simulator.hpp"
#include "securatlas/core/cron/ready_queues.hpp"
#include "securatlas/core/cron/run_policy.hpp"
#include "securatlas/core/cron/slot_share.hpp"
#include "securatlas/core/cron/turns.hpp"

namespace securatlas::core::test {
namespace {

using namespace std::chrono_literals;

Job job_of(int id, int priority, const std::string& schedule, OwnerId owner = OwnerId{1}) {
    Job job = make_job(id, schedule);
    job.priority = priority;
    job.owner = owner;
    return job;
}

// A scheduler's process with few workers: claims in turns, workers by rank within a role, the share
// and the limit of a role. Time goes on in steps of a second, and each run takes `takes`.
class Office {
  public:
    int workers = 1;
    int limit = 0;  // of each role; 0: none
    std::size_t claims_at_once = 200;
    Duration takes = 1s;
    Instant now = kDay;
    std::vector<Occurrence> claimed;  // in this order
    std::vector<Occurrence> started;
    std::map<std::pair<JobId, Instant>, Instant> started_at;
    std::map<OwnerId, int> most;  // runs of a role at the same time

    void load(const Job& job) {
        owner_of_[job.id] = job.owner;
        step({JobLoaded{job}});
    }
    void start() { step({Started{now, {}, {}, {}}}); }

    void run_until(Instant until) {
        while (now < until) {
            now += 1s;
            std::vector<Event> events;
            std::erase_if(busy_, [&](const Busy& run) {
                if (run.until > now) return false;
                events.push_back(RunEnded{run.run, RunOutcome::succeeded, true});
                return true;
            });
            step(std::move(events));
        }
    }

    RunId ask(JobId job) {
        const RunId run{++last_run_};
        occurrences_[run] = {.job = job, .scheduled_at = now, .trigger = RunTrigger::manual};
        step({ManualRun{run, job, now}});
        return run;
    }

    std::size_t waiting() const { return claims_.size() + ready_.size(); }

  private:
    struct Busy {
        RunId run;
        OwnerId owner;
        Instant until;
    };

    void step(std::vector<Event> events) {
        do {
            for (const Command& command : machine_.step(now, events)) {
                if (const auto* claim = std::get_if<ClaimRun>(&command)) {
                    claims_.push(claim->owner, claim->rank, *claim);
                } else if (const auto* start = std::get_if<StartRun>(&command)) {
                    ready_.insert(owner_of_.at(start->job),
                                  {start->rank, start->scheduled_at, start->run});
                }
            }
            events.clear();
            const auto portion = decltype(claims_)::Walk(claims_).next(claims_at_once);
            claims_.remove_first(portion.size());
            for (const ClaimRun& claim : portion) {
                const RunId run{++last_run_};
                occurrences_[run] = claim.occurrence;
                claimed.push_back(claim.occurrence);
                events.push_back(RunClaimed{claim.occurrence, run});
            }
        } while (!events.empty() || machine_.is_behind());
        hand_out();
    }

    void hand_out() {
        std::set<OwnerId> passed;
        while (const RunId* first = ready_.first(passed)) {
            const RunId run = *first;
            const Occurrence& occurrence = occurrences_.at(run);
            const OwnerId owner = owner_of_.at(occurrence.job);
            const int used = static_cast<int>(
                std::ranges::count_if(busy_, [&](const Busy& one) { return one.owner == owner; }));
            const int free = workers - static_cast<int>(busy_.size());
            const bool may = free > 0 && may_have_slot(used, free) && (limit == 0 || used < limit);
            if (!may) {
                passed.insert(owner);
                continue;
            }
            ready_.erase(owner,
                         *std::ranges::find_if(ready_.queues().at(owner),
                                               [&](const auto& key) { return key.item == run; }));
            busy_.push_back({run, owner, now + takes});
            most[owner] = std::max(most[owner], used + 1);
            started.push_back(occurrence);
            started_at[{occurrence.job, occurrence.scheduled_at}] = now;
        }
    }

    Scheduler machine_{[] { return 0.5; }};
    Turns<OwnerId, Instant, ClaimRun> claims_;
    ReadyQueues<OwnerId, RunId> ready_;
    std::vector<Busy> busy_;
    std::map<JobId, OwnerId> owner_of_;
    std::map<RunId, Occurrence> occurrences_;
    std::int64_t last_run_ = 0;
};

std::vector<int> jobs_of(const std::vector<Occurrence>& occurrences) {
    std::vector<int> jobs;
    for (const Occurrence& one : occurrences) jobs.push_back(static_cast<int>(one.job));
    return jobs;
}

// ---- the formula ---------------------------------------------------------------------------

TEST(PriorityRank, TenSecondsForEachPoint) {
    EXPECT_EQ(rank_of(kDay, 0), kDay);
    EXPECT_EQ(rank_of(kDay, 7), kDay - 70s);
    EXPECT_EQ(rank_of(kDay, -100), kDay + 1000s);
    EXPECT_LT(rank_of(kDay + 9s, 1), rank_of(kDay, 0));
    EXPECT_LT(rank_of(kDay, 0), rank_of(kDay + 11s, 1));
}

TEST(PriorityRank, GoesWithClaimAndStart) {
    Scheduler machine([] { return 0.5; });
    Job job = job_of(1, 3, "* * * * *");
    job.max_retries = 1;
    job.retry_period = 1s;
    machine.step(kDay, std::vector<Event>{JobLoaded{job}, Started{kDay, {}, {}, {}}});
    const Instant at = kDay + 1min;
    const auto claims = machine.step(at, {});
    const auto& claim = std::get<ClaimRun>(claims.at(0));
    EXPECT_EQ(claim.rank, at - 30s);
    const auto starts =
        machine.step(at, std::vector<Event>{RunClaimed{claim.occurrence, RunId{1}}});
    EXPECT_EQ(std::get<StartRun>(starts.at(0)).rank, at - 30s);
    // A retry has waited since the occurrence, whenever it starts; and it follows the job's change.
    job.priority = -2;
    machine.step(at, std::vector<Event>{JobLoaded{job}});
    const auto retries =
        machine.step(at + 1s, std::vector<Event>{RunEnded{RunId{1}, RunOutcome::failed, true}});
    EXPECT_EQ(std::get<ClaimRun>(retries.at(0)).rank, at + 20s);
}

TEST(PriorityRank, GoesWithManualRuns) {
    Scheduler machine([] { return 0.5; });
    machine.step(kDay, std::vector<Event>{JobLoaded{job_of(1, 100, "0 2 * * *")},
                                          Started{kDay, {}, {}, {}}});
    const auto starts =
        machine.step(kDay + 5s, std::vector<Event>{ManualRun{RunId{4}, JobId{1}, kDay + 5s}});
    EXPECT_EQ(std::get<StartRun>(starts.at(0)).rank, kDay + 5s - 1000s);
}

// ---- the queues ----------------------------------------------------------------------------

using Ready = ReadyQueues<int, int>;

int pop(Ready& ready, const std::set<int>& passed = {}) {
    const int* first = ready.first(passed);
    if (first == nullptr) return -1;
    for (const auto& [target, queue] : ready.queues()) {
        for (const Ready::Key& key : queue) {
            if (key.item != *first) continue;
            const Ready::Key taken = key;
            ready.erase(target, taken);
            return taken.item;
        }
    }
    return -1;
}

TEST(ReadyQueuesTest, ByRankWithinATarget) {
    Ready ready;
    ready.insert(1, {kDay + 5s, kDay + 5s, 1});
    ready.insert(1, {kDay - 5s, kDay + 5s, 2});
    ready.insert(1, {kDay - 5s, kDay + 4s, 3});  // of the same rank, and has waited longer
    ready.insert(1, {kDay - 5s, kDay + 5s, 4});
    ready.insert(1, {kDay - 5s, kDay + 5s, 4});  // again
    EXPECT_EQ(ready.size(), 4U);
    std::vector<int> order;
    while (ready.size() > 0) order.push_back(pop(ready));
    EXPECT_EQ(order, (std::vector<int>{3, 2, 4, 1}));
    EXPECT_EQ(ready.first({}), nullptr);
    EXPECT_EQ(ready.oldest(), std::nullopt);
}

// A role that gives all its jobs the highest priority is not before another one by that.
TEST(ReadyQueuesTest, ByAgeBetweenTargets) {
    Ready ready;
    ready.insert(1, {kDay + 1s - 1000s, kDay + 1s, 11});
    ready.insert(1, {kDay + 2s - 1000s, kDay + 2s, 12});
    ready.insert(2, {kDay, kDay, 20});
    ready.insert(2, {kDay + 1s + 1000s, kDay + 1s, 21});
    EXPECT_EQ(pop(ready), 20);
    EXPECT_EQ(pop(ready), 11);  // of the same age: the smaller item
    EXPECT_EQ(pop(ready), 21);
    EXPECT_EQ(pop(ready), 12);
}

TEST(ReadyQueuesTest, PassesTargetsThatHaveToWait) {
    Ready ready;
    ready.insert(1, {kDay, kDay, 1});
    ready.insert(2, {kDay + 1s, kDay + 1s, 2});
    EXPECT_EQ(*ready.first({1}), 2);
    EXPECT_EQ(ready.first({1, 2}), nullptr);
}

TEST(ReadyQueuesTest, KnowsWhatHasWaitedLongestWhateverItsRank) {
    Ready ready;
    const Ready::Key old{kDay + 1000s, kDay, 1};
    ready.insert(1, old);
    ready.insert(1, {kDay - 900s, kDay + 100s, 2});
    ready.insert(2, {kDay, kDay, 3});
    EXPECT_EQ(ready.oldest(), kDay);
    ready.erase(2, {kDay, kDay, 3});
    EXPECT_EQ(ready.oldest(), kDay);
    ready.erase(1, old);
    ready.erase(1, old);  // again
    EXPECT_EQ(ready.oldest(), kDay + 100s);
    EXPECT_EQ(ready.size(), 1U);
}

// An urgent run is not behind what waits for the same worker, and nothing else changes its place.
TEST(ReadyQueuesTest, TheQueueOfAWorkerIsInTheSameOrder) {
    struct Queued {
        Instant rank;
        int run;
    };
    std::array<Queued, 6> queue{};
    std::size_t count = 0;
    const auto insert = [&](Duration rank, int run) {
        insert_by_rank(queue.data(), count++, {kDay + rank, run},
                       [](const Queued& queued) { return queued.rank; });
    };
    insert(5s, 1);
    insert(7s, 2);
    insert(5s, 3);
    insert(-30s, 4);
    insert(6s, 5);
    insert(-30s, 6);
    std::vector<int> order;
    for (const Queued& queued : queue) order.push_back(queued.run);
    EXPECT_EQ(order, (std::vector<int>{4, 6, 1, 3, 5, 2}));
}

// ---- all together --------------------------------------------------------------------------

TEST(Priority, HighBeforeLowThatAreDueTogether) {
    Office office;
    office.load(job_of(1, 0, "* * * * *"));
    office.load(job_of(2, -5, "* * * * *"));
    office.load(job_of(3, 100, "* * * * *"));
    office.load(job_of(4, 1, "* * * * *"));
    office.start();
    office.run_until(kDay + 1min + 10s);
    EXPECT_EQ(jobs_of(office.claimed), (std::vector<int>{3, 4, 1, 2}));
    EXPECT_EQ(jobs_of(office.started), (std::vector<int>{3, 4, 1, 2}));
}

TEST(Priority, OfTheFirstPortionOfClaimsToo) {
    Office office;
    office.claims_at_once = 16;
    office.workers = 8;
    for (int id = 1; id <= 900; ++id) office.load(job_of(id, 0, "0 1 * * *"));
    for (int id = 901; id <= 1000; ++id) office.load(job_of(id, 10, "0 1 * * *"));
    office.start();
    office.run_until(kDay + 1h + 200s);
    ASSERT_EQ(office.started.size(), 1000U);
    for (std::size_t i = 0; i < 100; ++i) EXPECT_GT(office.started[i].job, JobId{900});
    for (std::size_t i = 0; i < 100; ++i) EXPECT_GT(office.claimed[i].job, JobId{900});
}

// One worker, and a low run that waits while high ones keep coming: it starts when it is older than
// them by ten seconds a point.
TEST(Priority, WaitingMakesUpForIt) {
    for (const int points : {1, 6, 30}) {
        Office office;
        office.takes = 1s;
        office.load(job_of(1, -points, "0 0 1 1 *"));
        // Enough for the one worker at any time.
        for (int id = 2; id <= 61; ++id) {
            Job job = job_of(id, 0, "* * * * *", OwnerId{1});
            job.overlap = OverlapPolicy::buffer_all;
            office.load(job);
        }
        office.start();
        office.run_until(kDay + 2min);
        const Instant asked = office.now;
        office.ask(JobId{1});
        office.run_until(asked + 10s * points + 5min);
        const auto started = office.started_at.find({JobId{1}, asked});
        ASSERT_NE(started, office.started_at.end()) << points;
        const Instant rank = asked + 10s * points;
        for (const auto& [run, at] : office.started_at) {
            if (run.first == JobId{1}) continue;
            // What was due before its rank has started, and what is due later waits for it.
            EXPECT_EQ(run.second < rank, at < started->second) << points;
        }
        EXPECT_GE(started->second, rank);
        EXPECT_LE(started->second, rank + 62s);
    }
}

TEST(Priority, NothingWaitsForEver) {
    Office office;
    office.workers = 2;
    office.load(job_of(1, -100, "* * * * *"));
    for (int id = 2; id <= 200; ++id) office.load(job_of(id, 100, "* * * * *"));
    office.start();
    // Three times as many are due as the workers can do; those of the highest priority wait in
    // their buffers, or are skipped.
    office.run_until(kDay + 2h);
    EXPECT_TRUE(office.started_at.contains({JobId{1}, kDay + 1min}));
}

TEST(Priority, RolesTakeTurnsWhateverTheirPriorities) {
    Office office;
    office.workers = 8;
    office.claims_at_once = 16;
    for (int id = 1; id <= 1000; ++id) office.load(job_of(id, 100, "0 1 * * *", OwnerId{1}));
    for (int id = 1001; id <= 1010; ++id) office.load(job_of(id, -100, "0 1 * * *", OwnerId{2}));
    office.start();
    office.run_until(kDay + 1h + 20s);
    // In claims one after the other, and of workers it has its share.
    for (std::size_t i = 0; i < 20; ++i) {
        EXPECT_EQ(office.claimed[i].job > JobId{1000}, i % 2 == 1) << i;
    }
    for (int id = 1001; id <= 1010; ++id) {
        EXPECT_TRUE(office.started_at.contains({JobId{id}, kDay + 1h})) << id;
    }
    EXPECT_LE(office.most[OwnerId{1}], 7);
}

TEST(Priority, ARoleKeepsItsLimit) {
    Office office;
    office.workers = 16;
    office.limit = 2;
    for (int id = 1; id <= 50; ++id) office.load(job_of(id, id * 2, "0 1 * * *"));
    office.start();
    office.run_until(kDay + 1h + 60s);
    EXPECT_EQ(office.most[OwnerId{1}], 2);
    ASSERT_EQ(office.started.size(), 50U);
    for (std::size_t i = 0; i < 50; ++i)
        EXPECT_EQ(office.started[i].job, JobId{50 - static_cast<int>(i)});
}

// A job's own runs come one after another, in their order, also when its priority is raised.
TEST(Priority, AJobsOwnRunsKeepTheirOrder) {
    Office office;
    office.takes = 50s;
    Job low = job_of(1, -10, "* * * * *");
    low.overlap = OverlapPolicy::buffer_all;
    Job other = job_of(2, 0, "* * * * *");
    other.overlap = OverlapPolicy::buffer_all;
    office.load(low);
    office.load(other);
    office.start();
    office.run_until(kDay + 4min);
    low.priority = 100;
    office.load(low);
    office.run_until(kDay + 10min);
    std::vector<Instant> own;
    for (const Occurrence& one : office.started) {
        if (one.job == JobId{1}) own.push_back(one.scheduled_at);
    }
    EXPECT_GT(own.size(), 2U);
    EXPECT_TRUE(std::ranges::is_sorted(own));
}

// A high run waits for the low one that it runs after, and others start meanwhile.
TEST(Priority, DoesNotOvertakeWhatItRunsAfter) {
    Office office;
    Job high = job_of(1, 100, "* * * * *");
    high.after = {{JobId{2}, DependencyCondition::finished}};
    office.load(high);
    office.load(job_of(2, -100, "* * * * *"));
    office.load(job_of(3, 0, "* * * * *"));
    office.start();
    office.run_until(kDay + 1min + 10s);
    EXPECT_EQ(jobs_of(office.started), (std::vector<int>{3, 2, 1}));
}

}  // namespace
}  // namespace securatlas::core::test
