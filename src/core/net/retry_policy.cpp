#include "securatlas/core/net/retry_policy.hpp"

#include <array>

#include "securatlas/core/backoff.hpp"

namespace securatlas::core {

std::string_view retry_mode_name(RetryMode mode) {
    switch (mode) {
        case RetryMode::never:
            return "never";
        case RetryMode::unsent:
            return "unsent";
        case RetryMode::idempotent:
            return "idempotent";
        case RetryMode::always:
            return "always";
    }
    return "";
}

std::optional<RetryMode> parse_retry_mode(std::string_view text) {
    constexpr std::array kAll = {RetryMode::never, RetryMode::unsent, RetryMode::idempotent,
                                 RetryMode::always};
    for (const RetryMode mode : kAll) {
        if (text == retry_mode_name(mode)) return mode;
    }
    return std::nullopt;
}

Outcome outcome_of_status(int status, bool has_retry_after) {
    if (status == 429 || (status == 503 && has_retry_after)) return Outcome::throttled;
    if (status == 408 || status == 425 || status >= 500) return Outcome::unsettled;
    return Outcome::answered;
}

namespace {

bool retry_if_maybe_processed(RetryMode mode, Method method, bool has_own_key) {
    switch (mode) {
        case RetryMode::never:
        case RetryMode::unsent:
            return false;
        case RetryMode::idempotent:
            return is_idempotent(method) || has_own_key;
        case RetryMode::always:
            return true;
    }
    return false;
}

}  // namespace

std::optional<Duration> capped_retry_after(std::chrono::seconds asked) {
    if (asked.count() <= 0) return std::nullopt;
    if (asked >= std::chrono::floor<std::chrono::seconds>(kMaxRetryDelay)) return kMaxRetryDelay;
    return asked;
}

bool should_retry(RetryMode mode, Outcome outcome, Method method, bool has_own_key) {
    switch (outcome) {
        case Outcome::answered:
        case Outcome::invalid:
            return false;
        case Outcome::unsent:
        case Outcome::throttled:
            return mode != RetryMode::never;
        case Outcome::timed_out:
        case Outcome::broken:
        case Outcome::unsettled:
            return retry_if_maybe_processed(mode, method, has_own_key);
    }
    return false;
}

}  // namespace securatlas::core
