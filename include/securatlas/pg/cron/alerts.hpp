// Alerts: who is told what happened to jobs and requests. An event is a row of cron.alert_event,
// inserted by the transaction that records what it is about, for each alert that wants it. A job
// worker of the alert's role tells it, and deletes the row in the transaction that tells it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "securatlas/pg/border/replication.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/cron/runs.hpp"
#include "securatlas/pg/net/callbacks.hpp"

namespace securatlas::pg::alerts {

// An event that cannot be told is given up after this many attempts.
inline constexpr int kMaxAttempts = 5;

// How many alerts a role may have.
inline constexpr std::int64_t kMostAlerts = 1000;

// ---- for whoever records something (inside an Spi, with the owner's rights) ---------------------

// Whether this database has alerts, or had some lately, or may have some: their table is locked.
// Costs about a microsecond, and locks the table for reading until the transaction ends.
bool any();

// Whether events can be written now; true if there are no alerts. Never waits: locks what the
// functions below write to, until the transaction ends.
bool try_lock();

// A run has ended.
void tell_end(const RunReport& report, std::string_view message);
// After how long a run may be late for some alert; nullopt: for none.
std::optional<core::Duration> shortest_late();
// These runs have not started. Tells the alerts for which one has become late since
// `late_is_told_until`; returns when runs will be late for further ones.
std::vector<std::pair<core::RunId, core::Instant>> tell_late(const std::vector<RunOrder>& runs,
                                                             core::Instant now);
// These runs were interrupted, and no other attempt follows.
void tell_interrupted(const std::vector<std::int64_t>& runs);
// Occurrences of jobs were missed, as many of each as `counts` says.
void tell_missed(const std::vector<std::int64_t>& jobs, const std::vector<std::int64_t>& counts,
                 const std::vector<core::Instant>& scheduled_at,
                 const std::vector<std::string>& reasons);
// The scheduler has paused a job.
void tell_paused(std::int64_t job, std::string_view note);
// The scheduler has started again.
void tell_restart(std::string_view why);
// These requests have ended, as their responses say.
void tell_requests(const std::vector<std::int64_t>& ids);

// ---- for the scheduler (inside its transaction) ------------------------------------------------

// The roles whose alerts have events.
std::vector<RoleOid> waiting_roles();
// When the first event of a role is due; nullopt: it has none.
std::optional<core::Instant> next_due(RoleOid role);
// As callbacks::correct_future().
void correct_future(RoleOid role);
// Gives up what the alerts of this role have to tell, up to `limit` events; returns their number.
std::uint64_t fail_all(RoleOid role, std::string_view error, int limit);
// Alerts follow their role when it is renamed or dropped. False: some rows are locked.
bool follow_roles();

// ---- for a job worker --------------------------------------------------------------------------

// Tells the oldest due event of the session's role, together with others that say the same, in one
// transaction with the record of it. An attempt is counted on disk before it begins, so that one
// that ends the process or the server uses up an attempt. Throws Error if the tables cannot be
// used.
callbacks::Step tell_next(RoleOid role, double random);

// ---- for SQL functions (in the caller's transaction, with the owner's rights) -------------------

struct Definition {
    std::string name;
    RoleOid role = 0;
    std::string username;
    std::vector<std::string> events;
    std::string jobs;
    std::optional<std::string> channel;
    std::optional<std::string> function;
    std::optional<RoleOid> function_owner;
    std::optional<std::string> url;
    std::string format;
    std::string headers;  // JSON
    jobs::IntervalValue remind_after;
    jobs::IntervalValue late_after;
    bool active = true;
    std::optional<std::int64_t> job{};  // the only one that it tells of
};

// Inserts an alert, or replaces the one of this name and role. Returns its id.
std::int64_t upsert(const Definition& definition);
// False: the role has no alert of this name.
bool remove(RoleOid role, std::string_view name);
// The alerts of one job that have this name, but for that of `but_of`.
void remove_of_job(std::int64_t job, std::string_view name, std::optional<RoleOid> but_of);
// The effect of DROP OWNED and REASSIGN OWNED. Throws Error if the new role has an alert of the
// same name.
void remove_of_roles(const std::vector<RoleOid>& roles);
void give_to_role(const std::vector<RoleOid>& roles, RoleOid to);
// The job is gone, and so are its incidents and the alerts about it alone. What is still to be told
// of it is told, and the last event ends the incident and the alert. Never waits for a lock.
void forget_job(std::int64_t job);
// Looks up the roles of alerts by their names, after rows were loaded with the triggers disabled.
void bind_roles_by_name();

}  // namespace securatlas::pg::alerts
