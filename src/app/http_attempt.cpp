#include "http_attempt.hpp"

#include "securatlas/core/backoff.hpp"
#include "securatlas/core/header_rules.hpp"
#include "securatlas/core/url.hpp"

namespace securatlas::app {
namespace {

constexpr const char* kKeyHeader = "Idempotency-Key";

core::Failure<std::string> damaged(std::string_view what) {
    return core::Failure{"request cannot be sent: " + std::string(what)};
}

// Of the response: what Retry-After asks, else backoff.
core::Duration delay(const http::Completed& completed, const Attempt& attempt, core::Instant now,
                     double random) {
    if (const auto* asked = core::find_header(completed.headers, "Retry-After")) {
        if (const auto wait = core::parse_retry_after(*asked, now)) return *wait;
    }
    return core::request_retry_delay(attempt.number, random);
}

std::string failure_text(const http::Completed& completed) {
    if (completed.status_code) return "status " + std::to_string(*completed.status_code);
    if (completed.error_detail.empty()) return completed.error;
    return completed.error + ": " + completed.error_detail;
}

}  // namespace

core::Result<Prepared, std::string> prepare_attempt(pg::requests::QueuedRequest row,
                                                    std::size_t max_response_bytes) {
    const auto method = core::parse_method(row.method);
    if (!method) return damaged("unknown method");
    auto url = core::Url::parse(row.url);
    if (!url) return damaged(url.error().message);
    if (!row.headers) return damaged("headers are not an object of texts");
    const auto retry = core::parse_retry_mode(row.retry);
    if (!retry) return damaged("unknown retry mode");
    if (!row.idempotency_key.empty() && core::find_header(*row.headers, kKeyHeader) == nullptr) {
        row.headers->push_back({kKeyHeader, row.idempotency_key});
    }
    for (const core::Header& header : *row.headers) {
        if (const auto error = core::check_header(header)) return damaged(error->message);
    }
    const Attempt attempt{*method, *retry, row.attempts + 1, row.max_attempts};
    return Prepared{
        attempt,
        {.id = row.id,
         .method = *method,
         .url = url->text(),
         .headers = std::move(*row.headers),
         .body = std::move(row.body),
         .timeout = row.timeout,
         .max_response_bytes = max_response_bytes,
         .may_resend = core::should_retry(*retry, core::Outcome::broken, *method, false)}};
}

Verdict judge(http::Completed completed, const Attempt& attempt, core::Instant now, double random) {
    const bool again = attempt.number < attempt.max &&
                       core::should_retry(attempt.retry, completed.outcome, attempt.method, false);
    if (again) {
        return pg::requests::Retry{.id = completed.id,
                                   .attempts = attempt.number,
                                   .ready_at = now + delay(completed, attempt, now, random),
                                   .error = failure_text(completed)};
    }
    return pg::requests::Response{.id = completed.id,
                                  .status_code = completed.status_code,
                                  .content_type = std::move(completed.content_type),
                                  .headers = std::move(completed.headers),
                                  .body = std::move(completed.body),
                                  .truncated = completed.truncated,
                                  .timed_out = completed.timed_out,
                                  .error = std::move(completed.error),
                                  .attempts = attempt.number,
                                  .duration = completed.duration};
}

pg::requests::Response failed_response(core::RequestId id, int attempts, std::string error) {
    pg::requests::Response response;
    response.id = id;
    response.error = std::move(error);
    response.attempts = attempts;
    return response;
}

}  // namespace securatlas::app
