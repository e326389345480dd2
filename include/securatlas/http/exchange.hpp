// What goes into the engine, and what comes out of it.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "securatlas/core/net/request.hpp"
#include "securatlas/core/net/retry_policy.hpp"
#include "securatlas/core/net/url.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::http {

// One attempt to be made. The caller must have checked the headers (core::check_header).
struct Request {
    core::RequestId id{};
    core::Method method = core::Method::get;
    core::Url url;
    std::vector<core::Header> headers{};  // framing headers (core::is_framing_header) are left out
    std::string body{};                   // any bytes; HEAD does not send it
    std::chrono::milliseconds timeout{5000};  // of the whole attempt; clamped to 1 ms to 1 h
    std::size_t max_response_bytes = 1024 * 1024;
    // A kept-alive connection may turn out to be dead only after the request was sent on it. True:
    // the request is sent again at once on a new connection. False: the attempt ends as `broken`,
    // and the request has been sent at most once.
    bool may_resend = false;
};

// How an attempt ended: with a complete response (`error` is empty, status_code is set), or without
// one (`error` says why, and no part of a response is given). If redirects were followed,
// everything is about the last hop, except that its failure is never `unsent`.
struct Completed {
    core::RequestId id{};
    core::Outcome outcome = core::Outcome::answered;
    std::optional<int> status_code;
    std::vector<core::Header> headers;  // of the final response, in order; without trailers
    std::optional<std::string> content_type;
    std::string body;        // decoded if its Content-Encoding is gzip
    bool truncated = false;  // the body had more than max_response_bytes; the rest was not read
    // The wait that Retry-After asks for; may be negative.
    std::optional<std::chrono::seconds> retry_after;
    // Also set if the time limit was reached before sending began (outcome unsent).
    bool timed_out = false;
    // "Timeout of 5000 ms reached. Total time: ..." or libcurl's name of the error ("Couldn't
    // connect to server"); with outcome `invalid` also "address is blocked by net.blocked_networks"
    // or the message of core::EgressPolicy::check().
    std::string error;
    // libcurl's more detailed message, with host and port; or the address or host. May be empty.
    std::string error_detail;
    core::Duration duration{0};  // including redirects
};

}  // namespace securatlas::http
