// Converts a row of the queue to an attempt, and the result of an attempt to what is recorded.
#pragma once

#include <cstddef>
#include <string>
#include <variant>

#include "securatlas/core/net/retry_policy.hpp"
#include "securatlas/core/result.hpp"
#include "securatlas/http/exchange.hpp"
#include "securatlas/pg/net/requests.hpp"

namespace securatlas::app {

// What the worker keeps of a request while the engine has it.
struct Attempt {
    std::string host;
    std::size_t bytes = 0;  // of its body
    core::Method method = core::Method::get;
    core::RetryMode retry = core::RetryMode::unsent;
    bool own_key = false;
    int number = 1;  // 1 is the first
    int max = 1;
    bool is_probe = false;
};

struct Prepared {
    Attempt attempt;
    http::Request request;
};

// The error says what is wrong with the row.
core::Result<Prepared, std::string> prepare_attempt(pg::requests::QueuedRequest row,
                                                    std::size_t max_response_bytes);

// The end of the request, or its next attempt. `random` is in [0, 1).
using Verdict = std::variant<pg::requests::Response, pg::requests::Retry>;
Verdict judge(http::Completed completed, const Attempt& attempt, core::Instant now, double random);

// The result of an attempt that was not made, because a probe of its host has just failed.
http::Completed not_sent(core::RequestId id, std::string error);

// The end of a request that cannot be sent; `attempts` is the number of earlier attempts.
pg::requests::Response failed_response(core::RequestId id, int attempts, std::string error);

// The same for a request that expired before it was sent.
pg::requests::Response expired_response(core::RequestId id, int attempts);

}  // namespace securatlas::app
