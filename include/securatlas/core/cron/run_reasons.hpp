// The texts of column `reason` in cron.job_run_details, and of the notes of paused jobs. Users
// query them, so that they must not change; doc/cron.md lists them. SQL statements cannot refer to
// these constants, and repeat "cancelled", "server restarted", "copied" and "taken over".
#pragma once

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

}  // namespace securatlas::core::reasons
