#include "attempt.hpp"

#include "securatlas/core/backoff.hpp"

namespace securatlas::http {
namespace {

// The wait that the response asks for, else backoff.
core::Duration delay(const Completed& completed, const Attempt& attempt, double random) {
    if (completed.retry_after) {
        if (const auto asked = core::capped_retry_after(*completed.retry_after)) return *asked;
    }
    return core::request_retry_delay(attempt.number, random);
}

std::string failure_text(const Completed& completed) {
    if (completed.status_code) return "status " + std::to_string(*completed.status_code);
    if (completed.error_detail.empty()) return completed.error;
    return completed.error + ": " + completed.error_detail;
}

core::EndedRequest failed_response(core::RequestId id, int attempts, std::string error) {
    core::EndedRequest response;
    response.id = id;
    response.error = std::move(error);
    response.attempts = attempts;
    return response;
}

}  // namespace

Prepared prepare_attempt(core::QueuedRequest row, std::size_t max_response_bytes) {
    const bool may_resend =
        core::should_retry(row.retry, core::Outcome::broken, row.method, row.own_key);
    Attempt attempt{.host = std::move(row.host),
                    .bytes = row.body.size(),
                    .method = row.method,
                    .retry = row.retry,
                    .own_key = row.own_key,
                    .number = row.attempts + 1,
                    .max = row.max_attempts,
                    .is_probe = false,
                    .place = row.place};
    return {std::move(attempt),
            {.id = row.id,
             .method = row.method,
             .url = std::move(*row.url),
             .headers = std::move(row.headers),
             .body = std::move(row.body),
             .timeout = row.timeout,
             .max_response_bytes = max_response_bytes,
             .may_resend = may_resend}};
}

Verdict judge(Completed completed, const Attempt& attempt, core::Instant now, double random) {
    const bool again =
        attempt.number < attempt.max &&
        core::should_retry(attempt.retry, completed.outcome, attempt.method, attempt.own_key);
    if (again) {
        return core::RetriedRequest{.id = completed.id,
                                    .attempts = attempt.number,
                                    .ready_at = now + delay(completed, attempt, random),
                                    .error = failure_text(completed)};
    }
    return core::EndedRequest{.id = completed.id,
                              .status_code = completed.status_code,
                              .content_type = std::move(completed.content_type),
                              .headers = std::move(completed.headers),
                              .body = std::move(completed.body),
                              .truncated = completed.truncated,
                              .timed_out = completed.timed_out,
                              .error = std::move(completed.error),
                              .attempts = attempt.number,
                              .duration = completed.duration,
                              .place = attempt.place};
}

Completed not_sent(core::RequestId id, std::string error) {
    Completed completed;
    completed.id = id;
    completed.outcome = core::Outcome::unsent;
    completed.error = std::move(error);
    return completed;
}

core::EndedRequest expired_response(core::RequestId id, int attempts) {
    core::EndedRequest response =
        failed_response(id, attempts, "request expired before it was sent");
    response.expired = true;
    return response;
}

core::EndedRequest unsendable_response(const core::QueuedRequest& row) {
    return failed_response(row.id, row.attempts, "request cannot be sent: " + row.problem);
}

}  // namespace securatlas::http
