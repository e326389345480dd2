#include "net/callback_rules.hpp"

#include "border/spi.hpp"
#include "securatlas/core/backoff.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/net/callbacks.hpp"
#include "securatlas/pg/shared/statistics.hpp"

namespace securatlas::pg::callbacks {
namespace {

constexpr core::Duration kFirstDelay = std::chrono::seconds(1);

}  // namespace

void record_failed_attempt(std::int64_t response, int attempts, bool again, std::string_view error,
                           double random) {
    static Statement statement(R"(
UPDATE net._http_response
   SET callback_state = $2, callback_attempts = $3, callback_error = $4, callback_at = $5
 WHERE id = $1 AND callback_state = 'waiting')");
    const core::Instant at = now() + core::retry_delay(kFirstDelay, attempts, random);
    statement.execute_on_latest({Parameter::of(response),
                                 Parameter::of(std::string_view(again ? "waiting" : "failed")),
                                 Parameter::of(std::int32_t{attempts}), Parameter::of(error),
                                 again ? Parameter::of(at) : Parameter::null(TIMESTAMPTZOID)});
    if (!again) Statistics::count(MyDatabaseId, DatabaseValue::callbacks_failed, 1);
}

void correct_future(RoleOid role) {
    static Statement statement(R"(
UPDATE net._http_response SET callback_at = $2
 WHERE ctid = ANY (ARRAY(SELECT ctid FROM net._http_response
                          WHERE created_by = $1 AND callback_state = 'waiting' AND callback_at > $3
                            FOR UPDATE SKIP LOCKED)))");
    const core::Instant at = now();
    const core::Instant latest = at + core::retry_delay(kFirstDelay, kMaxAttempts, 1.0);
    Spi spi;
    statement.execute({Parameter::of_oid(role), Parameter::of(at), Parameter::of(latest)});
}

}  // namespace securatlas::pg::callbacks
