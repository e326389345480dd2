// Reads the queue of requests. The index (host, ready_at, id) yields the hosts, by skipping from
// one to the next, and for each the oldest requests, however many wait for other hosts, or have
// waited.
#include <algorithm>

#include "border/spi.hpp"
#include "net/ended_rows.hpp"
#include "net/sealed_headers.hpp"
#include "net/webhook_signing.hpp"
#include "securatlas/core/net/header_rules.hpp"
#include "securatlas/core/net/secret_reference.hpp"
#include "securatlas/core/net/webhook_signature.hpp"
#include "securatlas/core/text.hpp"
#include "securatlas/pg/border/encoding.hpp"
#include "securatlas/pg/border/json.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/net/secrets.hpp"

namespace securatlas::pg::requests {
namespace {

// What a row needs from other tables before it can be sent.
struct Needs {
    RoleOid role = 0;
    std::vector<std::string> header_secrets;
    std::vector<std::string> form_secrets;
};

constexpr const char* kDamagedHeaders = "headers are not an object of texts";
constexpr const char* kForeignSeal =
    "sealed headers cannot be decrypted: they were sealed with another key";

void read_headers(core::QueuedRequest& request, const Row& row, int plain, int sealed) {
    if (!row.is_null(plain)) {
        auto members = read_json_object(row.value(plain));
        if (!members) {
            request.problem = kDamagedHeaders;
            return;
        }
        for (JsonMember& member : *members) {
            if (member.kind != JsonMember::Kind::text) request.problem = kDamagedHeaders;
            request.headers.push_back({std::move(member.name), std::move(member.value)});
        }
    }
    if (row.is_null(sealed)) return;
    auto opened = unseal_headers(row.as_bytes(sealed), static_cast<std::int64_t>(request.id));
    if (!opened) {
        request.problem = kForeignSeal;
        return;
    }
    std::move(opened->begin(), opened->end(), std::back_inserter(request.headers));
}

core::QueuedRequest queued_request(const Row& row) {
    core::QueuedRequest request{.id = core::RequestId{row.as_int64(1)},
                                .host = row.as_text(2),
                                .method = core::Method::get,
                                .url = std::nullopt,
                                .headers = {},
                                .body = row.as_bytes(6),
                                .timeout = std::chrono::milliseconds(row.as_int32(7)),
                                .ready_at = row.as_instant(8),
                                .attempts = row.as_int32(9),
                                .max_attempts = row.as_int32(10),
                                .retry = core::RetryMode::never,
                                .expires_at = row.is_null(12) ? core::kNever : row.as_instant(12),
                                .idempotency_key = row.as_text(13),
                                .own_key = row.as_bool(14),
                                .problem = {}};
    if (const auto method = core::parse_method(row.as_text(3))) {
        request.method = *method;
    } else {
        request.problem = "unknown method";
    }
    if (auto url = core::Url::parse(row.as_text(4))) {
        request.url = std::move(url).value();
    } else {
        request.problem = url.error().message;
    }
    if (const auto retry = core::parse_retry_mode(row.as_text(11))) {
        request.retry = *retry;
    } else {
        request.problem = "unknown retry mode";
    }
    request.place = place_number(row.value(19));
    read_headers(request, row, 5, 15);
    return request;
}

// Checks the headers after secrets were inserted, which may contain anything.
void finish_headers(core::QueuedRequest& request) {
    if (!request.idempotency_key.empty() &&
        core::find_header(request.headers, core::kIdempotencyKey) == nullptr) {
        request.headers.push_back({core::kIdempotencyKey, request.idempotency_key});
    }
    for (const core::Header& header : request.headers) {
        if (const auto error = core::check_header(header)) request.problem = error->message;
    }
}

Needs needs_of(const Row& row) {
    Needs needs;
    if (!row.is_null(16)) needs.role = row.as_oid(16);
    if (!row.is_null(17)) needs.header_secrets = row.as_texts(17);
    if (!row.is_null(18)) needs.form_secrets = row.as_texts(18);
    return needs;
}

void put_secrets(core::QueuedRequest& request, const Needs& needs,
                 const std::map<secrets::Wanted, std::string>& values) {
    const auto value_of = [&](const std::string& name) -> const std::string* {
        const auto found = values.find({name, needs.role});
        if (found != values.end()) return &found->second;
        request.problem = "secret \"" + name + "\" is missing, or its use is not granted";
        return nullptr;
    };
    // Its secret signs the request, and is not sent.
    std::optional<std::string> signs;
    if (const std::string* signature =
            core::find_header(request.headers, core::kWebhookSignature)) {
        const auto names = core::secret_names(*signature);
        if (!names.empty()) signs = names.front();
    }
    for (const std::string& name : needs.header_secrets) {
        const std::string* value = value_of(name);
        if (value == nullptr) return;
        for (core::Header& header : request.headers) {
            const bool is_signature =
                core::equal_ignoring_case(header.name, core::kWebhookSignature);
            if (is_signature) continue;
            header.value = core::put_secret(header.value, name, *value);
        }
    }
    for (const std::string& name : needs.form_secrets) {
        const std::string* value = value_of(name);
        if (value == nullptr) return;
        const auto encodable = to_utf8(*value);
        if (!encodable) {
            request.problem = "secret \"" + name + "\" cannot be converted to UTF-8";
            return;
        }
        request.body = core::put_secret_encoded(request.body, name, *encodable);
    }
    if (!signs) return;
    if (const std::string* secret = value_of(*signs)) sign_request(request, *secret);
}

void put_all_secrets(std::vector<core::QueuedRequest>& requests, const std::vector<Needs>& needs) {
    std::vector<secrets::Wanted> wanted;
    for (const Needs& one : needs) {
        for (const auto* names : {&one.header_secrets, &one.form_secrets}) {
            for (const std::string& name : *names) wanted.emplace_back(name, one.role);
        }
    }
    if (wanted.empty()) return;
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    const auto values = secrets::read(wanted);
    for (std::size_t i = 0; i < requests.size(); ++i) put_secrets(requests[i], needs[i], values);
}

// Decides which of the rows found are read: a body is not read unless it is needed.
class Portion {
  public:
    explicit Portion(std::size_t max_bytes) : max_bytes_(max_bytes) {}

    bool is_full() const { return bytes_ >= max_bytes_; }

    bool has_room_for(const std::string& host) {
        if (host != host_) {
            host_ = host;
            host_bytes_ = 0;
        }
        return host_bytes_ == 0 || 2 * host_bytes_ < max_bytes_;
    }

    void add(std::size_t bytes) {
        bytes_ += bytes;
        host_bytes_ += bytes;
    }

  private:
    std::size_t max_bytes_;
    std::size_t bytes_ = 0;
    std::string host_;
    std::size_t host_bytes_ = 0;
};

// ---- hosts -------------------------------------------------------------------------------------

// `found`: the hosts after $1, in order: those of $2, of which the first after $1 is number $3, and
// if $4 those that have rows besides. These are looked for between two of $2 and not behind each
// row: the index may still have the entries of a million rows that were removed, which are passed
// over only if nobody knows where the next host begins.
constexpr const char* kFound = R"(
WITH RECURSIVE found (host, number, next) AS (
    SELECT $1 COLLATE "C", NULL::int, $3
    UNION ALL
    SELECT coalesce(other.host, ($2::text[])[f.next] COLLATE "C"),
           CASE WHEN other.host IS NULL THEN f.next END,
           CASE WHEN other.host IS NULL THEN f.next + 1 ELSE f.next END
      FROM found f
     CROSS JOIN LATERAL (
           SELECT CASE WHEN NOT $4 THEN NULL
                       WHEN f.next > cardinality($2::text[])
                       THEN (SELECT q.host FROM net.http_request_queue q
                              WHERE q.host > f.host ORDER BY q.host LIMIT 1)
                       ELSE (SELECT q.host FROM net.http_request_queue q
                              WHERE q.host > f.host AND q.host < ($2::text[])[f.next]
                              ORDER BY q.host LIMIT 1)
                  END AS host OFFSET 0) AS other
     WHERE other.host IS NOT NULL OR f.next <= cardinality($2::text[]))
)";

// Such a query; the text is kept for the life of the process.
const char* with_found(const char* query) {
    return (new std::string(std::string(kFound) + query))->c_str();
}

std::vector<std::string> names_of(const std::vector<core::ReadPlan::Host>& hosts) {
    std::vector<std::string> names;
    names.reserve(hosts.size());
    for (const core::ReadPlan::Host& host : hosts) names.push_back(host.host);
    return names;
}

// Executes the query of read_ready() and leaves its result in SPI.
std::uint64_t query_ready(const core::ReadPlan& plan) {
    static Statement query(with_found(R"(
SELECT r.id, r.host, r.method, r.url, r.headers, r.body, r.timeout_milliseconds, r.ready_at,
       r.attempts, r.max_attempts, r.retry, r.expires_at, r.idempotency_key, r.own_key,
       r.sealed_headers, r.created_by, r.header_secrets, r.form_secrets, r.place
  FROM found
 CROSS JOIN LATERAL (
       SELECT q.*, q.ctid AS place FROM net.http_request_queue q
        WHERE q.host = found.host
          AND (q.ready_at, q.id) > (coalesce(($5::timestamptz[])[found.number], '-infinity'),
                                    coalesce(($6::bigint[])[found.number], 0))
          AND q.ready_at <= $7
          AND q.id NOT IN (SELECT unnest($8))
        ORDER BY q.ready_at, q.id
        LIMIT coalesce(($9::int[])[found.number], $10)) AS r
 WHERE found.host > $1
 LIMIT $11)"),
                           Plan::by_keys);
    const std::vector<std::string> hosts = names_of(plan.hosts);
    const auto first = std::upper_bound(hosts.begin(), hosts.end(), plan.after_host);
    std::vector<core::Instant> behind;
    std::vector<std::int64_t> behind_ids;
    std::vector<std::int32_t> rooms;
    for (const core::ReadPlan::Host& host : plan.hosts) {
        behind.push_back(host.behind.ready_at);
        behind_ids.push_back(host.behind.id);
        rooms.push_back(host.room);
    }
    return query.execute(
        {Parameter::of(std::string_view(plan.after_host)), Parameter::of(hosts),
         Parameter::of(static_cast<std::int32_t>(first - hosts.begin() + 1)),
         Parameter::of(plan.looks_at_all), Parameter::of(behind), Parameter::of(behind_ids),
         Parameter::of(plan.now), Parameter::of(plan.excluded), Parameter::of(rooms),
         Parameter::of(std::int32_t{plan.room}), Parameter::of(std::int32_t{plan.limit})});
}

}  // namespace

core::ReadRequests read_ready(const core::ReadPlan& plan) {
    core::ReadRequests ready;
    std::vector<Needs> needs;
    {
        Spi spi;
        const std::uint64_t found = query_ready(plan);
        ready.is_cut = found == static_cast<std::uint64_t>(plan.limit);
        ready.requests.reserve(found);
        needs.reserve(found);
        Portion portion(plan.max_bytes);
        Statement::each_row([&](const Row& row) {
            if (portion.is_full()) {
                ready.is_cut = true;
                return;
            }
            std::string host = row.as_text(2);
            if (!portion.has_room_for(host)) {
                ready.partial.insert(std::move(host));
                return;
            }
            ready.requests.push_back(queued_request(row));
            needs.push_back(needs_of(row));
            portion.add(ready.requests.back().body.size());
        });
    }
    put_all_secrets(ready.requests, needs);
    for (core::QueuedRequest& request : ready.requests) finish_headers(request);
    return ready;
}

std::vector<std::int64_t> not_in_queue(const std::vector<std::int64_t>& ids) {
    static Statement query(R"(
SELECT given.id FROM unnest($1) AS given (id)
 WHERE NOT EXISTS (SELECT FROM net.http_request_queue q WHERE q.id = given.id))");
    Spi spi;
    query.execute({Parameter::of(ids)});
    return Statement::ids();
}

std::optional<core::Instant> next_ready(const core::ReadPlan& plan) {
    static Statement query(with_found(R"(
SELECT min(r.ready_at)
  FROM found
 CROSS JOIN LATERAL (
       SELECT q.ready_at FROM net.http_request_queue q
        WHERE q.host = found.host AND q.ready_at > $5
        ORDER BY q.ready_at, q.id LIMIT 1) AS r
 WHERE found.host > $1)"),
                           Plan::by_keys);
    Spi spi;
    query.execute({Parameter::of(std::string_view()), Parameter::of(names_of(plan.hosts)),
                   Parameter::of(std::int32_t{1}), Parameter::of(true), Parameter::of(plan.now)});
    std::optional<core::Instant> next;
    Statement::each_row([&next](const Row& row) {
        if (!row.is_null(1) && row.as_instant(1) != core::kNever) next = row.as_instant(1);
    });
    return next;
}

}  // namespace securatlas::pg::requests
