// The state of the scheduler's state machine. Private to src/core/cron/scheduler*.cpp.
//
// The states of a run; only Scheduler::State::move() changes them:
//
//     planned -> claiming -> waiting -> running -> cancelling
//                   |           |          |           |
//                   v           v          v           v
//                 ended   skipped/ended  ended       ended
//
// A manual run enters at `waiting`, an adopted one at `running`.
//
// A run waits only for runs with a smaller sequence number: earlier runs of its own job, and runs
// of other jobs that were added before it. So runs can never wait for each other in a cycle,
// whatever the dependencies of the jobs are.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "securatlas/core/cron/run_policy.hpp"
#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/core/cron/timer_queue.hpp"

namespace securatlas::core {

// An occurrence that is older than this when the scheduler sees it was missed. It is also the
// longest time for which the process sleeps.
inline constexpr Duration kMissedAfter = std::chrono::minutes(1);

// If the clock goes back by no more than this, it is being adjusted and was not set.
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

// Why a claimed run does not start yet; `failed`: a dependency has failed, so that it never will.
enum class WaitCause : std::uint8_t { none, previous, dependency, jitter, retry, failed };

struct WaitReason {
    WaitCause cause = WaitCause::none;
    JobId other{};  // of `dependency` and `failed`
    friend bool operator==(const WaitReason&, const WaitReason&) = default;
};

struct ActiveRun {
    Occurrence occurrence;
    RunId id{};  // from `waiting` on
    std::uint64_t sequence = 0;
    Instant since = kLongAgo;       // it waits for other jobs' occurrences in (since, scheduled_at]
    Instant not_before = kLongAgo;  // earliest start, by jitter or retry
    WaitReason shown_wait{};        // what the row says that it waits for
    RunState state = RunState::planned;
    bool manual = false;         // requested by a user, or a retry of such a run
    bool replaces = false;       // `cancel_other`: cancels the runs before it once it is claimed
    const char* doom = nullptr;  // while claiming: skip it for this reason once it is claimed
};

// What is a job's own. A million jobs are kept in memory, each with these and with shared rules;
// the members are in an order without gaps.
struct OwnFacts {
    JobId id{};
    std::string name;
    Instant planned_from;
    OwnerId owner{};
    int consecutive_failures = 0;
    bool active = true;
};

struct JobState : TimerNode {
    bool gone = false;         // removed, but some of its runs have not ended
    bool dirty = false;        // in State::dirty
    bool last_failed = false;  // the last occurrence that finished did not succeed
    bool begun = false;        // false: State::begin() is still to come
    OwnFacts job;
    std::shared_ptr<const JobRules> rules;  // never null in State::jobs
    Instant next = kNever;                  // the next planned occurrence; see also State::repeats
    Instant settled_until = kLongAgo;       // occurrences up to here were missed and will not run
    Instant missed_until = kLongAgo;        // occurrences up to here were missed
    Instant last_due = kLongAgo;            // the latest occurrence that was due
    Instant last_finished = kLongAgo;       // the last occurrence that finished
    std::vector<ActiveRun> runs;            // unfinished runs, in the order in which they run
};

// Rules that some job has, each once.
class RulesPool {
  public:
    std::shared_ptr<const JobRules> share(const JobRules& rules);

  private:
    using Shared = std::shared_ptr<const JobRules>;
    static const JobRules& rules_of(const JobRules& rules) { return rules; }
    static const JobRules& rules_of(const Shared& shared) { return *shared; }
    struct Hash {
        using is_transparent = void;
        std::size_t operator()(const auto& rules) const { return hash(rules_of(rules)); }
    };
    struct Equal {
        using is_transparent = void;
        bool operator()(const auto& a, const auto& b) const { return rules_of(a) == rules_of(b); }
    };
    static std::size_t hash(const JobRules& rules);

    std::unordered_set<Shared, Hash, Equal> pool_;
    std::size_t sweep_at_ = 1024;
};

// An occurrence that is due in this step.
struct Due {
    JobState* job;
    Occurrence occurrence;
    bool manual = false;
    bool keep = false;  // it waits even where the overlap policy would skip it
    Instant not_before = kLongAgo;
};

// A step collects occurrences in the order of their instants. After so many it stops, but never
// between those of one instant: what is left is for the next step.
inline constexpr std::size_t kMaxDueInStep = 10000;

// Nothing is collected while so many claims are unanswered, which bounds the memory that they use.
inline constexpr std::size_t kMaxClaiming = 1000000;

// Missed occurrences are judged job by job, in steps that look at so many occurrences, which takes
// some twenty milliseconds.
inline constexpr std::size_t kMaxLookedAtInStep = 200000;

// What a job was before it is planned the first time.
struct Former {
    std::optional<Instant> planned_until;  // what it has missed since then
    std::optional<Instant> server_start;   // see Started
    const char* why = "";                  // it was missed
    std::vector<AdoptedRun> adopted = {};
    std::vector<InterruptedRun> interrupted = {};
    std::vector<FailedRun> failed = {};
    std::vector<RunEnded> ended = {};  // adopted ones, while the job was not loaded
};

struct Scheduler::State {
    explicit State(Random source) : random(std::move(source)) {}

    // ---- events: scheduler.cpp
    void forget_dependencies(const JobState& job);
    void handle(const JobLoaded& event);
    void handle(const JobUnreadable& event);
    void handle(const JobRemoved& event);
    void handle(const Started& event);
    void handle(const ManualRun& event);
    void handle(const RunClaimed& event);
    void handle(const RunRefused& event);
    void handle(const RunEnded& event);
    void succeeded(JobState& job, const ActiveRun& run);
    void failed(JobState& job, ActiveRun& run, bool retryable);
    void pause(JobState& job, RunId last_failed);

    // ---- planning: scheduler_plan.cpp
    void clock_set_back();
    Instant first_unplanned(const JobState& job) const;
    void plan(JobState& job, Instant after);
    Instant first_due(const JobState& job) const;
    // False: some jobs whose occurrences were missed, because the clock went forward, are left for
    // the next step.
    bool judge_late();
    bool judge_late(JobState& job);
    void collect_due();
    void collect_due(JobState& job, Instant at);
    // Which of the occurrences in (from, until] run. They become due like others, in their order.
    void collect_missed(JobState& job, Instant from, Instant until,
                        std::vector<MissedOccurrence> interrupted, const char* why);
    // What earlier scheduler processes have left: adopted, interrupted and failed runs, missed
    // occurrences. False: some is left for the next step.
    bool begin_jobs();
    void begin(JobState& job, const Former& before);
    void adopt(JobState& job, const AdoptedRun& adopted);
    void collect_unfinished(JobState& job, const Former& before, bool rebooted);
    std::optional<MissedOccurrence> again(JobState& job, const InterruptedRun& run);
    std::optional<MissedOccurrence> again(JobState& job, const FailedRun& run);
    void decide_due();
    void decide(const Due& due);

    // ---- runs: scheduler_runs.cpp
    void move(JobState& job, ActiveRun& run, RunState to, std::string reason = {});
    ActiveRun& add_run(JobState& job, const Occurrence& occurrence);
    void claim(JobState& job, ActiveRun& run);
    WaitReason wait_reason(const JobState& job, const ActiveRun& run) const;
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

    std::vector<JobId> job_ids() const;
    JobState* find(JobId id);
    const JobState* find(JobId id) const;
    std::pair<JobState*, ActiveRun*> find_run(RunId id);

    Random random;
    bool started = false;
    Instant now = kLongAgo;  // of the current step, else of the last one
    Instant last_step = kLongAgo;
    Instant planned_until = kLongAgo;  // all occurrences up to here are decided
    Instant seen_at = kLongAgo;        // when the scheduler first saw what is due now
    bool behind = false;               // the last step left some of that
    std::size_t claiming = 0;          // number of runs in this state
    std::size_t countable = 0;         // missed occurrences that may still be counted
    std::size_t looked_at = 0;         // in this step, of those that were perhaps missed
    std::uint64_t next_sequence = 1;
    std::size_t present = 0;  // jobs that are not gone
    std::unordered_map<JobId, JobState> jobs;
    std::vector<JobId> to_begin;               // the first ones last
    Former at_start;                           // of jobs that are not in `former`
    std::unordered_map<JobId, Former> former;  // of jobs that have not begun, or are unreadable
    std::vector<JobId> to_judge;               // see judge_late()
    Instant listed_at = kLongAgo;              // the seen_at for which they were listed
    RulesPool pool;
    std::set<std::pair<JobId, JobId>> dependents;  // (job, job that runs after it)
    std::unordered_map<RunId, JobId> owners;       // of runs that have an id
    TimerQueue<JobState> timers;
    // Interrupted runs that run again, latest first, until they are due in their turn.
    std::unordered_map<JobId, std::vector<MissedOccurrence>> repeats;
    std::vector<Due> due;
    std::vector<JobId> dirty;
    std::vector<Command> commands;
};

// Sorts by time; within one instant a job comes after the jobs that it runs after.
void order_due(std::vector<Due>& due);

// The job's first occurrence after `after`; kNever if there is none.
Instant next_after(const JobState& job, Instant after);

bool is_once(const JobRules& rules);    // "@at"
bool is_reboot(const JobRules& rules);  // "@reboot"

// True for runs that were handed out and have not ended.
constexpr bool is_under_way(RunState state) {
    return state == RunState::running || state == RunState::cancelling;
}

constexpr bool is_over(RunState state) {
    return state == RunState::skipped || state == RunState::ended;
}

}  // namespace securatlas::core
