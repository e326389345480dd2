// Inserts requests into the queue without SQL: no plan and no change of role or search_path, which
// would cost more than everything else, and no user-defined object can interfere.
#include <algorithm>
#include <array>
#include <map>

#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "border/table_insert.hpp"
#include "net/queue_columns.hpp"
#include "net/sealed_headers.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/json.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/command.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/net/sealing.hpp"
#include "securatlas/pg/net/settings.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

namespace securatlas::pg::requests {
namespace {

using enum queue::Column;

using QueueRow = RowBuilder<kColumnCount>;

struct Relations {
    Oid queue;
    Oid sequence;
};

Relations find_relations() {
    const Relations found = call([] {
        const Oid schema = get_namespace_oid("net", true);
        if (!OidIsValid(schema)) return Relations{InvalidOid, InvalidOid};
        return Relations{get_relname_relid("http_request_queue", schema),
                         get_relname_relid("http_request_queue_id_seq", schema)};
    });
    if (!OidIsValid(found.queue) || !OidIsValid(found.sequence)) {
        throw Error("55000", "extension \"securatlas_sched\" is not in this database", "",
                    "Run CREATE EXTENSION securatlas_sched.");
    }
    return found;
}

Datum text_datum(std::string_view text) { return Parameter::of(text).value; }

// Random bytes for the next keys. Asking OpenSSL for 16 bytes costs as much as for thousands.
struct RandomBytes {
    std::array<unsigned char, 4096> bytes;
    std::size_t used;
};
constinit RandomBytes random_bytes{{}, sizeof random_bytes.bytes};

// A UUID of version 4 (RFC 9562), as text.
Datum random_uuid_text() {
    constexpr std::size_t kSize = 16;
    RandomBytes& from = random_bytes;
    if (from.used + kSize > from.bytes.size()) {
        call([&from] {
            if (!pg_strong_random(from.bytes.data(), from.bytes.size())) {
                ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR),
                                errmsg("could not generate random values")));
            }
        });
        from.used = 0;
    }
    std::array<unsigned char, kSize> uuid;
    std::copy_n(from.bytes.begin() + static_cast<std::ptrdiff_t>(from.used), kSize, uuid.begin());
    from.used += kSize;
    uuid[6] = (uuid[6] & 0x0f) | 0x40;  // version
    uuid[8] = (uuid[8] & 0x3f) | 0x80;  // variant
    std::array<char, 2 * kSize + 4> text;
    auto* to = text.begin();
    for (std::size_t i = 0; i < kSize; ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) *to++ = '-';
        *to++ = "0123456789abcdef"[uuid[i] >> 4];
        *to++ = "0123456789abcdef"[uuid[i] & 0x0f];
    }
    return text_datum({text.data(), text.size()});
}

void set_names(QueueRow& row, queue::Column column, const std::vector<std::string>& names) {
    if (!names.empty()) {
        row.set(column, Parameter::of(names).value);
    }
}

QueueRow make_row(const NewRequest& request, std::int64_t id) {
    QueueRow row;
    row.set(kId, Int64GetDatum(id));
    row.set(kMethod, text_datum(core::method_name(request.method)));
    row.set(kUrl, text_datum(request.url));
    row.set(kHeaders, headers_as_jsonb(request.headers));
    if (request.body) {
        row.set(kBody, text_datum(*request.body));  // a bytea has the same representation
    }
    row.set(kTimeout, Int32GetDatum(static_cast<std::int32_t>(request.timeout.count())));
    if (!request.sensitive_headers.empty()) {
        row.set(kSealedHeaders, text_datum(seal_headers(request.sensitive_headers, id)));
    }
    const TimestampTz now = GetCurrentTimestamp();
    row.set(kCreated, TimestampTzGetDatum(now));
    row.set(kCreatedBy, ObjectIdGetDatum(request.created_by.value_or(GetUserId())));
    if (const CurrentRun* run = current_run()) {
        row.set(kRunId, Int64GetDatum(static_cast<std::int64_t>(run->order.run)));
    }
    row.set(kAttempts, Int32GetDatum(0));
    row.set(kMaxAttempts,
            Int32GetDatum(request.max_attempts.value_or(net_settings().max_attempts)));
    row.set(kRetry, text_datum(core::retry_mode_name(request.retry)));
    row.set(kReadyAt,
            TimestampTzGetDatum(request.not_before ? to_timestamp(*request.not_before) : now));
    if (request.expires_in) {
        row.set(kExpiresAt, TimestampTzGetDatum(now + request.expires_in->count()));
    }
    row.set(kIdempotencyKey, request.idempotency_key.empty() ? random_uuid_text()
                                                             : text_datum(request.idempotency_key));
    if (!request.on_response.empty()) {
        row.set(kOnResponse, text_datum(request.on_response));
        row.set(kOnResponseOwner, ObjectIdGetDatum(request.on_response_owner));
    }
    row.set(kStoreResponse, text_datum(store_response_name(request.store_response)));
    row.set(kHost, text_datum(request.host));
    row.set(kOwnKey, BoolGetDatum(!request.idempotency_key.empty()));
    set_names(row, kHeaderSecrets, request.header_secrets);
    set_names(row, kFormSecrets, request.form_secrets);
    return row;
}

// ---- the limit -------------------------------------------------------------------------------

// An estimate of the number of rows in the queue: the statistics, plus the rows that this process
// has added since.
struct Estimate {
    TransactionId transaction = InvalidTransactionId;
    std::int64_t rows = 0;
};
constinit Estimate estimate;

// The exact number of rows, which takes long in a long queue: each count is used for the rest of
// the transaction, at most for a second.
struct Count {
    TransactionId transaction = InvalidTransactionId;
    core::Duration at{};
    std::int64_t all = 0;
    std::map<RoleOid, std::int64_t> by_role;
};

std::int64_t rows_by_statistics(Oid queue) {
    return call([queue] {
        return DatumGetInt64(DirectFunctionCall1(pg_stat_get_live_tuples, ObjectIdGetDatum(queue)));
    });
}

Count count_up_to(std::int64_t limit) {
    static Statement query(R"(
SELECT created_by, count(*) FROM (SELECT created_by FROM net.http_request_queue LIMIT $1) AS request
 GROUP BY created_by)");
    Count count;
    OwnerScope owner;
    Spi spi;
    query.execute({Parameter::of(limit)});
    Statement::each_row([&count](const Row& row) {
        const std::int64_t rows = row.as_int64(2);
        count.all += rows;
        if (!row.is_null(1)) count.by_role[row.as_oid(1)] = rows;
    });
    count.at = monotonic_now();
    return count;
}

// The limit for all roles together; `limit` is what one role may have if it is alone.
std::int64_t room_for_all(std::int64_t limit) { return 2 * limit; }

Error too_many(const Count& count, std::int64_t own, RoleOid role, std::int64_t limit) {
    constexpr const char* kHint =
        "Try again when some of them have been sent, or raise net.max_pending_requests.";
    if (count.all >= room_for_all(limit)) {
        return Error("53400", "too many HTTP requests are waiting",
                     "net.max_pending_requests is " + std::to_string(limit) +
                         ", and all roles together may have twice as many.",
                     kHint);
    }
    const char* name = call([role] { return GetUserNameFromId(role, true); });
    return Error("53400",
                 "too many HTTP requests of role \"" + std::string(name != nullptr ? name : "") +
                     "\" are waiting",
                 "It has " + std::to_string(own) + ", and other roles have " +
                     std::to_string(count.all - own) + ". A role may have " +
                     std::to_string(limit) +
                     " (net.max_pending_requests), and fewer if other roles have many.",
                 kHint);
}

// A role may have as many requests as are left free, so that a role that comes later finds room:
// one role alone may use half of the room, which is the limit, and n roles use n/(n+1) of it. As
// long as the estimate is below the limit, nothing has to be counted.
void check_limit(Oid queue, RoleOid role) {
    static auto* const count = new Count;
    const TransactionId transaction = call([] { return GetTopTransactionId(); });
    if (estimate.transaction != transaction) estimate = {transaction, rows_by_statistics(queue)};
    const std::int64_t limit = net_settings().max_pending_requests;
    if (++estimate.rows <= limit) return;
    const auto is_over = [&] { return count->all + count->by_role[role] >= room_for_all(limit); };
    const bool is_recent =
        count->transaction == transaction || monotonic_now() < count->at + std::chrono::seconds(1);
    if (!is_recent || is_over()) *count = count_up_to(room_for_all(limit));
    count->transaction = transaction;
    if (is_over()) throw too_many(*count, count->by_role[role], role, limit);
    ++count->all;
    ++count->by_role[role];
}

}  // namespace

std::string_view store_response_name(StoreResponse store) {
    switch (store) {
        case StoreResponse::full:
            return "full";
        case StoreResponse::headers:
            return "headers";
        case StoreResponse::status:
            return "status";
        case StoreResponse::sealed:
            return "sealed";
    }
    return "";
}

std::optional<StoreResponse> parse_store_response(std::string_view text) {
    for (const StoreResponse store : {StoreResponse::full, StoreResponse::headers,
                                      StoreResponse::status, StoreResponse::sealed}) {
        if (text == store_response_name(store)) return store;
    }
    return std::nullopt;
}

std::int64_t enqueue(const NewRequest& request) {
    (void)require_shared_state();
    call([] { PreventCommandIfReadOnly("INSERT"); });
    const Relations relations = find_relations();
    check_limit(relations.queue, request.created_by.value_or(current_role()));
    const std::int64_t id = call([&] { return nextval_internal(relations.sequence, false); });
    const QueueRow row = make_row(request, id);
    const InsertedRow inserted = row.row();
    insert_rows(relations.queue, kColumnCount, {&inserted, 1});
    at_commit::wake_http_worker();
    const CurrentRun* run = current_run();
    at_commit::request_made(
        run == nullptr ? 0 : WorkerSlot::owner(),
        run == nullptr ? 0 : static_cast<std::int64_t>(run->order.occurrence.job),
        run == nullptr ? 0 : static_cast<std::int64_t>(run->order.run));
    return id;
}

}  // namespace securatlas::pg::requests
