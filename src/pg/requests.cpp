// The side of the catalog of requests that background processes use.
#include "securatlas/pg/requests.hpp"

#include "json.hpp"
#include "spi.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "storage/lmgr.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
}

namespace securatlas::pg::requests {
namespace {

std::int64_t number(core::RequestId id) { return static_cast<std::int64_t>(id); }

// A text as a setting of this process alone.
void set_for_process(const char* name, const char* value) {
    SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
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

void record_response(const Response& response) {
    // An id can be there already if somebody has set the sequence back; the group must not fail.
    static Statement statement(R"(
WITH ended AS (
    DELETE FROM net.http_request_queue WHERE id = $1 RETURNING id, method, url, runid, created_by)
INSERT INTO net._http_response (id, status_code, content_type, headers, content, timed_out,
                                error_msg, created, content_bytes, truncated, attempts,
                                duration_ms, method, url, runid, created_by)
SELECT id, $2, $3, $4, $5, $6, $7, clock_timestamp(), $8, $9, $10, $11, method, url, runid,
       created_by
  FROM ended
ON CONFLICT (id) DO NOTHING)");
    const bool answered = response.error.empty();
    const auto text = answered ? text_length(response) : std::nullopt;
    Parameter headers = Parameter::null(JSONBOID);
    if (answered) headers = {JSONBOID, headers_as_jsonb(response.headers), false};
    Parameter duration = Parameter::null(FLOAT8OID);
    if (response.duration) {
        const std::chrono::duration<double, std::milli> milliseconds = *response.duration;
        duration = {FLOAT8OID, call([&] { return Float8GetDatum(milliseconds.count()); }), false};
    }
    statement.execute(
        {Parameter::of(number(response.id)),
         response.status_code ? Parameter::of(std::int32_t{*response.status_code})
                              : Parameter::null(INT4OID),
         optional_text(response.content_type), headers,
         text ? Parameter::of(std::string_view(response.body).substr(0, *text))
              : Parameter::null(TEXTOID),
         Parameter::of(response.timed_out),
         answered ? Parameter::null(TEXTOID) : Parameter::of(std::string_view(response.error)),
         answered && !text ? Parameter::of_bytes(response.body) : Parameter::null(BYTEAOID),
         Parameter::of(response.truncated), Parameter::of(std::int32_t{response.attempts}),
         duration});
}

}  // namespace

void prepare_process() {
    call([] {
        for (const char* way : {"enable_seqscan", "enable_bitmapscan", "enable_sort"}) {
            set_for_process(way, "off");
        }
        // What a standby has not got is sent again by it, at worst; nobody has to wait for that.
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

bool may_have_requests() {
    static Statement query("SELECT EXISTS (SELECT FROM net.http_request_queue)");
    if (!try_lock()) return true;
    Spi spi;
    query.execute({});
    bool found = false;
    Statement::each_row([&found](const Row& row) { found = row.as_bool(1); });
    return found;
}

void record_responses(const std::vector<Response>& responses) {
    for (const Response& response : responses) {
        Spi spi;  // one for each, so that its memory goes with it
        record_response(response);
    }
}

void record_retries(const std::vector<Retry>& retries) {
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
    for (const Retry& retry : retries) {
        ids.push_back(number(retry.id));
        attempts.push_back(retry.attempts);
        ready_at.push_back(retry.ready_at);
        errors.push_back(retry.error);
    }
    Spi spi;
    statement.execute({Parameter::of(ids), Parameter::of(attempts), Parameter::of(ready_at),
                       Parameter::of(errors)});
}

std::uint64_t remove_responses(core::Instant before, int limit) {
    static Statement statement(R"(
DELETE FROM net._http_response WHERE id IN (
    SELECT id FROM net._http_response WHERE created < $1 ORDER BY created LIMIT $2))");
    Spi spi;
    return statement.execute({Parameter::of(before), Parameter::of(std::int32_t{limit})});
}

}  // namespace securatlas::pg::requests
