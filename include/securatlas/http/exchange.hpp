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

// One attempt to be made. The caller has checked the headers by the rules of core.
struct Request {
    core::RequestId id{};
    core::Method method = core::Method::get;
    core::Url url;
    std::vector<core::Header> headers{};  // framing headers (core::is_framing_header) are left out
    std::string body{};                   // any bytes; HEAD does not send it
    std::chrono::milliseconds timeout{5000};  // of everything; 1 ms to 1 h, else the nearest end
    std::size_t max_response_bytes = 1024 * 1024;
    // A kept-alive connection may turn out dead only after the request was sent on it. True: it is
    // sent again at once on a fresh one. False: the attempt ends as `broken`, and the request has
    // been sent once at most.
    bool may_resend = false;
};

// How the attempt ended: with a complete response (`error` is empty, status_code is set) or
// without one (`error` says why, nothing of the response is given). After redirects that were
// followed, all is about the last of them; but none of their failures is `unsent`.
struct Completed {
    core::RequestId id{};
    core::Outcome outcome = core::Outcome::answered;
    std::optional<int> status_code;
    std::vector<core::Header> headers;  // of the final response, in its order; no trailers
    std::optional<std::string> content_type;
    std::string body;        // unpacked if its Content-Encoding is gzip
    bool truncated = false;  // the body had more than max_response_bytes; the rest was not read
    std::optional<std::chrono::seconds> retry_after;  // what Retry-After asks to wait; may be < 0
    bool timed_out = false;  // also set if the time was up before sending began (outcome unsent)
    // "Timeout of 5000 ms reached. Total time: ..." or libcurl's name of the error ("Couldn't
    // connect to server"). With outcome `invalid` also "address is blocked by net.blocked_networks"
    // and what core::EgressPolicy::check() says.
    std::string error;
    // More of libcurl's words, with host and port; or the address or host. May be empty.
    std::string error_detail;
    core::Duration duration{0};  // with redirects
};

}  // namespace securatlas::http
