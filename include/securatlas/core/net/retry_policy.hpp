// After which attempts a request is tried again.
#pragma once

#include <optional>
#include <string_view>

#include "securatlas/core/net/request.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::core {

// The request's `retry`.
enum class RetryMode { never, unsent, idempotent, always };

std::optional<RetryMode> parse_retry_mode(std::string_view text);
std::string_view retry_mode_name(RetryMode mode);

// How an attempt ended.
enum class Outcome {
    answered,   // a final response: 2xx, 3xx, most of 4xx
    throttled,  // the server refused to process it for now: 429, 503 with Retry-After
    unsettled,  // a response that may differ next time: 408, 425, other 5xx
    unsent,     // no part of the request was sent: name resolution, connect or TLS failed
    timed_out,  // the time limit was reached after sending had begun
    broken,     // the connection broke, or the protocol was violated, after sending had begun
    invalid,    // the request can never be sent as it is
};

// The outcome of an attempt that received a complete response.
Outcome outcome_of_status(int status, bool has_retry_after);

// Whether another attempt should follow, if any are left. `has_own_key`: the caller has given the
// request an idempotency key.
//
//   never       no
//   unsent      unsent, throttled
//   idempotent  these; and timed_out, broken, unsettled if the method is idempotent or
//               has_own_key
//   always      these, whatever the method
//
// `answered` and `invalid` are final in every mode.
bool should_retry(RetryMode mode, Outcome outcome, Method method, bool has_own_key);

// How long to wait for a server that asks for this wait (Retry-After): at most kMaxRetryDelay.
// nullopt: `asked` is not positive.
std::optional<Duration> capped_retry_after(std::chrono::seconds asked);

}  // namespace securatlas::core
