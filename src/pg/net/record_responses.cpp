// Records how requests ended: removes them from the queue and inserts into net._http_response.
#include <algorithm>
#include <set>

#include "border/spi.hpp"
#include "border/table_insert.hpp"
#include "net/ended_rows.hpp"
#include "securatlas/core/net/header_rules.hpp"
#include "securatlas/pg/border/encoding.hpp"
#include "securatlas/pg/border/json.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/net/sealing.hpp"
#include "securatlas/pg/shared/progress.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "utils/lsyscache.h"
}

namespace securatlas::pg::requests {
namespace {

StoreResponse store_of(const EndedRow& ended) {
    if (ended.store_response.is_null) return StoreResponse::full;
    auto* text = reinterpret_cast<varlena*>(DatumGetPointer(ended.store_response.datum));
    const std::string_view name(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
    return parse_store_response(name).value_or(StoreResponse::full);
}

bool is_empty(const Value& text) {
    return text.is_null ||
           VARSIZE_ANY_EXHDR(reinterpret_cast<varlena*>(DatumGetPointer(text.datum))) == 0;
}

bool wants_callback(const EndedRow& ended) {
    return !is_empty(ended.on_response) && !ended.created_by.is_null;
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

void set(ResponseRow& row, Column column, const Value& value) {
    if (!value.is_null) row.set(column, value.datum);
}

void set_request(ResponseRow& row, const EndedRow& ended) {
    set(row, kMethod, ended.method);
    set(row, kUrl, ended.url);
    set(row, kHost, ended.host);
    set(row, kRequestedAt, ended.created);
    set(row, kRunId, ended.runid);
    if (!ended.runid.is_null) progress::request_ended(DatumGetInt64(ended.runid.datum));
    set(row, kCreatedBy, ended.created_by);
    if (!is_empty(ended.idempotency_key)) set(row, kIdempotencyKey, ended.idempotency_key);
    if (!is_empty(ended.on_response)) set(row, kOnResponse, ended.on_response);
    set(row, kOnResponseOwner, ended.on_response_owner);
}

void set_callback(ResponseRow& row, const EndedRow& ended, TimestampTz now) {
    row.set(kCallbackAttempts, Int32GetDatum(0));
    if (!wants_callback(ended)) return;
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

// Headers as jsonb. Responses of a server have mostly the same headers, but for the time of day.
class HeadersAsJsonb {
  public:
    Datum of(const std::vector<core::Header>& headers) {
        if (last_ == nullptr || *last_ != headers) {
            value_ = headers_as_jsonb(header_texts(headers));
            last_ = &headers;
        }
        return value_;
    }

  private:
    const std::vector<core::Header>* last_ = nullptr;
    Datum value_ = 0;
};

ResponseRow make_row(const core::EndedRequest& response, const EndedRow& ended,
                     HeadersAsJsonb& headers) {
    ResponseRow row;
    const StoreResponse store = store_of(ended);
    const TimestampTz now = GetCurrentTimestamp();
    row.set(kId, Int64GetDatum(static_cast<std::int64_t>(response.id)));
    row.set(kCreated, TimestampTzGetDatum(now));
    if (response.status_code) row.set(kStatusCode, Int32GetDatum(*response.status_code));
    if (response.error.empty() && store != StoreResponse::status) {
        if (response.content_type) {
            set(row, kContentType, Parameter::of(message_text(*response.content_type)));
        }
        row.set(kHeaders, headers.of(response.headers));
    }
    set_body(row, response, store);
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

// Whether an id has been found to have a response already. Looking for all of them takes long, and
// an INSERT notices by itself.
constinit bool ids_repeat = false;

Oid response_table() {
    return call(
        [] { return get_relname_relid("_http_response", get_namespace_oid("net", false)); });
}

}  // namespace

Recorded record_responses(const std::vector<core::EndedRequest>& responses) {
    Recorded recorded;
    if (responses.empty()) return recorded;
    std::vector<std::int64_t> ids;
    ids.reserve(responses.size());
    for (const core::EndedRequest& response : responses) {
        ids.push_back(static_cast<std::int64_t>(response.id));
    }
    const std::vector<EndedRow> all = take_rows(responses);
    std::set<std::int64_t> there;
    if (ids_repeat) there = already_there(ids);
    HeadersAsJsonb headers;
    std::vector<ResponseRow> rows;
    rows.reserve(all.size());
    std::vector<RoleOid>& roles = recorded.roles;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const EndedRow& ended = all[i];
        if (ended.state == EndedRow::State::locked) recorded.locked.push_back(ids[i]);
        if (ended.state != EndedRow::State::taken || there.contains(ids[i])) continue;
        rows.push_back(make_row(responses[i], ended, headers));
        if (!wants_callback(ended)) continue;
        const RoleOid role = DatumGetObjectId(ended.created_by.datum);
        if (std::find(roles.begin(), roles.end(), role) == roles.end()) roles.push_back(role);
    }
    std::vector<InsertedRow> inserted;
    inserted.reserve(rows.size());
    for (const ResponseRow& row : rows) inserted.push_back(row.row());
    try {
        insert_rows(response_table(), kColumnCount, inserted);
    } catch (const Error& error) {
        constexpr const char* kUniqueViolation = "23505";
        ids_repeat = ids_repeat || error.sqlstate() == kUniqueViolation;
        throw;
    }
    alerts::tell_requests(ids);
    return recorded;
}

}  // namespace securatlas::pg::requests
