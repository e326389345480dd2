// The error text of a failed transfer, and its outcome for the retry policy.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <string>

#include "securatlas/core/net/retry_policy.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::http {

// `sending_began`: a connection was established, and the request was sent or about to be sent.
core::Outcome outcome_of_failure(CURLcode code, bool sending_began);

// What a transfer was doing when it ended.
enum class Phase { resolving, connecting, exchanging };

// "Timeout of 5000 ms reached. Total time: ..." for a transfer that has just timed out. The steps
// add up to the total: the last one that was reached gets the remainder, and later ones zero,
// whatever libcurl reports. `earlier`: duration of earlier redirects, which counts as part of the
// exchange.
std::string timeout_text(CURL* easy, Phase reached, std::chrono::milliseconds timeout,
                         core::Duration earlier);

}  // namespace securatlas::http
