// What passes between the queue of requests, which is a table, and what sends them.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "securatlas/core/net/request.hpp"
#include "securatlas/core/net/retry_policy.hpp"
#include "securatlas/core/net/url.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::core {

// A row of the queue, ready to be sent: with its sealed headers decrypted and its secrets inserted.
struct QueuedRequest {
    RequestId id{};
    std::string host;
    Method method = Method::get;
    std::optional<Url> url;  // set if `problem` is empty
    std::vector<Header> headers;
    std::string body;
    std::chrono::milliseconds timeout{};
    Instant ready_at = kLongAgo;
    int attempts = 0;  // that have ended
    int max_attempts = 0;
    RetryMode retry = RetryMode::never;
    Instant expires_at = kNever;
    std::string idempotency_key;
    bool own_key = false;    // the caller has given the key
    std::string problem;     // why the row cannot be sent; empty if it can
    std::int64_t place = 0;  // where the table has the row; 0: unknown
};

// What to read: for each host after `after_host` (all hosts if that is empty) the oldest requests
// that may be sent at `now`, except those in `excluded`.
struct ReadPlan {
    // The last request of a host that was read.
    struct Position {
        Instant ready_at = kLongAgo;
        std::int64_t id = INT64_MIN;
    };
    struct Host {
        std::string host;
        Position behind;  // only requests that come later in the order of ready_at and id
        int room = 0;     // how many
    };
    Instant now;
    std::string after_host;
    std::vector<Host> hosts;    // in the order of their names
    bool looks_at_all = false;  // at hosts that are not in `hosts` as well
    int room = 1;               // of hosts that are not in `hosts`
    int limit = 1;              // for all hosts together
    std::size_t max_bytes =
        0;  // of bodies; one host gets half of it, and the last body may exceed it
    std::vector<std::int64_t> excluded;
};
struct ReadRequests {
    std::vector<QueuedRequest> requests;  // host after host
    std::set<std::string> partial;        // hosts with more requests than were read
    bool is_cut = false;                  // hosts after the last one were not examined
};
// What statistics count of an attempt, or of the end of a request that was not sent.
struct AttemptFigures {
    std::string host;
    std::optional<Duration> duration{};  // nullopt: nothing was sent
    std::size_t bytes_out = 0;           // of bodies
    std::size_t bytes_in = 0;
};

// How a request ended: with a response or with an error.
struct EndedRequest {
    RequestId id{};
    std::optional<int> status_code;
    std::optional<std::string> content_type;
    std::vector<Header> headers;
    std::string body;  // any bytes
    bool truncated = false;
    bool timed_out = false;
    std::string error;     // empty: there is a response
    bool expired = false;  // expires_at was reached before it was sent
    int attempts = 0;
    std::optional<Duration> duration;  // of the last attempt
    std::int64_t place = 0;            // where the row was when it was read; 0: unknown
    AttemptFigures figures{};
};

// A request that is to be tried again.
struct RetriedRequest {
    RequestId id{};
    int attempts = 0;
    Instant ready_at;
    std::string error;
    AttemptFigures figures{};
};

}  // namespace securatlas::core
