// How requests ended: out of the queue, into net._http_response.
#include <algorithm>
#include <unordered_map>

#include "json.hpp"
#include "securatlas/pg/process.hpp"
#include "securatlas/pg/requests.hpp"
#include "securatlas/pg/sealing.hpp"
#include "spi.hpp"

namespace securatlas::pg::requests {
namespace {

// What a request that has left the queue passes on to its response.
struct Ended {
    std::string method;
    std::string url;
    std::optional<std::int64_t> run;
    std::optional<RoleOid> created_by;
    std::string idempotency_key;
    std::string on_response;  // empty: none
    StoreResponse store = StoreResponse::full;
};

std::unordered_map<std::int64_t, Ended> take_out(const std::vector<Response>& responses) {
    static Statement statement(R"(
DELETE FROM net.http_request_queue WHERE id = ANY ($1)
RETURNING id, method, url, runid, created_by, idempotency_key, on_response, store_response)");
    std::vector<std::int64_t> ids;
    ids.reserve(responses.size());
    for (const Response& response : responses)
        ids.push_back(static_cast<std::int64_t>(response.id));
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
    });
    return all;
}

// The length of the text in the database's encoding that the body is; nullopt: it is none. A body
// that was cut may have been cut within a character, which is left out.
std::optional<std::size_t> text_length(const Response& response) {
    constexpr std::size_t kLongestCharacter = 4;
    const std::string& body = response.body;
    const auto valid = static_cast<std::size_t>(
        pg_encoding_verifymbstr(GetDatabaseEncoding(), body.data(), static_cast<int>(body.size())));
    if (valid == body.size()) return valid;
    if (response.truncated && body.size() - valid < kLongestCharacter) return valid;
    return std::nullopt;
}

// The text as the database can hold it: libcurl passes on what the server sent.
Parameter optional_text(const std::optional<std::string>& text) {
    if (!text) return Parameter::null(TEXTOID);
    const int length = static_cast<int>(text->size());
    if (pg_verify_mbstr(GetDatabaseEncoding(), text->data(), length, true)) {
        return Parameter::of(std::string_view(*text));
    }
    return Parameter::null(TEXTOID);
}

Parameter text_unless_empty(const std::string& text) {
    return text.empty() ? Parameter::null(TEXTOID) : Parameter::of(std::string_view(text));
}

const char* state_of(const Response& response) {
    if (response.expired) return "expired";
    return response.status_code && *response.status_code < 400 ? "succeeded" : "failed";
}

// The columns that hold the body.
struct Body {
    Parameter text = Parameter::null(TEXTOID);
    Parameter bytes = Parameter::null(BYTEAOID);
    bool sealed = false;
    std::string error;  // why it is missing
};

Body sealed_body(const Response& response) {
    Body body;
    const SealPurpose purpose{"response", std::to_string(static_cast<std::int64_t>(response.id))};
    try {
        body.bytes = Parameter::of_bytes(seal(response.body, purpose));
        body.sealed = true;
    } catch (const Error& error) {
        // Trying again forever would hold up all other responses.
        body.error = "the body could not be encrypted: " + error.message();
        write_log(LogLevel::warning, "securatlas_sched http worker: " + body.error);
    }
    return body;
}

Body body_of(const Response& response, StoreResponse store) {
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
    if (const auto text = text_length(response)) {
        body.text = Parameter::of(std::string_view(response.body).substr(0, *text));
    } else {
        body.bytes = Parameter::of_bytes(response.body);
    }
    return body;
}

Parameter milliseconds_of(const std::optional<core::Duration>& duration) {
    if (!duration) return Parameter::null(FLOAT8OID);
    const std::chrono::duration<double, std::milli> milliseconds = *duration;
    return {FLOAT8OID, call([&] { return Float8GetDatum(milliseconds.count()); }), false};
}

void put_in(const Response& response, const Ended& ended) {
    // An id can be there already if somebody has set the sequence back; the group must not fail.
    static Statement statement(R"(
INSERT INTO net._http_response
       (id, status_code, content_type, headers, content, timed_out, error_msg, created,
        content_bytes, truncated, attempts, duration_ms, method, url, runid, created_by,
        callback_state, state, idempotency_key, sealed, on_response, callback_at)
SELECT $1, $2, $3, $4, $5, $6, $7, t.now, $8, $9, $10, $11, $12, $13, $14, $15,
       CASE WHEN $19 IS NOT NULL AND $15 IS NOT NULL THEN 'waiting' END, $16, $17, $18, $19,
       CASE WHEN $19 IS NOT NULL AND $15 IS NOT NULL THEN t.now END
  FROM (SELECT clock_timestamp() AS now) AS t
ON CONFLICT (id) DO NOTHING)");
    const bool shows_headers = response.error.empty() && ended.store != StoreResponse::status;
    const Body body = body_of(response, ended.store);
    Parameter headers = Parameter::null(JSONBOID);
    if (shows_headers) headers = {JSONBOID, headers_as_jsonb(response.headers), false};
    statement.execute(
        {Parameter::of(static_cast<std::int64_t>(response.id)),
         response.status_code ? Parameter::of(std::int32_t{*response.status_code})
                              : Parameter::null(INT4OID),
         shows_headers ? optional_text(response.content_type) : Parameter::null(TEXTOID), headers,
         body.text, Parameter::of(response.timed_out),
         text_unless_empty(response.error.empty() ? body.error : response.error), body.bytes,
         Parameter::of(response.truncated), Parameter::of(std::int32_t{response.attempts}),
         milliseconds_of(response.duration), Parameter::of(std::string_view(ended.method)),
         Parameter::of(std::string_view(ended.url)),
         ended.run ? Parameter::of(*ended.run) : Parameter::null(INT8OID),
         ended.created_by ? Parameter::of_oid(*ended.created_by) : Parameter::null(OIDOID),
         Parameter::of(std::string_view(state_of(response))),
         text_unless_empty(ended.idempotency_key), Parameter::of(body.sealed),
         text_unless_empty(ended.on_response)});
}

}  // namespace

std::vector<RoleOid> record_responses(const std::vector<Response>& responses) {
    std::vector<RoleOid> roles;
    if (responses.empty()) return roles;
    const auto all = take_out(responses);
    for (const Response& response : responses) {
        const auto ended = all.find(static_cast<std::int64_t>(response.id));
        if (ended == all.end()) continue;
        Spi spi;  // one for each, so that its memory goes with it
        put_in(response, ended->second);
        if (ended->second.on_response.empty() || !ended->second.created_by) continue;
        const RoleOid role = *ended->second.created_by;
        if (std::find(roles.begin(), roles.end(), role) == roles.end()) roles.push_back(role);
    }
    return roles;
}

}  // namespace securatlas::pg::requests
