// The catalog of alerts, for the scheduler and for SQL functions.
#include "securatlas/pg/cron/alerts.hpp"

#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "securatlas/pg/border/identity.hpp"

namespace securatlas::pg::alerts {

// ---- for the scheduler ---------------------------------------------------------------------

std::vector<RoleOid> waiting_roles() {
    static Statement query(R"(
SELECT DISTINCT a.roleid FROM cron.alert_event e JOIN cron.alert a USING (alertid)
 WHERE a.roleid IS NOT NULL)");
    std::vector<RoleOid> all;
    if (!any()) return all;
    Spi spi;
    query.execute({});
    Statement::each_row([&all](const Row& row) { all.push_back(row.as_oid(1)); });
    return all;
}

// The first event about something is told before the others about it.
std::optional<core::Instant> next_due(RoleOid role) {
    static Statement query(R"(
SELECT min(e.due_at)
  FROM cron.alert a JOIN cron.alert_event e USING (alertid)
 WHERE a.roleid = $1
   AND NOT EXISTS (SELECT FROM cron.alert_event f
                    WHERE (f.alertid, f.jobid, f.host) = (e.alertid, e.jobid, e.host) AND f.id < e.id))");
    Spi spi;
    query.execute_on_latest({Parameter::of_oid(role)});
    std::optional<core::Instant> due;
    Statement::each_row([&due](const Row& row) {
        if (!row.is_null(1)) due = row.as_instant(1);
    });
    return due;
}

std::uint64_t fail_all(RoleOid role, std::string_view error, int limit) {
    static Statement note(R"(
UPDATE cron.alert SET last_error = $2, last_error_at = clock_timestamp()
 WHERE alertid IN (SELECT a.alertid FROM cron.alert a
                    WHERE a.roleid = $1
                      AND EXISTS (SELECT FROM cron.alert_event e WHERE e.alertid = a.alertid)
                      FOR UPDATE SKIP LOCKED))");
    static Statement drop(R"(
DELETE FROM cron.alert_event WHERE ctid = ANY (ARRAY(
    SELECT e.ctid FROM cron.alert_event e JOIN cron.alert a USING (alertid)
     WHERE a.roleid = $1 ORDER BY e.id LIMIT $2 FOR UPDATE OF e SKIP LOCKED)))");
    Spi spi;
    note.execute({Parameter::of_oid(role), Parameter::of(error)});
    return drop.execute({Parameter::of_oid(role), Parameter::of(std::int32_t{limit})});
}

bool follow_roles() {
    static Statement rename(R"(
UPDATE cron.alert a SET username = c.rolname
  FROM (SELECT l.alertid, r.rolname FROM cron.alert l JOIN pg_authid r ON r.oid = l.roleid
         WHERE r.rolname <> l.username FOR UPDATE OF l SKIP LOCKED) c
 WHERE a.alertid = c.alertid)");
    static Statement drop(R"(
UPDATE cron.alert a
   SET active = false, roleid = NULL, username = format('unknown (OID=%s)', a.roleid),
       last_error = format('role "%s" was dropped', a.username), last_error_at = clock_timestamp()
 WHERE a.alertid IN (
       SELECT l.alertid FROM cron.alert l
        WHERE l.roleid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_authid r WHERE r.oid = l.roleid)
          FOR UPDATE SKIP LOCKED))");
    static Statement forget(R"(
DELETE FROM cron.alert_event WHERE id IN (
    SELECT e.id FROM cron.alert_event e JOIN cron.alert a USING (alertid)
     WHERE a.roleid IS NULL FOR UPDATE OF e SKIP LOCKED))");
    static Statement left(R"(
SELECT FROM cron.alert a LEFT JOIN pg_authid r ON r.oid = a.roleid
 WHERE a.roleid IS NOT NULL AND r.rolname IS DISTINCT FROM a.username LIMIT 1)");
    if (!any()) return true;
    if (!try_lock()) return false;
    Spi spi;
    rename.execute({});
    drop.execute({});
    forget.execute({});
    return left.execute({}) == 0;
}

// ---- for SQL functions ---------------------------------------------------------------------

namespace {

// Each run looks at all alerts.
void require_room(const Definition& definition) {
    static Statement query(
        "SELECT count(*) FROM cron.alert WHERE roleid = $1 AND name <> $2 HAVING count(*) >= $3");
    const bool is_full =
        query.execute({Parameter::of_oid(definition.role), Parameter::of(definition.name),
                       Parameter::of(kMostAlerts)}) > 0;
    if (!is_full) return;
    throw Error("54000", "too many alerts",
                "A role may have " + std::to_string(kMostAlerts) + " of them.",
                "Drop some with cron.drop_alert(), or let one alert tell of more jobs.");
}

}  // namespace

std::int64_t upsert(const Definition& definition) {
    static Statement statement(R"(
INSERT INTO cron.alert AS a (name, username, roleid, events, jobs, channel, function, function_owner,
                             url, format, headers, remind_after, late_after, active, jobid)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::jsonb, $12::interval, $13::interval, $14, $15)
ON CONFLICT (name, roleid) DO UPDATE
   SET (events, jobs, channel, function, function_owner, url, format, headers, remind_after,
        late_after, active, jobid)
     = (excluded.events, excluded.jobs, excluded.channel, excluded.function, excluded.function_owner,
        excluded.url, excluded.format, excluded.headers, excluded.remind_after,
        excluded.late_after, excluded.active, excluded.jobid)
RETURNING a.alertid)");
    OwnerScope owner;
    Spi spi;
    require_room(definition);
    statement.execute({Parameter::of(definition.name), Parameter::of(definition.username),
                       Parameter::of_oid(definition.role), Parameter::of(definition.events),
                       Parameter::of(definition.jobs), Parameter::of_optional(definition.channel),
                       Parameter::of_optional(definition.function),
                       definition.function_owner ? Parameter::of_oid(*definition.function_owner)
                                                 : Parameter::null(OIDOID),
                       Parameter::of_optional(definition.url), Parameter::of(definition.format),
                       Parameter::of(definition.headers),
                       Parameter::of(definition.remind_after.text),
                       Parameter::of(definition.late_after.text), Parameter::of(definition.active),
                       definition.job ? Parameter::of(*definition.job) : Parameter::null(INT8OID)});
    std::int64_t id = 0;
    Statement::each_row([&id](const Row& row) { id = row.as_int64(1); });
    return id;
}

namespace {

// Deletes the alerts that the statement returns the ids of, with what they had to tell.
void remove_all(const std::vector<std::int64_t>& alerts) {
    static Statement events("DELETE FROM cron.alert_event WHERE alertid = ANY ($1)");
    static Statement incidents("DELETE FROM cron.alert_incident WHERE alertid = ANY ($1)");
    events.execute({Parameter::of(alerts)});
    incidents.execute({Parameter::of(alerts)});
}

}  // namespace

bool remove(RoleOid role, std::string_view name) {
    static Statement statement(
        "DELETE FROM cron.alert WHERE roleid = $1 AND name = $2 RETURNING alertid");
    OwnerScope owner;
    Spi spi;
    statement.execute({Parameter::of_oid(role), Parameter::of(name)});
    const auto removed = Statement::ids();
    remove_all(removed);
    return !removed.empty();
}

void remove_of_job(std::int64_t job, std::string_view name, std::optional<RoleOid> but_of) {
    static Statement statement(
        "DELETE FROM cron.alert WHERE jobid = $1 AND name = $2 AND roleid IS DISTINCT FROM $3 "
        "RETURNING alertid");
    OwnerScope owner;
    Spi spi;
    statement.execute({Parameter::of(job), Parameter::of(name),
                       but_of ? Parameter::of_oid(*but_of) : Parameter::null(OIDOID)});
    remove_all(Statement::ids());
}

void remove_of_roles(const std::vector<RoleOid>& roles) {
    static Statement statement("DELETE FROM cron.alert WHERE roleid = ANY ($1) RETURNING alertid");
    OwnerScope owner;
    Spi spi;
    statement.execute({Parameter::of_oids(roles)});
    remove_all(Statement::ids());
}

void give_to_role(const std::vector<RoleOid>& roles, RoleOid to) {
    static Statement conflict(R"(
SELECT a.name, r.rolname FROM cron.alert a JOIN pg_authid r ON r.oid = $2
 WHERE a.roleid = ANY ($1 || $2)
 GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY 1 LIMIT 1)");
    static Statement statement(R"(
UPDATE cron.alert SET roleid = $2, username = (SELECT r.rolname FROM pg_authid r WHERE r.oid = $2)
 WHERE roleid = ANY ($1))");
    OwnerScope owner;
    Spi spi;
    const Parameter from = Parameter::of_oids(roles);
    conflict.execute({from, Parameter::of_oid(to)});
    Statement::each_row([](const Row& row) {
        throw Error(
            "42710",
            "role \"" + row.as_text(2) + "\" would have two alerts \"" + row.as_text(1) + "\"",
            "An alert's name is unique for its role.", "Drop one of them first.");
    });
    statement.execute({from, Parameter::of_oid(to)});
}

void forget_job(std::int64_t job) {
    static Statement incidents(R"(
DELETE FROM cron.alert_incident
 WHERE jobid = $1 AND (alertid, jobid, host, event) IN (
       SELECT i.alertid, i.jobid, i.host, i.event FROM cron.alert_incident i
        WHERE i.jobid = $1 AND NOT EXISTS (SELECT FROM cron.alert_event e WHERE e.jobid = $1)
          FOR UPDATE SKIP LOCKED))");
    static Statement own(R"(
DELETE FROM cron.alert WHERE alertid IN (
    SELECT a.alertid FROM cron.alert a
     WHERE a.jobid = $1 AND NOT EXISTS (SELECT FROM cron.alert_event e WHERE e.alertid = a.alertid)
       FOR UPDATE SKIP LOCKED))");
    if (!any()) return;
    OwnerScope owner;
    Spi spi;
    incidents.execute({Parameter::of(job)});
    own.execute({Parameter::of(job)});
}

void bind_roles_by_name() {
    static Statement bind(R"(
UPDATE cron.alert a SET roleid = r.oid
  FROM (SELECT l.alertid, o.oid FROM cron.alert l LEFT JOIN pg_authid o ON o.rolname = l.username
         WHERE o.oid IS DISTINCT FROM l.roleid FOR UPDATE OF l SKIP LOCKED) r
 WHERE a.alertid = r.alertid)");
    Spi spi;
    bind.execute({});
}

}  // namespace securatlas::pg::alerts
