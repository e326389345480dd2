// Converts a row of the queue to an attempt, and the result of an attempt to what is recorded.
#pragma once

#include <cstddef>
#include <string>
#include <variant>

#include "securatlas/core/net/outbox.hpp"
#include "securatlas/core/net/retry_policy.hpp"
#include "securatlas/http/exchange.hpp"

namespace securatlas::http {

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
    std::int64_t place = 0;  // of its row
};

struct Prepared {
    Attempt attempt;
    Request request;
};

// For a row without a problem.
Prepared prepare_attempt(core::QueuedRequest row, std::size_t max_response_bytes);

// The end of the request, or its next attempt. `random` is in [0, 1).
using Verdict = std::variant<core::EndedRequest, core::RetriedRequest>;
Verdict judge(Completed completed, const Attempt& attempt, core::Instant now, double random);

// The result of an attempt that was not made, because a probe of its host has just failed.
Completed not_sent(core::RequestId id, std::string error);

// The end of a request whose row has a problem.
core::EndedRequest unsendable_response(const core::QueuedRequest& row);

// The end of a request that expired before it was sent; `attempts` is the number of earlier ones.
core::EndedRequest expired_response(core::RequestId id, int attempts);

}  // namespace securatlas::http
