// Jobs follow their role and their database when these get another name or oid.
#include "border/spi.hpp"
#include "securatlas/pg/cron/jobs.hpp"

namespace securatlas::pg::jobs {
namespace {

constinit bool following = false;

struct FollowScope {
    FollowScope() { following = true; }
    ~FollowScope() { following = false; }
    FollowScope(const FollowScope&) = delete;
    FollowScope& operator=(const FollowScope&) = delete;
};

}  // namespace

bool follow_roles() {
    static Statement rename(R"(
UPDATE cron.job j SET username = c.rolname
  FROM (SELECT l.jobid, r.rolname FROM cron.job l JOIN pg_authid r ON r.oid = l.roleid
         WHERE r.rolname <> l.username FOR UPDATE OF l SKIP LOCKED) c
 WHERE j.jobid = c.jobid)");
    static Statement drop(R"(
UPDATE cron.job j
   SET active = false, roleid = NULL, username = format('unknown (OID=%s)', j.roleid),
       note = CASE WHEN j.active THEN
                  format('paused: role "%s" was dropped; cron.alter_job() gives the job to another',
                         j.username)
              ELSE j.note END
 WHERE j.jobid IN (
       SELECT l.jobid FROM cron.job l
        WHERE l.roleid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_authid r WHERE r.oid = l.roleid)
          FOR UPDATE SKIP LOCKED))");
    // For rows that were written with the triggers disabled.
    static Statement bind(R"(
UPDATE cron.job j
   SET roleid = r.oid, active = r.oid IS NOT NULL,
       note = CASE WHEN r.oid IS NULL THEN format('paused: role "%s" does not exist', j.username)
              ELSE j.note END
  FROM (SELECT l.jobid, (SELECT a.oid FROM pg_authid a WHERE a.rolname = l.username)
          FROM cron.job l WHERE l.roleid IS NULL AND l.active FOR UPDATE SKIP LOCKED) r (jobid, oid)
 WHERE j.jobid = r.jobid)");
    static Statement left(R"(
SELECT FROM cron.job j LEFT JOIN pg_authid r ON r.oid = j.roleid
 WHERE j.roleid IS NOT NULL AND r.rolname IS DISTINCT FROM j.username LIMIT 1)");
    Spi spi;
    const FollowScope scope;
    rename.execute({});
    drop.execute({});
    bind.execute({});
    return left.execute({}) == 0;
}

bool is_following_roles() { return following; }

std::vector<std::int64_t> bind_roles_by_name() {
    static Statement bind(R"(
UPDATE cron.job j SET roleid = r.oid
  FROM (SELECT l.jobid, a.oid FROM cron.job l LEFT JOIN pg_authid a ON a.rolname = l.username
         WHERE a.oid IS DISTINCT FROM l.roleid FOR UPDATE OF l SKIP LOCKED) r
 WHERE j.jobid = r.jobid)");
    static Statement left(R"(
SELECT j.jobid FROM cron.job j LEFT JOIN pg_authid r ON r.rolname = j.username
 WHERE r.oid IS DISTINCT FROM j.roleid)");
    Spi spi;
    bind.execute({});
    left.execute({});
    return Statement::ids();
}

std::vector<std::int64_t> move_database(std::string_view from, std::string_view to,
                                        std::string_view note) {
    static Statement update(R"(
UPDATE cron.job
   SET database = $2, active = active AND $3 IS NULL,
       note = CASE WHEN active AND $3 IS NOT NULL THEN $3 ELSE note END
 WHERE jobid IN (SELECT l.jobid FROM cron.job l WHERE l.database = $1 FOR UPDATE SKIP LOCKED))");
    static Statement left("SELECT jobid FROM cron.job WHERE database = $1");
    Spi spi;
    update.execute({Parameter::of(from), Parameter::of(to),
                    note.empty() ? Parameter::null(TEXTOID) : Parameter::of(note)});
    left.execute({Parameter::of(from)});
    return Statement::ids();
}

}  // namespace securatlas::pg::jobs
