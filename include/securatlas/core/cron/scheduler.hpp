// The scheduler as a deterministic state machine: step(now, events) -> commands. It plans the
// occurrences of all jobs and applies the rules of overlap, missed runs, retries, jitter, failures
// and order between jobs. It knows no clock, no database and no worker: the process around it tells
// it what happened (events) and carries out what it decides (commands).
//
// A run's life: ClaimRun -> RunClaimed -> StartRun -> RunEnded. A claim is what makes an occurrence
// safe from being lost or doubled, so that nothing starts before its claim is acknowledged, and a
// run that has to wait (for its job's previous run, for another job, for a retry's time) waits
// claimed. Where runs wait for workers is not the machine's business: StartRun says that a run may
// start.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "securatlas/core/cron/job.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::core {

enum class RunTrigger { schedule, manual, catchup, retry, once };

// One attempt at one instant of one job. (job, scheduled_at, attempt) is unique for all time.
struct Occurrence {
    JobId job{};
    Instant scheduled_at{};
    int attempt = 1;
    RunTrigger trigger = RunTrigger::schedule;
};

// ---- events --------------------------------------------------------------------------------

// The job is new or has changed. Its next run is planned anew; runs under way go on.
struct JobLoaded {
    Job job;
};

// The job is gone. Its waiting runs end as skipped; running ones go on.
struct JobRemoved {
    JobId job;
};

// A run that a former life of the scheduler had claimed and nobody finished. The history shows it
// as failed as soon as the claim of its next attempt is written.
struct InterruptedRun {
    Occurrence occurrence;
    bool transactional;  // true: it left no effects
};

// An attempt that failed in a former life of the scheduler, and of whose retry nothing is written.
// It is one that a retry may mend (see is_retryable), and consecutive_failures counts it.
struct FailedRun {
    Occurrence occurrence;
    Instant ended_at;
};

// A run that was handed to a worker in a former life of the scheduler. RunEnded follows as for
// every run, also if it has ended meanwhile.
struct AdoptedRun {
    RunId run;
    Occurrence occurrence;
    bool is_counted = false;  // the job's consecutive_failures count it already
};

// Planning starts. Comes once, first, together with (after) the JobLoaded of all jobs. Occurrences
// in (planned_until, now] are missed ones; nothing is missed if planned_until is nullopt.
struct Started {
    std::optional<Instant> planned_until;
    std::optional<Instant> server_start;  // set on the first start since the server's own: @reboot
    std::vector<InterruptedRun> interrupted;
    std::vector<AdoptedRun> adopted;
    std::vector<FailedRun> failed = {};
};

// A run that a user asked for; its row exists. It waits for the job's running one (unless overlap
// is `allow`), but is never skipped, and runs for an inactive job too.
struct ManualRun {
    RunId run;
    JobId job;
    Instant scheduled_at;
};

// Answers to ClaimRun, for (job, scheduled_at, attempt).
struct RunClaimed {
    Occurrence occurrence;
    RunId run;
};
struct RunRefused {  // the occurrence has a run already: it does not run again
    Occurrence occurrence;
};

enum class RunOutcome { succeeded, failed, cancelled };

struct RunEnded {
    RunId run;
    RunOutcome outcome;
    bool retryable;  // of a failed run: a retry may mend it (see is_retryable)
};

using Event =
    std::variant<JobLoaded, JobRemoved, Started, ManualRun, RunClaimed, RunRefused, RunEnded>;

// ---- commands ------------------------------------------------------------------------------

// Make the run's row (`starting`, with this reason, empty if it may start at once), then answer
// with RunClaimed or RunRefused.
struct ClaimRun {
    Occurrence occurrence;
    std::string reason;
    OwnerId owner{};  // of the job
};

// Make a row with status `skipped`, for `count` occurrences of which this is the latest.
struct RecordSkip {
    Occurrence occurrence;
    std::string reason;
    std::int64_t count = 1;
};

// The run may start, as soon as a worker is there.
struct StartRun {
    RunId run;
    JobId job;
    Instant scheduled_at;
};

// A claimed run that waits has a new reason to wait.
struct ExplainWait {
    RunId run;
    std::string reason;
};

// A claimed run will not start: its row becomes `skipped`. No RunEnded follows.
struct SkipRun {
    RunId run;
    std::string reason;
};

// Cancel a run that StartRun was given for; RunEnded follows as for every run.
struct CancelRun {
    RunId run;
};

// Make the job inactive, with this note. JobLoaded follows from the change of its row.
struct PauseJob {
    JobId job;
    std::string note;
};

// Delete the job, a one-off that has succeeded. JobRemoved follows from the change of its row.
struct DeleteJob {
    JobId job;
};

using Command = std::variant<ClaimRun, RecordSkip, StartRun, ExplainWait, SkipRun, CancelRun,
                             PauseJob, DeleteJob>;

// ---- the machine ---------------------------------------------------------------------------

// Errors that a retry cannot mend: SQLSTATE classes 42 (syntax, access), 28 (authorization),
// 3D (no such database), 22 (data). Anything that is not five characters can be retried.
bool is_retryable(std::string_view sqlstate);

class Scheduler {
  public:
    // Returns a number in [0, 1); the only source of randomness.
    using Random = std::function<double()>;

    explicit Scheduler(Random random);
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;
    ~Scheduler();

    // Takes what happened, in order, and says what to do, in order. `now` may be earlier than at
    // the last step: the clock was set back, and planning goes on from the new now.
    std::vector<Command> step(Instant now, std::span<const Event> events);

    // When step() has to be called even without an event; kNever if nothing is planned.
    Instant next_wake() const;

    std::size_t job_count() const;

    // The next planned instant of a job, nullopt if there is none.
    std::optional<Instant> next_run(JobId job) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace securatlas::core
