// The texts of column `reason` in cron.job_run_details, and of the notes of paused jobs. Users
// query them, so that they must not change; doc/cron.md lists them. SQL statements cannot refer to
// these constants, and repeat "cancelled", "server restarted", "copied" and "taken over".
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace securatlas::core::reasons {

// ---- of a waiting run ----------------------------------------------------------------------

inline constexpr const char* kPreviousRun = "waiting for the previous run";
inline constexpr const char* kJitter = "jitter";
inline constexpr const char* kRowLocked = "waiting: another session has locked the row of the run";
inline constexpr const char* kDatabaseClosed =
    "waiting: the database is being dropped, renamed, moved or copied";
inline constexpr const char* kRoleShare =
    "waiting for a worker: the role has its share of them, and others come first";
inline constexpr const char* kServerSlots =
    "waiting for a worker: all worker slots of the server are in use";

inline std::string running_jobs_limit(int limit) {
    return "waiting for a worker: cron.max_running_jobs (" + std::to_string(limit) + ") is reached";
}
inline std::string role_limit(int limit) {
    return "waiting for a worker: cron.max_running_jobs_per_role (" + std::to_string(limit) +
           ") is reached";
}
inline std::string waiting_for(const std::string& job) { return "waiting for " + job; }
// `time` is a utc_text().
inline std::string retry_at(const std::string& time) { return "retry at " + time; }

// ---- of a skipped run ----------------------------------------------------------------------

inline constexpr const char* kUnscheduled = "job was unscheduled";
inline constexpr const char* kPaused = "job is paused";
inline constexpr const char* kOverlap = "overlap: the previous run has not finished";
inline constexpr const char* kReplaced = "overlap: a later run has taken its place";
inline constexpr const char* kSchedulerAway = "missed: the scheduler was not running";
inline constexpr const char* kUnreadable = "missed: the job could not be read";
inline constexpr const char* kClockStep =
    "missed: the clock went forward, or the server was suspended";

// Whether it was skipped because nobody was there when it was due.
inline bool is_missed(std::string_view reason) { return reason.starts_with("missed: "); }

inline std::string dependency_failed(const std::string& job) { return job + " failed"; }

// ---- of a failed run -----------------------------------------------------------------------

inline constexpr const char* kCancelled = "cancelled";
// Its message, if it did not start. Repeated in the statement that cancels a waiting run.
inline constexpr const char* kCancelledBefore = "cancelled before it started";
inline constexpr const char* kMaxRuntime = "max_runtime";
inline constexpr const char* kCouldNotStart = "could not start";

// ---- notes of jobs -------------------------------------------------------------------------

inline std::string paused_because(std::string_view why) { return "paused: " + std::string(why); }

// ---- kinds ---------------------------------------------------------------------------------

// What statistics count reasons by, because some texts name a job or a time. Users query the names.
enum class Kind {
    // of a waiting run
    previous_run,
    jitter,
    row_locked,
    role_share,
    server_slots,
    running_jobs,
    running_jobs_of_role,
    other_job,
    retry,
    // of a skipped run
    unscheduled,
    paused,
    overlap,
    replaced,
    other_job_failed,
    // of a missed run
    scheduler_away,
    clock_step,
    other,
    count
};
inline constexpr std::size_t kKinds = static_cast<std::size_t>(Kind::count);
inline constexpr std::array<const char*, kKinds> kKindNames = {"previous_run",
                                                               "jitter",
                                                               "row_locked",
                                                               "role_share",
                                                               "server_slots",
                                                               "running_jobs",
                                                               "running_jobs_of_role",
                                                               "other_job",
                                                               "retry",
                                                               "unscheduled",
                                                               "paused",
                                                               "overlap",
                                                               "replaced",
                                                               "other_job_failed",
                                                               "scheduler_away",
                                                               "clock_step",
                                                               "other"};
// The last ones, from this on, are of occurrences without a run.
inline constexpr auto kFirstLost = static_cast<std::size_t>(Kind::unscheduled);
inline constexpr std::size_t kLostKinds = kKinds - kFirstLost;
constexpr bool is_missed(Kind kind) {
    return kind == Kind::scheduler_away || kind == Kind::clock_step;
}

// The kind of a text of this file.
Kind kind_of(std::string_view reason);

}  // namespace securatlas::core::reasons
