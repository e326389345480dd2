#include "failure.hpp"

#include <algorithm>
#include <array>
#include <cstdio>

namespace securatlas::http {

core::Outcome outcome_of_failure(CURLcode code, bool sending_began) {
    if (!sending_began) {
        const bool is_hopeless = code == CURLE_URL_MALFORMAT ||
                                 code == CURLE_UNSUPPORTED_PROTOCOL ||
                                 code == CURLE_BAD_FUNCTION_ARGUMENT || code == CURLE_LOGIN_DENIED;
        return is_hopeless ? core::Outcome::invalid : core::Outcome::unsent;
    }
    return code == CURLE_OPERATION_TIMEDOUT ? core::Outcome::timed_out : core::Outcome::broken;
}

namespace {

// Milliseconds from the start of the transfer until this step.
double milliseconds_until(CURL* easy, CURLINFO step) {
    curl_off_t microseconds = 0;
    curl_easy_getinfo(easy, step, &microseconds);
    return static_cast<double>(microseconds) / 1000.0;
}

}  // namespace

std::string timeout_text(CURL* easy, Phase reached, std::chrono::milliseconds timeout,
                         core::Duration earlier) {
    const double before = std::chrono::duration<double, std::milli>(earlier).count();
    const double total = milliseconds_until(easy, CURLINFO_TOTAL_TIME_T);
    const double resolved_at =
        reached == Phase::resolving
            ? total
            : std::min(milliseconds_until(easy, CURLINFO_NAMELOOKUP_TIME_T), total);
    const double ready_at =
        reached == Phase::exchanging
            ? std::clamp(milliseconds_until(easy, CURLINFO_PRETRANSFER_TIME_T), resolved_at, total)
            : total;
    const double dns = resolved_at;
    const double handshake = ready_at - resolved_at;
    const double exchange = total - ready_at + before;

    std::array<char, 256> text{};
    std::snprintf(text.data(), text.size(),
                  "Timeout of %lld ms reached. Total time: %f ms (DNS time: %f ms, TCP/SSL "
                  "handshake time: %f ms, HTTP Request/Response time: %f ms)",
                  static_cast<long long>(timeout.count()), total + before, dns, handshake,
                  exchange);
    return text.data();
}

}  // namespace securatlas::http
