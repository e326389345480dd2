#include "securatlas/pg/net/cancel_request.hpp"

#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"
#include "securatlas/pg/shared/progress.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"

namespace securatlas::pg::requests {

bool cancel(std::int64_t id) {
    static Statement statement(R"(
WITH ended AS (
    DELETE FROM net.http_request_queue
     WHERE id = $1 AND ($3 OR pg_has_role($2, created_by, 'USAGE'))
    RETURNING id, attempts, method, url, runid, created_by, idempotency_key, host, created),
recorded AS (
    INSERT INTO net._http_response (id, error_msg, attempts, method, url, runid, created_by,
                                    idempotency_key, state, timed_out, host, requested_at)
    SELECT id, 'request was cancelled', attempts, method, url, runid, created_by, idempotency_key,
           'cancelled', false, host, created
      FROM ended
    ON CONFLICT (id) DO NOTHING)
SELECT runid FROM ended)");
    (void)require_shared_state();
    call([] { PreventCommandIfReadOnly("net.cancel_request()"); });
    const RoleOid role = current_role();
    const bool superuser = current_user_is_superuser();
    bool found = false;
    {
        OwnerScope owner;
        Spi spi;
        found = statement.execute(
                    {Parameter::of(id), Parameter::of_oid(role), Parameter::of(superuser)}) > 0;
        Statement::each_row([](const Row& row) {
            if (!row.is_null(1)) progress::request_ended(row.as_int64(1));
        });
    }
    if (found) at_commit::request_cancelled(id);
    return found;
}

}  // namespace securatlas::pg::requests
