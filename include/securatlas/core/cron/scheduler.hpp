// The scheduler as a deterministic state machine: step(now, events) -> commands. It plans the
// occurrences of all jobs and applies the rules of overlap, missed runs, retries, jitter, failures
// and order between jobs. It knows no clock, no database and no worker: the process around it tells
// it what happened (events) and carries out what it decides (commands).
//
// A run's life: ClaimRun -> RunClaimed -> StartRun -> RunEnded. The claim protects an occurrence
// from being lost or run twice. So nothing starts before its claim is acknowledged, and a run that
// has to wait (for its job's previous run, for another job, for the time of its retry) is claimed
// first and then waits. The machine does not deal with workers: StartRun says that a run may start
// as soon as one is free.
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

// The job is new or has changed. Its next run is planned again; its running runs go on.
struct JobLoaded {
    Job job;
};

// The job exists and cannot be loaded now. Until JobLoaded or JobRemoved comes, what earlier
// processes have left of it is kept, and what it misses is made up for then. Nothing changes for a
// job that was loaded before.
struct JobUnreadable {
    JobId job;
};

// The job is gone. Its waiting runs end as skipped; running ones go on.
struct JobRemoved {
    JobId job;
};

// A run that an earlier scheduler process claimed and that did not finish. The history shows it as
// failed as soon as the claim of its next attempt is written.
struct InterruptedRun {
    Occurrence occurrence;
    bool transactional;  // true: it left no effects
};

// An attempt that failed under an earlier scheduler process, and whose retry was not claimed. A
// retry may succeed (see is_retryable), and consecutive_failures counts it.
struct FailedRun {
    Occurrence occurrence;
    Instant ended_at;
};

// A run that an earlier scheduler process handed to a worker. RunEnded follows as for every run,
// even if it has ended by now.
struct AdoptedRun {
    RunId run;
    Occurrence occurrence;
    bool is_counted = false;  // the job's consecutive_failures includes it already
};

// Planning starts. Comes once, after the JobLoaded and JobUnreadable events of all jobs, in the
// same step or a later one; before it nothing is planned. Occurrences in (planned_until, now] were
// missed; none were if planned_until is nullopt.
struct Started {
    std::optional<Instant> planned_until;
    std::optional<Instant> server_start;  // set on the first start of a scheduler after the
                                          // server's start, for @reboot
    std::vector<InterruptedRun> interrupted;
    std::vector<AdoptedRun> adopted;
    std::vector<FailedRun> failed = {};
};

// A run that a user requested; its row exists. It waits for the job's running run (unless overlap
// is `allow`), but is never skipped, and runs even if the job is inactive.
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
    bool retryable;  // of a failed run: a retry may succeed (see is_retryable)
};

using Event = std::variant<JobLoaded, JobUnreadable, JobRemoved, Started, ManualRun, RunClaimed,
                           RunRefused, RunEnded>;

// ---- commands ------------------------------------------------------------------------------

// Insert the run's row with status `starting` and this reason (empty if it may start at once), then
// answer with RunClaimed or RunRefused.
struct ClaimRun {
    Occurrence occurrence;
    std::string reason;
    OwnerId owner{};  // of the job
    Instant rank{};   // among the claims of this owner, by the job's priority; see rank_of()
};

// Insert a row with status `skipped`, for `count` occurrences of which this is the latest.
struct RecordSkip {
    Occurrence occurrence;
    std::string reason;
    std::int64_t count = 1;
};

// The run may start as soon as a worker is free.
struct StartRun {
    RunId run;
    JobId job;
    Instant scheduled_at;
    Instant rank{};  // among the runs of the job's owner, by the job's priority; see rank_of()
};

// A waiting run has a new reason to wait.
struct ExplainWait {
    RunId run;
    std::string reason;
};

// A claimed run will not start: its row becomes `skipped`. No RunEnded follows.
struct SkipRun {
    RunId run;
    std::string reason;
};

// Cancel a run for which StartRun was given. RunEnded follows as for every run.
struct CancelRun {
    RunId run;
};

// Set the job inactive, with this note. JobLoaded follows, because its row changes.
struct PauseJob {
    JobId job;
    std::string note;
};

// Delete the job, a one-off that has succeeded. JobRemoved follows, because its row is gone.
struct DeleteJob {
    JobId job;
};

using Command = std::variant<ClaimRun, RecordSkip, StartRun, ExplainWait, SkipRun, CancelRun,
                             PauseJob, DeleteJob>;

// ---- the machine ---------------------------------------------------------------------------

// False for errors that a retry would only repeat: SQLSTATE classes 42 (syntax, access), 28
// (authorization), 3D (no such database), 22 (data). True for anything that is not five characters.
bool is_retryable(std::string_view sqlstate);

class Scheduler {
  public:
    // Returns a number in [0, 1); the only source of randomness.
    using Random = std::function<double()>;

    explicit Scheduler(Random random);
    Scheduler(const Scheduler&) = delete;
    Scheduler& operator=(const Scheduler&) = delete;
    ~Scheduler();

    // Processes the events in order, and returns what to do, in order. `now` may be earlier than in
    // the last step, when the clock was set back: planning goes on from the new time.
    std::vector<Command> step(Instant now, std::span<const Event> events);

    // Up to when all occurrences are decided: what a scheduler that starts has to be told if this
    // one dies. Earlier than the last step while is_behind().
    Instant planned_until() const;

    // Whether the last step left to later ones occurrences that were due, or jobs whose missed ones
    // are not judged. A step does only so much, so that the process can react to signals between
    // two steps.
    bool is_behind() const;

    // When step() has to be called even if there is no event; kNever if nothing is planned.
    Instant next_wake() const;

    std::size_t job_count() const;

    // The jobs that were loaded and not removed, in no particular order.
    std::vector<JobId> job_ids() const;
    bool has_job(JobId job) const;

    // The next planned instant of a job, nullopt if there is none.
    std::optional<Instant> next_run(JobId job) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace securatlas::core
