// Records how requests ended: removes them from the queue and inserts into net._http_response.
#include <algorithm>
#include <set>
#include <unordered_map>

#include "border/spi.hpp"
#include "border/table_insert.hpp"
#include "securatlas/core/net/header_rules.hpp"
#include "securatlas/pg/border/encoding.hpp"
#include "securatlas/pg/border/json.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/net/sealing.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "utils/lsyscache.h"
}

namespace securatlas::pg::requests {
namespace {

// The columns that a request passes on to its response.
struct Ended {
    std::string method;
    std::string url;
    std::optional<std::int64_t> run;
    std::optional<RoleOid> created_by;
    std::string idempotency_key;
    std::string on_response;  // empty: none
    std::optional<RoleOid> on_response_owner;
    std::string host;
    core::Instant created;
    StoreResponse store = StoreResponse::full;

    bool wants_callback() const { return !on_response.empty() && created_by.has_value(); }
};

std::unordered_map<std::int64_t, Ended> remove_requests(const std::vector<std::int64_t>& ids) {
    static Statement statement(R"(
DELETE FROM net.http_request_queue WHERE id = ANY ($1)
RETURNING id, method, url, runid, created_by, idempotency_key, on_response, store_response,
          on_response_owner, host, created)");
    std::unordered_map<std::int64_t, Ended> all;
    Spi spi;
    statement.execute({Parameter::of(ids)});
    Statement::each_row([&all](const Row& row) {
        Ended& ended = all[row.as_int64(1)];
        ended.method = row.as_text(2);
        ended.url = row.as_text(3);
        if (!row.is_null(4)) ended.run = row.as_int64(4);
        if (!row.is_null(5)) ended.created_by = row.as_oid(5);
        ended.idempotency_key = row.as_text(6);
        ended.on_response = row.as_text(7);
        ended.store = parse_store_response(row.as_text(8)).value_or(StoreResponse::full);
        if (!row.is_null(9)) ended.on_response_owner = row.as_oid(9);
        ended.host = row.as_text(10);
        ended.created = row.as_instant(11);
    });
    return all;
}

std::optional<std::string> body_text(const core::EndedRequest& response) {
    const std::string charset = core::charset(response.content_type.value_or(""));
    return to_database_text(response.body, charset, response.truncated);
}

// Makes the headers valid text of the database: libcurl returns whatever the server sent.
std::vector<core::Header> header_texts(std::vector<core::Header> headers) {
    for (core::Header& header : headers) {
        header.name = message_text(header.name);
        header.value = message_text(header.value);
    }
    return headers;
}

Parameter message_unless_empty(const std::string& text) {
    return text.empty() ? Parameter::null(TEXTOID) : Parameter::of(message_text(text));
}

Parameter text_unless_empty(const std::string& text) {
    return text.empty() ? Parameter::null(TEXTOID) : Parameter::of(std::string_view(text));
}

const char* state_of(const core::EndedRequest& response) {
    if (response.expired) return "expired";
    return response.status_code && *response.status_code < 400 ? "succeeded" : "failed";
}

// The columns that hold the body.
struct Body {
    Parameter text = Parameter::null(TEXTOID);
    Parameter bytes = Parameter::null(BYTEAOID);
    bool sealed = false;
    std::string error;  // why the body is missing
};

Body sealed_body(const core::EndedRequest& response) {
    Body body;
    const SealPurpose purpose{"response", std::to_string(static_cast<std::int64_t>(response.id))};
    try {
        body.bytes = Parameter::of_bytes(seal(response.body, purpose));
        body.sealed = true;
    } catch (const Error& error) {
        // Record the response without its body: repeating the attempt forever would delay all other
        // responses.
        body.error = "the body could not be encrypted: " + error.message();
        write_log(LogLevel::warning, "securatlas_sched http worker: " + body.error);
    }
    return body;
}

Body body_of(const core::EndedRequest& response, StoreResponse store) {
    if (!response.error.empty()) return {};
    switch (store) {
        case StoreResponse::headers:
        case StoreResponse::status:
            return {};
        case StoreResponse::sealed:
            return sealed_body(response);
        case StoreResponse::full:
            break;
    }
    Body body;
    if (const auto text = body_text(response)) {
        body.text = Parameter::of(*text);
    } else {
        body.bytes = Parameter::of_bytes(response.body);
    }
    return body;
}

enum Column : std::size_t {
    kId,
    kStatusCode,
    kContentType,
    kHeaders,
    kContent,
    kTimedOut,
    kErrorMsg,
    kCreated,
    kContentBytes,
    kTruncated,
    kAttempts,
    kDurationMs,
    kMethod,
    kUrl,
    kRunId,
    kCreatedBy,
    kCallbackState,
    kCallbackError,
    kState,
    kIdempotencyKey,
    kSealed,
    kOnResponse,
    kCallbackAttempts,
    kCallbackAt,
    kOnResponseOwner,
    kHost,
    kRequestedAt,
    kColumnCount
};
using ResponseRow = RowBuilder<kColumnCount>;

void set(ResponseRow& row, Column column, const Parameter& value) {
    if (!value.is_null) row.set(column, value.value);
}

void set_request(ResponseRow& row, const Ended& ended) {
    set(row, kMethod, Parameter::of(std::string_view(ended.method)));
    set(row, kUrl, Parameter::of(std::string_view(ended.url)));
    set(row, kHost, Parameter::of(std::string_view(ended.host)));
    set(row, kRequestedAt, Parameter::of(ended.created));
    if (ended.run) set(row, kRunId, Parameter::of(*ended.run));
    if (ended.created_by) set(row, kCreatedBy, Parameter::of_oid(*ended.created_by));
    set(row, kIdempotencyKey, text_unless_empty(ended.idempotency_key));
    set(row, kOnResponse, text_unless_empty(ended.on_response));
    if (ended.on_response_owner) {
        set(row, kOnResponseOwner, Parameter::of_oid(*ended.on_response_owner));
    }
}

void set_callback(ResponseRow& row, const Ended& ended, TimestampTz now) {
    row.set(kCallbackAttempts, Int32GetDatum(0));
    if (!ended.wants_callback()) return;
    set(row, kCallbackState, Parameter::of(std::string_view("waiting")));
    row.set(kCallbackAt, TimestampTzGetDatum(now));
}

void set_body(ResponseRow& row, const core::EndedRequest& response, StoreResponse store) {
    const Body body = body_of(response, store);
    set(row, kContent, body.text);
    set(row, kContentBytes, body.bytes);
    row.set(kSealed, BoolGetDatum(body.sealed));
    set(row, kErrorMsg, message_unless_empty(response.error.empty() ? body.error : response.error));
}

ResponseRow make_row(const core::EndedRequest& response, const Ended& ended) {
    ResponseRow row;
    const TimestampTz now = GetCurrentTimestamp();
    row.set(kId, Int64GetDatum(static_cast<std::int64_t>(response.id)));
    row.set(kCreated, TimestampTzGetDatum(now));
    if (response.status_code) row.set(kStatusCode, Int32GetDatum(*response.status_code));
    if (response.error.empty() && ended.store != StoreResponse::status) {
        if (response.content_type) {
            set(row, kContentType, Parameter::of(message_text(*response.content_type)));
        }
        row.set(kHeaders, headers_as_jsonb(header_texts(response.headers)));
    }
    set_body(row, response, ended.store);
    row.set(kTimedOut, BoolGetDatum(response.timed_out));
    row.set(kTruncated, BoolGetDatum(response.truncated));
    row.set(kAttempts, Int32GetDatum(response.attempts));
    if (response.duration) {
        const std::chrono::duration<double, std::milli> milliseconds = *response.duration;
        row.set(kDurationMs, Float8GetDatum(milliseconds.count()));
    }
    set(row, kState, Parameter::of(std::string_view(state_of(response))));
    set_request(row, ended);
    set_callback(row, ended, now);
    return row;
}

// Ids that already have a response, which happens if the sequence was set back. The others must not
// fail because of them.
std::set<std::int64_t> already_there(const std::vector<std::int64_t>& ids) {
    static Statement query("SELECT id FROM net._http_response WHERE id = ANY ($1)");
    Spi spi;
    query.execute({Parameter::of(ids)});
    std::set<std::int64_t> there;
    Statement::each_row([&there](const Row& row) { there.insert(row.as_int64(1)); });
    return there;
}

Oid response_table() {
    return call(
        [] { return get_relname_relid("_http_response", get_namespace_oid("net", false)); });
}

}  // namespace

std::vector<RoleOid> record_responses(const std::vector<core::EndedRequest>& responses) {
    std::vector<RoleOid> roles;
    if (responses.empty()) return roles;
    std::vector<std::int64_t> ids;
    ids.reserve(responses.size());
    for (const core::EndedRequest& response : responses) {
        ids.push_back(static_cast<std::int64_t>(response.id));
    }
    const auto all = remove_requests(ids);
    const auto there = already_there(ids);
    std::vector<ResponseRow> rows;
    for (const core::EndedRequest& response : responses) {
        const auto id = static_cast<std::int64_t>(response.id);
        const auto ended = all.find(id);
        if (ended == all.end() || there.contains(id)) continue;
        rows.push_back(make_row(response, ended->second));
        if (!ended->second.wants_callback()) continue;
        const RoleOid role = *ended->second.created_by;
        if (std::find(roles.begin(), roles.end(), role) == roles.end()) roles.push_back(role);
    }
    std::vector<InsertedRow> inserted;
    inserted.reserve(rows.size());
    for (const ResponseRow& row : rows) inserted.push_back(row.row());
    insert_rows(response_table(), kColumnCount, inserted);
    alerts::tell_requests(ids);
    return roles;
}

}  // namespace securatlas::pg::requests
