// What a failed transfer is called, and what it means for another attempt.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <string>

#include "securatlas/core/net/retry_policy.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::http {

// `sending_began`: a connection stood and the request was about to go out, if it did not.
core::Outcome outcome_of_failure(CURLcode code, bool sending_began);

// What a transfer was about when it ended.
enum class Phase { resolving, connecting, exchanging };

// "Timeout of 5000 ms reached. Total time: ..." for a transfer that has just timed out. The steps
// add up to the total; the last that was reached gets what is left, and those behind it nothing,
// whatever libcurl's clock says of them. `earlier`: the time of redirects before, part of the
// exchange.
std::string timeout_text(CURL* easy, Phase reached, std::chrono::milliseconds timeout,
                         core::Duration earlier);

}  // namespace securatlas::http
