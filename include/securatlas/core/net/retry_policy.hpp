// Which attempts of a request are followed by another one.
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
    answered,   // a response that another attempt would not change: 2xx, 3xx, most of 4xx
    throttled,  // a response that says that nothing was done: 429, 503 with Retry-After
    unsettled,  // a response that may be another one next time: 408, 425, other 5xx
    unsent,     // nothing of the request was sent: name resolution, connect or TLS failed
    timed_out,  // the time was up after sending had begun
    broken,     // the connection or the protocol broke after sending had begun
    invalid,    // the request cannot be sent as it is, ever
};

// The outcome of an attempt that got a complete response.
Outcome outcome_of_status(int status, bool has_retry_after);

// Whether another attempt is due, as far as attempts are left. `has_own_key` says that the caller
// gave the request an idempotency key.
//
//   never       no
//   unsent      unsent, throttled
//   idempotent  these; and timed_out, broken, unsettled if the method is idempotent or
//               has_own_key
//   always      these, whatever the method
//
// `answered` and `invalid` are final in every mode.
bool should_retry(RetryMode mode, Outcome outcome, Method method, bool has_own_key);

// How long a server that asks for this wait (Retry-After) is left alone: kMaxRetryDelay at the
// most. nullopt: it asks for none.
std::optional<Duration> capped_retry_after(std::chrono::seconds asked);

}  // namespace securatlas::core
