// The catalog of requests, as used by background processes.
#include "securatlas/pg/net/requests.hpp"

#include <malloc.h>

#include "border/local.hpp"
#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "securatlas/core/backoff.hpp"
#include "securatlas/pg/border/encoding.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
}

namespace securatlas::pg::requests {
namespace {

std::int64_t number(core::RequestId id) { return static_cast<std::int64_t>(id); }

}  // namespace

void prepare_process() {
#ifdef __GLIBC__
    // What a transaction has used stays for the next one: to return it to the kernel, and to get it
    // back page by page, would take a tenth of the time. There is no other thread yet.
    constexpr int kKept = 8 * 1024 * 1024;
    mallopt(M_TRIM_THRESHOLD, kKept);  // NOLINT(concurrency-mt-unsafe)
    mallopt(M_MMAP_THRESHOLD, kKept);  // NOLINT(concurrency-mt-unsafe)
#endif
    call([] {
        for (const char* way : {"enable_seqscan", "enable_bitmapscan", "enable_sort"}) {
            set_for_process(way, "off");
        }
        // If the primary is lost before a standby has received the commit, the request is sent
        // again, which is allowed. So there is no need to wait for standbys.
        set_for_process("synchronous_commit", "local");
    });
}

bool try_lock() {
    return call([] {
        const Oid schema = get_namespace_oid("net", true);
        if (!OidIsValid(schema)) return false;
        for (const char* table : {"http_request_queue", "_http_response"}) {
            const Oid relation = get_relname_relid(table, schema);
            if (!OidIsValid(relation)) return false;
            if (!ConditionalLockRelationOid(relation, RowExclusiveLock)) return false;
        }
        return true;
    });
}

void triggers_enabled(Oid table) {
    static Statement arm("SELECT net._arm_triggers($1)");
    OwnerScope owner;
    Spi spi;
    arm.execute({Parameter::of_oid(table)});
}

bool may_have_requests() {
    static Statement query("SELECT EXISTS (SELECT FROM net.http_request_queue)");
    if (!try_lock()) return true;
    Spi spi;
    query.execute({});
    bool found = false;
    Statement::each_row([&found](const Row& row) { found = row.as_bool(1); });
    return found;
}

std::vector<std::int64_t> lock_requests(const std::vector<std::int64_t>& ids) {
    static Statement lock(
        "SELECT FROM net.http_request_queue WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED");
    static Statement find_others(R"(
WITH own AS (
    SELECT id FROM net.http_request_queue WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED)
SELECT id FROM net.http_request_queue
 WHERE id = ANY ($1) AND id NOT IN (SELECT id FROM own))");
    if (ids.empty()) return {};
    Spi spi;
    if (lock.execute({Parameter::of(ids)}) == ids.size()) return {};
    // Finds the rows that exist but could not be locked.
    find_others.execute({Parameter::of(ids)});
    return Statement::ids();
}

std::uint64_t correct_future(core::Instant now) {
    // Who wants a time of his own names one that is later than the row. Replicated rows wait for
    // somebody else. After a response the wait may be the one that it asked for.
    static Statement statement(R"(
UPDATE net.http_request_queue SET ready_at = $1
 WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM net.http_request_queue
     WHERE ready_at > $1 AND replicated_ready_at IS NULL
       AND CASE WHEN attempts = 0
                THEN created > $1 AND ready_at < created + interval '1 second'
                ELSE created > $1
                  OR ready_at > ($2)[CASE WHEN last_error LIKE 'status %' THEN $3
                                          ELSE least(attempts, $3) END] END
       FOR UPDATE SKIP LOCKED)))");
    // Until when a row can wait by now, for each number of attempts up to where that is the same.
    std::vector<core::Instant> latest;
    for (core::Duration wait{0}; wait < core::kMaxRetryDelay; latest.push_back(now + wait)) {
        wait = core::request_retry_delay(static_cast<int>(latest.size()) + 1, 1.0);
    }
    const auto most = static_cast<std::int32_t>(latest.size());
    Spi spi;
    return statement.execute({Parameter::of(now), Parameter::of(latest), Parameter::of(most)});
}

void record_retries(const std::vector<core::RetriedRequest>& retries) {
    static Statement statement(R"(
UPDATE net.http_request_queue q
   SET attempts = r.attempts, ready_at = r.ready_at, last_error = r.error
  FROM unnest($1, $2, $3, $4) AS r(id, attempts, ready_at, error)
 WHERE q.id = r.id)");
    if (retries.empty()) return;
    std::vector<std::int64_t> ids;
    std::vector<std::int32_t> attempts;
    std::vector<core::Instant> ready_at;
    std::vector<std::string> errors;
    for (const core::RetriedRequest& retry : retries) {
        ids.push_back(number(retry.id));
        attempts.push_back(retry.attempts);
        ready_at.push_back(retry.ready_at);
        errors.push_back(message_text(retry.error));
    }
    Spi spi;
    statement.execute({Parameter::of(ids), Parameter::of(attempts), Parameter::of(ready_at),
                       Parameter::of(errors)});
}

std::uint64_t remove_responses(core::Instant before, int limit) {
    static Statement statement(R"(
DELETE FROM net._http_response WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM net._http_response
     WHERE created < $1 AND callback_state IS DISTINCT FROM 'waiting'
     ORDER BY created LIMIT $2 FOR UPDATE SKIP LOCKED)))");
    Spi spi;
    return statement.execute({Parameter::of(before), Parameter::of(std::int32_t{limit})});
}

bool has_responses(core::Instant before) {
    static Statement query(R"(
SELECT EXISTS (SELECT FROM net._http_response
                WHERE created < $1 AND callback_state IS DISTINCT FROM 'waiting'))");
    Spi spi;
    query.execute({Parameter::of(before)});
    bool found = false;
    Statement::each_row([&found](const Row& row) { found = row.as_bool(1); });
    return found;
}

}  // namespace securatlas::pg::requests
