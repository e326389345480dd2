// What the scheduler's state machine remembers. Private to src/core/scheduler*.cpp.
//
// A run's states, and who moves it (Scheduler::State::move, and nobody else):
//
//     planned -> claiming -> waiting -> running -> cancelling
//                   |           |          |           |
//                   v           v          v           v
//                 ended   skipped/ended  ended       ended
//
// A manual run enters at `waiting`, an adopted one at `running`.
//
// Everything a run may wait for has a smaller sequence number than the run: it waits for runs of
// its own job ahead of it, and for runs of other jobs that were there before it. So no two runs can
// wait for each other, whatever the jobs' dependencies say.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "securatlas/core/cron/run_policy.hpp"
#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/core/cron/timer_queue.hpp"

namespace securatlas::core {

// Occurrences that are older than this when the scheduler sees them were missed. It is the longest
// that the process around it sleeps.
inline constexpr Duration kMissedAfter = std::chrono::minutes(1);

// A clock that goes back by no more than this is one that is being adjusted.
inline constexpr Duration kClockTolerance = std::chrono::seconds(1);

enum class RunState : std::uint8_t {
    planned,
    claiming,
    waiting,
    running,
    cancelling,
    skipped,
    ended
};

// Why a claimed run does not start. `failed` is final: it will not.
enum class Hold : std::uint8_t { none, previous, dependency, jitter, retry, failed };

struct WaitReason {
    Hold hold = Hold::none;
    JobId other{};  // of `dependency` and `failed`
    friend bool operator==(const WaitReason&, const WaitReason&) = default;
};

struct ActiveRun {
    Occurrence occurrence;
    RunId id{};  // from `waiting` on
    std::uint64_t sequence = 0;
    Instant since = kLongAgo;       // other jobs' occurrences in (since, scheduled_at] hold it
    Instant not_before = kLongAgo;  // jitter's or the retry's time
    WaitReason told{};              // what the row says that it waits for
    RunState state = RunState::planned;
    bool manual = false;         // asked for by a user, or the retry of such a run
    bool replaces = false;       // `cancel_other`: ends the runs before it once it is claimed
    const char* doom = nullptr;  // of a claiming one: skip it for this reason once it is claimed
};

struct JobState : TimerNode {
    Job job;
    Instant next = kNever;             // the next planned occurrence
    Instant last_due = kLongAgo;       // the latest occurrence that was due
    Instant last_finished = kLongAgo;  // the occurrence that finished last
    bool last_failed = false;          // it did not succeed
    bool gone = false;                 // removed, but runs are under way
    bool dirty = false;                // in State::dirty
    std::vector<ActiveRun> runs;       // not finished ones, in the order in which they run
};

// An occurrence that the step has to decide about.
struct Due {
    JobState* job;
    Occurrence occurrence;
    bool manual = false;
    bool keep = false;  // it waits even if the overlap policy would skip it
    Instant not_before = kLongAgo;
};

// Of one job, at the scheduler's start.
struct Unfinished {
    std::vector<InterruptedRun> interrupted;
    std::vector<FailedRun> failed;
};

struct Scheduler::State {
    explicit State(Random source) : random(std::move(source)) {}

    // ---- events: scheduler.cpp
    void take(const JobLoaded& event);
    void take(const JobRemoved& event);
    void take(const Started& event);
    void take(const ManualRun& event);
    void take(const RunClaimed& event);
    void take(const RunRefused& event);
    void take(const RunEnded& event);
    void succeeded(JobState& job, const ActiveRun& run);
    void failed(JobState& job, ActiveRun& run, bool retryable);
    void pause(JobState& job, RunId last_failed);

    // ---- planning: scheduler_plan.cpp
    void clock_set_back();
    Instant first_unplanned(const JobState& job) const;
    void plan(JobState& job, Instant after);
    void collect_due();
    void collect_due(JobState& job);
    void collect_missed(JobState& job, Instant from, Instant until,
                        std::vector<MissedOccurrence> interrupted, const char* why);
    // What is left of a former life: interrupted runs, failed ones, missed occurrences.
    void collect_unfinished(JobState& job, const Unfinished& runs,
                            std::optional<Instant> planned_until, bool rebooted);
    std::optional<MissedOccurrence> again(JobState& job, const InterruptedRun& run);
    std::optional<MissedOccurrence> again(JobState& job, const FailedRun& run);
    void decide_due();
    void decide(const Due& due);

    // ---- runs: scheduler_runs.cpp
    void move(JobState& job, ActiveRun& run, RunState to, std::string reason = {});
    ActiveRun& add_run(JobState& job, const Occurrence& occurrence);
    void claim(JobState& job, ActiveRun& run);
    WaitReason hold_of(const JobState& job, const ActiveRun& run) const;
    WaitReason dependency_of(const JobState& job, const ActiveRun& run) const;
    std::string text_of(const WaitReason& reason, const ActiveRun& run) const;
    void skip_waiting(JobState& job, const char* reason, bool manual_too);
    void replace_others(JobState& job, const ActiveRun& replacement);
    void finish(JobState& job, Instant scheduled_at, bool success);
    void mark(JobState& job);
    void mark_dependents(JobId job);
    void settle();
    void settle(JobState& job);
    void advance(JobState& job, ActiveRun& run);
    void set_timer(JobState& job);

    JobState* find(JobId id);
    const JobState* find(JobId id) const;
    std::pair<JobState*, ActiveRun*> find_run(RunId id);

    Random random;
    bool started = false;
    Instant now = kLongAgo;  // of the step under way, else of the last one
    Instant last_step = kLongAgo;
    std::size_t countable = 0;  // missed occurrences that this step may still count
    std::uint64_t next_sequence = 1;
    std::size_t present = 0;  // jobs that are not gone
    std::unordered_map<JobId, JobState> jobs;
    std::set<std::pair<JobId, JobId>> dependents;  // (job, one that runs after it)
    std::unordered_map<RunId, JobId> owners;       // of runs that have an id
    TimerQueue<JobState> timers;
    std::vector<Due> due;
    std::vector<JobId> dirty;
    std::vector<Command> commands;
};

// Sorts by time; of those due at one instant, a job comes after the jobs that it runs after.
void order_due(std::vector<Due>& due);

// The job's first occurrence after `after`; kNever if there is none.
Instant next_after(const Job& job, Instant after);

bool is_once(const Job& job);    // "@at"
bool is_reboot(const Job& job);  // "@reboot"

// True for runs that are handed out and have not ended.
constexpr bool is_under_way(RunState state) {
    return state == RunState::running || state == RunState::cancelling;
}

constexpr bool is_over(RunState state) {
    return state == RunState::skipped || state == RunState::ended;
}

}  // namespace securatlas::core
