#include "cron/alert_due.hpp"

#include <algorithm>

#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "securatlas/core/backoff.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/alerts.hpp"

extern "C" {
#include "access/xact.h"
#include "utils/snapmgr.h"
}

namespace securatlas::pg::alerts {
namespace {

constexpr core::Duration kFirstDelay = std::chrono::seconds(1);
// How many events about one thing are counted in one transaction.
constexpr std::int32_t kEventsAtOnce = 1000;
constexpr std::string_view kSucceeded = "succeeded";

std::optional<std::string> optional_text(const Row& row, int column) {
    return row.is_null(column) ? std::nullopt : std::optional(row.as_text(column));
}

// The oldest due event, or the given one, with its alert.
std::optional<Due> find_first(RoleOid role, std::optional<std::int64_t> event) {
    static Statement query(R"(
SELECT e.id, e.attempts, a.alertid, a.name, a.channel, a.function, a.function_owner, a.url, a.format,
       a.headers, a.remind_after, a.active, e.event, e.event = ANY (a.events), e.host, e.jobid
  FROM cron.alert a JOIN cron.alert_event e USING (alertid)
 WHERE a.roleid = $1 AND CASE WHEN $2 IS NULL THEN e.due_at <= $3 ELSE e.id = $2 END
   AND NOT EXISTS (SELECT FROM cron.alert_event f
                    WHERE (f.alertid, f.jobid, f.host) = (e.alertid, e.jobid, e.host) AND f.id < e.id)
 ORDER BY e.due_at, e.id LIMIT 1 FOR NO KEY UPDATE OF a SKIP LOCKED)");
    query.execute_on_latest({Parameter::of_oid(role),
                             event ? Parameter::of(*event) : Parameter::null(INT8OID),
                             Parameter::of(now())});
    std::optional<Due> due;
    Statement::each_row([&due](const Row& row) {
        due.emplace();
        due->events = {row.as_int64(1)};
        due->attempts = row.as_int32(2);
        due->alert = row.as_int64(3);
        due->name = row.as_text(4);
        due->channel = optional_text(row, 5);
        due->function = optional_text(row, 6);
        if (!row.is_null(7)) due->function_owner = row.as_oid(7);
        due->url = optional_text(row, 8);
        due->format = row.as_text(9);
        due->headers = row.as_text(10);
        due->remind_after = row.as_interval(11).value_or(core::Duration(0));
        due->is_active = row.as_bool(12);
        due->event = row.as_text(13);
        due->is_wanted = row.as_bool(14);
        due->host = row.as_text(15);
        due->news.job = row.as_int64(16);
    });
    return due;
}

// Adds the events that follow and say the same. False: the first one is locked.
bool add_followers(Due& due) {
    static Statement query(R"(
SELECT id, event, count, at, subject, runid, request_id, scheduled_at, sqlstate, detail
  FROM cron.alert_event
 WHERE alertid = $1 AND jobid = $2 AND host = $3
 ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED)");
    // What is to be told each time is told one by one.
    const bool is_each_told = due.remind_after == core::Duration(0) || due.event == kSucceeded;
    const std::int32_t limit = is_each_told ? 1 : kEventsAtOnce;
    query.execute_on_latest({Parameter::of(due.alert), Parameter::of(due.news.job),
                             Parameter::of(due.host), Parameter::of(limit)});
    const std::int64_t first = due.events.front();
    due.events.clear();
    core::AlertNews& news = due.news;
    news.count = 0;
    bool same = true;
    Statement::each_row([&](const Row& row) {
        same = same && row.as_text(2) == due.event &&
               (!due.events.empty() || row.as_int64(1) == first);
        if (!same) return;
        if (due.events.empty()) news.since = row.as_instant(4);
        due.events.push_back(row.as_int64(1));
        news.count += row.as_int64(3);
        news.at = row.as_instant(4);
        news.subject = row.as_text(5);
        news.run = row.is_null(6) ? std::nullopt : std::optional(row.as_int64(6));
        news.request = row.is_null(7) ? std::nullopt : std::optional(row.as_int64(7));
        news.scheduled_at = row.is_null(8) ? std::nullopt : std::optional(row.as_instant(8));
        news.sqlstate = row.as_text(9);
        news.detail = row.as_text(10);
    });
    news.event = core::parse_alert_event(due.event).value_or(core::AlertEvent::failed);
    return !due.events.empty();
}

// The incident that the events belong to. What ends an incident belongs to all about its thing, and
// a restart that was told more than a day ago is over.
Incident incident_of(const Due& due) {
    static Statement query(R"(
SELECT min(since), sum(count)::bigint, max(told), max(told_at)
  FROM cron.alert_incident
 WHERE alertid = $1 AND jobid = $2 AND host = $3 AND (event = $4 OR $4 = 'recovered')
   AND (event <> 'scheduler_restarted' OR told_at > clock_timestamp() - interval '1 day')
HAVING count(*) > 0)");
    query.execute_on_latest({Parameter::of(due.alert), Parameter::of(due.news.job),
                             Parameter::of(due.host), Parameter::of(due.event)});
    Incident incident;
    Statement::each_row([&incident](const Row& row) {
        incident.since = row.as_instant(1);
        incident.count = row.as_int64(2);
        incident.told = row.as_int32(3);
        if (!row.is_null(4)) incident.told_at = row.as_instant(4);
    });
    return incident;
}

// Whether the job is gone, so that nothing can end its incidents.
bool is_last_of_its_job(const Due& due) {
    static Statement look("SELECT FROM cron.job WHERE jobid = $1");
    return due.news.job != 0 && look.execute_on_latest({Parameter::of(due.news.job)}) == 0;
}

// An alert about one job ends with the job, when it has nothing to tell any more.
void remove_if_over(const Due& due) {
    static Statement statement(R"(
DELETE FROM cron.alert WHERE alertid IN (
    SELECT a.alertid FROM cron.alert a
     WHERE a.alertid = $1 AND a.jobid IS NOT NULL
       AND NOT EXISTS (SELECT FROM cron.job j WHERE j.jobid = a.jobid)
       AND NOT EXISTS (SELECT FROM cron.alert_event e WHERE e.alertid = a.alertid)
       FOR UPDATE SKIP LOCKED))");
    statement.execute_on_latest({Parameter::of(due.alert)});
}

}  // namespace

std::optional<Due> find(RoleOid role, std::optional<std::int64_t> event) {
    // Before the OwnerScope, because the isolation level of the role's settings should apply to the
    // snapshot.
    call([] { (void)GetTransactionSnapshot(); });
    const OwnerScope owner(OwnerScope::Mode::force_writable);
    Spi spi;
    std::optional<Due> due = find_first(role, event);
    if (due && !add_followers(*due)) due.reset();
    return due;
}

Incident read_incident(const Due& due) {
    const OwnerScope owner(OwnerScope::Mode::force_writable);
    Spi spi;
    return incident_of(due);
}

void finish(const Due& due, Incident incident, bool told) {
    static Statement remove("DELETE FROM cron.alert_event WHERE id = ANY ($1)");
    static Statement over(
        "DELETE FROM cron.alert_incident WHERE alertid = $1 AND jobid = $2 AND host = $3");
    static Statement go_on(R"(
INSERT INTO cron.alert_incident AS i (alertid, jobid, host, event, since, count, told, told_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (jobid, host, alertid, event) DO UPDATE
   SET (since, count, told, told_at)
     = (excluded.since, excluded.count, excluded.told, excluded.told_at))");
    static Statement count(
        "UPDATE cron.alert SET told = told + 1, last_told_at = clock_timestamp() WHERE alertid = "
        "$1");
    const OwnerScope owner(OwnerScope::Mode::force_writable);
    Spi spi;
    const Parameter alert = Parameter::of(due.alert);
    const Parameter job = Parameter::of(due.news.job);
    const Parameter host = Parameter::of(due.host);
    remove.execute_on_latest({Parameter::of(due.events)});
    if (told) count.execute_on_latest({alert});
    if (due.news.event == core::AlertEvent::recovered || is_last_of_its_job(due)) {
        over.execute_on_latest({alert, job, host});
        remove_if_over(due);
        return;
    }
    if (due.event == kSucceeded) return;
    incident.since = std::min(incident.since, due.news.since);
    incident.count += due.news.count;
    if (told) {
        ++incident.told;
        incident.told_at = now();
    }
    go_on.execute_on_latest(
        {alert, job, host, Parameter::of(due.event), Parameter::of(incident.since),
         Parameter::of(incident.count), Parameter::of(std::int32_t{incident.told}),
         incident.told == 0 ? Parameter::null(TIMESTAMPTZOID) : Parameter::of(incident.told_at)});
}

bool mark_attempt(const Due& due, double random) {
    static Statement statement(
        "UPDATE cron.alert_event SET attempts = $2, due_at = $3 WHERE id = $1");
    if (due.attempts >= kMaxAttempts) return false;
    const OwnerScope owner(OwnerScope::Mode::force_writable);
    Spi spi;
    const std::int32_t attempts = due.attempts + 1;
    statement.execute_on_latest(
        {Parameter::of(due.events.front()), Parameter::of(attempts),
         Parameter::of(now() + core::retry_delay(kFirstDelay, attempts, random))});
    call([] { ForceSyncCommit(); });
    return true;
}

void correct_future(RoleOid role) {
    static Statement statement(R"(
UPDATE cron.alert_event SET due_at = $2
 WHERE ctid = ANY (ARRAY(
    SELECT e.ctid FROM cron.alert_event e JOIN cron.alert a USING (alertid)
     WHERE a.roleid = $1 AND e.due_at > $3 FOR UPDATE OF e SKIP LOCKED)))");
    const core::Instant at = now();
    const core::Instant latest = at + core::retry_delay(kFirstDelay, kMaxAttempts, 1.0);
    Spi spi;
    statement.execute({Parameter::of_oid(role), Parameter::of(at), Parameter::of(latest)});
}

void note_failure(const Due& due, std::string_view error, bool is_last) {
    static Statement note(R"(
UPDATE cron.alert SET last_error = $2, last_error_at = clock_timestamp()
 WHERE alertid IN (SELECT alertid FROM cron.alert WHERE alertid = $1 FOR UPDATE SKIP LOCKED))");
    static Statement give_up(R"(
DELETE FROM cron.alert_event
 WHERE id IN (SELECT id FROM cron.alert_event WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED))");
    const OwnerScope owner(OwnerScope::Mode::force_writable);
    Spi spi;
    const std::string text = std::string(error) + (is_last ? " (given up)" : "");
    note.execute_on_latest({Parameter::of(due.alert), Parameter::of(text)});
    if (!is_last) return;
    give_up.execute_on_latest({Parameter::of(due.events)});
    remove_if_over(due);
}

}  // namespace securatlas::pg::alerts
