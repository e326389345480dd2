// The catalog of callbacks, for the scheduler and for SQL functions.
#include "securatlas/pg/net/callbacks.hpp"

#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "net/callback_rules.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"
#include "securatlas/pg/shared/statistics.hpp"

extern "C" {
#include "utils/acl.h"
}

namespace securatlas::pg::callbacks {

std::vector<RoleOid> waiting_roles() {
    static Statement query(R"(
WITH RECURSIVE role AS (
    (SELECT created_by FROM net._http_response
      WHERE callback_state = 'waiting' AND created_by IS NOT NULL
      ORDER BY created_by, callback_at, id LIMIT 1)
    UNION ALL
    SELECT next.created_by
      FROM role CROSS JOIN LATERAL (
        SELECT created_by FROM net._http_response
         WHERE callback_state = 'waiting' AND created_by > role.created_by
         ORDER BY created_by, callback_at, id LIMIT 1) AS next)
SELECT created_by FROM role)");
    std::vector<RoleOid> all;
    Spi spi;
    query.execute({});
    Statement::each_row([&all](const Row& row) { all.push_back(row.as_oid(1)); });
    return all;
}

std::optional<core::Instant> next_due(RoleOid role) {
    static Statement query(R"(
SELECT callback_at FROM net._http_response
 WHERE created_by = $1 AND callback_state = 'waiting'
 ORDER BY callback_at, id LIMIT 1)");
    Spi spi;
    query.execute_on_latest({Parameter::of_oid(role)});
    std::optional<core::Instant> due;
    Statement::each_row([&due](const Row& row) { due = row.as_instant(1); });
    return due;
}

Target resolve_role(RoleOid role) {
    const char* name = call([role] { return GetUserNameFromId(role, true); });
    if (name == nullptr) {
        throw Error("28000", "the role that made the request (OID " + std::to_string(role) +
                                 ") does not exist");
    }
    return resolve_target(current_database_name(), role, name);
}

std::uint64_t fail_all(RoleOid role, std::string_view error, int limit) {
    static Statement statement(R"(
UPDATE net._http_response
   SET callback_state = 'failed', callback_error = $2, callback_at = NULL
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM net._http_response
                          WHERE created_by = $1 AND callback_state = 'waiting'
                          ORDER BY callback_at, id LIMIT $3 FOR UPDATE SKIP LOCKED)))");
    Spi spi;
    const std::uint64_t failed = statement.execute(
        {Parameter::of_oid(role), Parameter::of(error), Parameter::of(std::int32_t{limit})});
    Statistics::count(MyDatabaseId, DatabaseValue::callbacks_failed,
                      static_cast<std::int64_t>(failed));
    return failed;
}

void count_death(std::int64_t response, std::string_view error, double random) {
    static Statement query(
        "SELECT callback_attempts FROM net._http_response WHERE id = $1 AND callback_state = "
        "'waiting'");
    Spi spi;
    query.execute({Parameter::of(response)});
    std::optional<int> attempts;
    Statement::each_row([&attempts](const Row& row) { attempts = row.as_int32(1); });
    if (!attempts) return;
    record_failed_attempt(response, *attempts + 1, *attempts + 1 < kMaxAttempts, error, random);
}

bool repeat(std::int64_t response) {
    static Statement query("SELECT created_by FROM net._http_response WHERE id = $1");
    static Statement statement(R"(
UPDATE net._http_response
   SET callback_state = 'waiting', callback_at = clock_timestamp(), callback_attempts = 0,
       callback_error = NULL
 WHERE id = $1 AND callback_state = 'failed')");
    const RoleOid caller = current_role();
    OwnerScope owner;
    Spi spi;
    query.execute({Parameter::of(response)});
    std::optional<RoleOid> role;
    Statement::each_row([&role](const Row& row) {
        if (!row.is_null(1)) role = row.as_oid(1);
    });
    if (!role) return false;
    if (!call([&] { return has_privs_of_role(caller, *role); })) return false;
    if (statement.execute({Parameter::of(response)}) == 0) return false;
    at_commit::notify(Notice::Kind::callback_waiting, std::int64_t{*role});
    return true;
}

}  // namespace securatlas::pg::callbacks
