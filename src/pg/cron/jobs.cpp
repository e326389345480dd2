#include "securatlas/pg/cron/jobs.hpp"

#include <unordered_map>

#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "cron/job_insert.hpp"
#include "securatlas/pg/cron/alerts.hpp"

namespace securatlas::pg::jobs {
namespace {

// Columns of fixed length that are never NULL come first: the offsets of these are known.
constexpr std::string_view kPlanColumns = R"(
SELECT jobid, planned_from, COALESCE(jitter, '0'), retry_period, max_retries,
       COALESCE(max_failures, 0), COALESCE(roleid, 0), active, replicated,
       CASE WHEN roleid IS NULL THEN active ELSE pg_get_userbyid(roleid) <> username END,
       overlap_policy, missed, schedule, jobname, timezone, catchup_window, priority
  FROM cron.job )";

PlanRow plan_row(const Row& row) {
    return {
        .id = row.as_int64(1),
        .role = row.as_oid(7),
        .differs_from_role = row.as_bool(10),
        .name = row.as_text(14),
        .schedule = row.as_text(13),
        .timezone = row.as_text(15),
        .planned_from = row.as_instant(2),
        .active = row.as_bool(8),
        .replicated = row.as_bool(9),
        .overlap = row.as_text(11),
        .missed = row.as_text(12),
        .catchup_window = row.as_interval(16),
        .jitter = row.as_interval(3).value_or(core::Duration(0)),
        .max_retries = row.as_int32(5),
        .retry_period = row.as_interval(4).value_or(std::chrono::minutes(1)),
        .max_failures = row.as_int32(6),
        .priority = row.as_int32(17),
        .consecutive_failures = 0,
        .after = {},
        .last_occurrence = core::kLongAgo,
        .last_failed = false,
    };
}

// Facts from other tables. Few jobs have any, so that they are read with one query each.
struct Facts {
    struct History {
        int consecutive_failures;
        core::Instant last_occurrence;
        bool last_failed;
    };
    std::unordered_map<std::int64_t, std::vector<std::pair<std::int64_t, std::string>>> after;
    std::unordered_map<std::int64_t, History> history;

    void add_to(PlanRow& row) const {
        if (const auto found = after.find(row.id); found != after.end()) row.after = found->second;
        if (const auto found = history.find(row.id); found != history.end()) {
            row.consecutive_failures = found->second.consecutive_failures;
            row.last_occurrence = found->second.last_occurrence;
            row.last_failed = found->second.last_failed;
        }
    }
};

constexpr std::string_view kDependencies =
    "SELECT jobid, after_jobid, condition FROM cron.job_dependency ";

// The history is needed for jobs that have max_failures, and for those that others wait for.
constexpr std::string_view kHistory = R"(
SELECT j.jobid, (
           SELECT count(DISTINCT d.scheduled_at)::int
             FROM cron.job_run_details d
            WHERE d.jobid = j.jobid AND d.status = 'failed' AND d.trigger <> 'manual'
              AND d.reason IS DISTINCT FROM 'cancelled'
              AND d.scheduled_at > GREATEST(j.planned_from, (
                  SELECT max(s.scheduled_at) FROM cron.job_run_details s
                   WHERE s.jobid = j.jobid AND s.status = 'succeeded' AND s.trigger <> 'manual'))),
       last.scheduled_at, last.status = 'failed'
  FROM cron.job j
  LEFT JOIN LATERAL (
      SELECT d.scheduled_at, d.status FROM cron.job_run_details d
       WHERE d.jobid = j.jobid AND d.status IN ('succeeded', 'failed')
       ORDER BY d.scheduled_at DESC, d.attempt DESC LIMIT 1) last ON true
 WHERE (j.max_failures IS NOT NULL OR j.jobid IN (SELECT after_jobid FROM cron.job_dependency)) )";

const char* query(std::string_view text, std::string_view condition) {
    return (new std::string(std::string(text) + std::string(condition)))->c_str();
}

// The two statements that read the facts, of all jobs or of those with the given ids.
struct FactStatements {
    Statement dependencies;
    Statement history;
};

Facts read_facts(FactStatements& statements, std::initializer_list<Parameter> parameters) {
    Facts facts;
    statements.dependencies.execute(parameters);
    Statement::each_row([&facts](const Row& row) {
        facts.after[row.as_int64(1)].emplace_back(row.as_int64(2), row.as_text(3));
    });
    statements.history.execute(parameters);
    Statement::each_row([&facts](const Row& row) {
        const bool any = !row.is_null(3);
        facts.history[row.as_int64(1)] = {row.as_int32(2), any ? row.as_instant(3) : core::kLongAgo,
                                          any && row.as_bool(4)};
    });
    return facts;
}

std::vector<PlanRow> collect_plan_rows(const Facts& facts) {
    std::vector<PlanRow> rows;
    rows.reserve(SPI_processed);
    Statement::each_row([&](const Row& row) {
        rows.push_back(plan_row(row));
        facts.add_to(rows.back());
    });
    return rows;
}

// True if the row was locked now or does not exist. Call it inside an Spi.
bool lock_without_waiting(std::int64_t id) {
    static Statement lock("SELECT FROM cron.job WHERE jobid = $1 FOR UPDATE SKIP LOCKED");
    static Statement look("SELECT FROM cron.job WHERE jobid = $1");
    return lock.execute({Parameter::of(id)}) > 0 || look.execute({Parameter::of(id)}) == 0;
}

void delete_row(std::int64_t id) {
    static Statement statement("DELETE FROM cron.job WHERE jobid = $1");
    statement.execute({Parameter::of(id)});
}

Found found_row(const Row& row) {
    return {row.as_int64(1), row.as_text(2), row.is_null(3) ? RoleOid{0} : row.as_oid(3),
            row.as_text(4),  row.as_text(5), row.as_bool(6),
            row.as_bool(7)};
}

}  // namespace

// ---- for the scheduler ---------------------------------------------------------------------

void read_all(int page_size, const std::function<void(const std::vector<PlanRow>&)>& consume) {
    static Statement jobs(query(kPlanColumns, ""));
    static FactStatements of_all{Statement(query(kDependencies, "")),
                                 Statement(query(kHistory, ""))};
    Spi spi;
    const Facts facts = read_facts(of_all, {});
    jobs.execute_in_pages({}, page_size, [&] { consume(collect_plan_rows(facts)); });
}

std::vector<PlanRow> read(const std::vector<std::int64_t>& ids) {
    static Statement jobs(query(kPlanColumns, "WHERE jobid = ANY ($1)"));
    static FactStatements of_these{Statement(query(kDependencies, "WHERE jobid = ANY ($1)")),
                                   Statement(query(kHistory, "AND j.jobid = ANY ($1)"))};
    Spi spi;
    const Parameter these = Parameter::of(ids);
    const Facts facts = read_facts(of_these, {these});
    jobs.execute({these});
    return collect_plan_rows(facts);
}

bool pause_with_note(std::int64_t id, std::string_view note) {
    static Statement update("UPDATE cron.job SET active = false, note = $2 WHERE jobid = $1");
    Spi spi;
    if (!lock_without_waiting(id)) return false;
    update.execute({Parameter::of(id), Parameter::of(note)});
    alerts::tell_paused(id, note);
    return true;
}

bool remove(std::int64_t id) {
    Spi spi;
    if (!lock_without_waiting(id)) return false;
    delete_row(id);
    return true;
}

std::uint64_t remove_finished_one_offs() {
    static Statement statement(R"(
DELETE FROM cron.job WHERE jobid IN (
SELECT j.jobid FROM cron.job j
 WHERE strpos(j.schedule, '@') > 0 AND j.schedule ~* '^\s*((CRON_TZ|TZ)=\S+\s+)?@at\s' AND NOT j.replicated
   AND EXISTS (SELECT FROM cron.job_run_details d
                WHERE d.jobid = j.jobid AND d.status = 'succeeded' AND d.trigger <> 'manual'
                  AND d.scheduled_at >= j.planned_from)
   FOR UPDATE SKIP LOCKED))");
    Spi spi;
    return statement.execute({});
}

// ---- for SQL functions ---------------------------------------------------------------------

std::int64_t upsert(const Definition& definition) {
    static Statement statement(R"(
INSERT INTO cron.job AS j (jobname, schedule, command, database, username, active)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (jobname, roleid) DO UPDATE
   SET schedule = excluded.schedule, command = excluded.command, database = excluded.database,
       active = excluded.active, note = NULL
RETURNING j.jobid)");
    if (const auto inserted = insert_past_executor(definition)) return *inserted;
    OwnerScope owner;
    Spi spi;
    statement.execute({Parameter::of_optional(definition.name), Parameter::of(definition.schedule),
                       Parameter::of(definition.command), Parameter::of(definition.database),
                       Parameter::of(definition.username), Parameter::of(definition.active)});
    std::int64_t id = 0;
    Statement::each_row([&id](const Row& row) { id = row.as_int64(1); });
    return id;
}

std::optional<Found> find(std::int64_t id, Lock lock) {
    static Statement plain(
        "SELECT jobid, jobname, roleid, username, database, active, replicated FROM cron.job WHERE "
        "jobid = $1");
    static Statement locking(
        "SELECT jobid, jobname, roleid, username, database, active, replicated FROM cron.job WHERE "
        "jobid = $1 "
        "FOR UPDATE");
    OwnerScope owner;
    Spi spi;
    (lock == Lock::update ? locking : plain).execute({Parameter::of(id)});
    std::optional<Found> found;
    Statement::each_row([&found](const Row& row) { found = found_row(row); });
    return found;
}

std::vector<Found> find_named(std::string_view name) {
    static Statement query(
        "SELECT jobid, jobname, roleid, username, database, active, replicated FROM cron.job "
        "WHERE jobname = $1 ORDER BY jobid");
    OwnerScope owner;
    Spi spi;
    query.execute({Parameter::of(name)});
    std::vector<Found> found;
    Statement::each_row([&found](const Row& row) { found.push_back(found_row(row)); });
    return found;
}

void remove_of_roles(const std::vector<RoleOid>& roles) {
    static Statement statement("DELETE FROM cron.job WHERE roleid = ANY ($1)");
    OwnerScope owner;
    Spi spi;
    statement.execute({Parameter::of_oids(roles)});
}

void give_to_role(const std::vector<RoleOid>& roles, RoleOid to) {
    static Statement conflict(R"(
SELECT j.jobname, r.rolname
  FROM cron.job j JOIN pg_authid r ON r.oid = $2
 WHERE j.roleid = ANY ($1 || $2) AND j.jobname IS NOT NULL
 GROUP BY 1, 2 HAVING count(*) > 1 ORDER BY 1 LIMIT 1)");
    static Statement statement("UPDATE cron.job SET roleid = $2 WHERE roleid = ANY ($1)");
    OwnerScope owner;
    Spi spi;
    const Parameter from = Parameter::of_oids(roles);
    conflict.execute({from, Parameter::of_oid(to)});
    Statement::each_row([](const Row& row) {
        throw Error(
            "42710",
            "role \"" + row.as_text(2) + "\" would have two jobs \"" + row.as_text(1) + "\"",
            "A job's name is unique for its role.", "Unschedule one of them first.");
    });
    statement.execute({from, Parameter::of_oid(to)});
}

void triggers_enabled(Oid table) {
    static Statement arm("SELECT cron._arm_triggers($1)");
    static Statement is_job("SELECT WHERE $1 = 'cron.job'::regclass");
    static Statement is_alert("SELECT WHERE $1 = 'cron.alert'::regclass");
    OwnerScope owner;
    bool of_jobs = false;
    bool of_alerts = false;
    {
        Spi spi;
        arm.execute({Parameter::of_oid(table)});
        of_jobs = is_job.execute({Parameter::of_oid(table)}) > 0;
        of_alerts = is_alert.execute({Parameter::of_oid(table)}) > 0;
    }
    if (of_jobs) bind_roles_by_name();
    if (of_alerts) alerts::bind_roles_by_name();
}

void change(std::int64_t id, const Changes& changes) {
    static Statement update(R"(
UPDATE cron.job
   SET schedule = COALESCE($2, schedule), command = COALESCE($3, command),
       database = COALESCE($4, database), username = COALESCE($5, username),
       roleid = COALESCE($19, roleid),
       timezone = COALESCE($6, timezone), overlap_policy = COALESCE($7, overlap_policy),
       missed = COALESCE($8, missed), log_runs = COALESCE($9, log_runs),
       active = COALESCE($10, active), max_retries = COALESCE($11, max_retries),
       max_failures = COALESCE($12, max_failures),
       max_runtime = COALESCE($13::interval, max_runtime),
       retry_period = COALESCE($14::interval, retry_period),
       catchup_window = COALESCE($15::interval, catchup_window),
       jitter = COALESCE($16::interval, jitter), priority = COALESCE($20, priority),
       note = CASE WHEN $18 THEN NULL ELSE COALESCE($17, note) END
 WHERE jobid = $1)");
    const auto text = Parameter::of_optional;
    const auto interval = [](const std::optional<IntervalValue>& value) {
        return value ? Parameter::of(std::string_view(value->text)) : Parameter::null(TEXTOID);
    };
    const auto number = [](std::optional<int> value) {
        return value ? Parameter::of(std::int32_t{*value}) : Parameter::null(INT4OID);
    };
    OwnerScope owner;
    Spi spi;
    update.execute({Parameter::of(id),
                    text(changes.schedule),
                    text(changes.command),
                    text(changes.database),
                    text(changes.username),
                    text(changes.timezone),
                    text(changes.overlap),
                    text(changes.missed),
                    text(changes.log_runs),
                    changes.active ? Parameter::of(*changes.active) : Parameter::null(BOOLOID),
                    number(changes.max_retries),
                    number(changes.max_failures),
                    interval(changes.max_runtime),
                    interval(changes.retry_period),
                    interval(changes.catchup_window),
                    interval(changes.jitter),
                    text(changes.note),
                    Parameter::of(changes.clear_note),
                    changes.role ? Parameter::of_oid(*changes.role) : Parameter::null(OIDOID),
                    number(changes.priority)});
}

void reset_rule(std::int64_t id, std::string_view rule) {
    static auto& statements = *new std::unordered_map<std::string, Statement>;
    const std::string name(rule);
    auto found = statements.find(name);
    if (found == statements.end()) {
        const char* text = query("UPDATE cron.job SET " + name, " = DEFAULT WHERE jobid = $1");
        found = statements.emplace(name, Statement(text)).first;
    }
    OwnerScope owner;
    Spi spi;
    found->second.execute({Parameter::of(id)});
}

void remove_as_owner(std::int64_t id) {
    OwnerScope owner;
    Spi spi;
    delete_row(id);
}

void add_dependency(std::int64_t job, std::int64_t after, std::string_view condition) {
    static Statement statement(R"(
INSERT INTO cron.job_dependency (jobid, after_jobid, condition) VALUES ($1, $2, $3)
ON CONFLICT (jobid, after_jobid) DO UPDATE SET condition = excluded.condition)");
    OwnerScope owner;
    Spi spi;
    statement.execute({Parameter::of(job), Parameter::of(after), Parameter::of(condition)});
}

bool remove_dependency(std::int64_t job, std::int64_t after) {
    static Statement statement(
        "DELETE FROM cron.job_dependency WHERE jobid = $1 AND after_jobid = $2");
    OwnerScope owner;
    Spi spi;
    return statement.execute({Parameter::of(job), Parameter::of(after)}) > 0;
}

void remove_dependencies_of(std::int64_t job) {
    static Statement statement(
        "DELETE FROM cron.job_dependency WHERE jobid = $1 OR after_jobid = $1");
    OwnerScope owner;
    Spi spi;
    statement.execute({Parameter::of(job)});
}

bool depends_on(std::int64_t job, std::int64_t other) {
    static Statement query(R"(
WITH RECURSIVE waits_for AS (
    SELECT after_jobid FROM cron.job_dependency WHERE jobid = $1
    UNION
    SELECT d.after_jobid FROM cron.job_dependency d JOIN waits_for w ON d.jobid = w.after_jobid)
SELECT FROM waits_for WHERE after_jobid = $2)");
    OwnerScope owner;
    Spi spi;
    return query.execute({Parameter::of(job), Parameter::of(other)}) > 0;
}

}  // namespace securatlas::pg::jobs
