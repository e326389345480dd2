#include "securatlas/core/backoff.hpp"

#include <algorithm>

namespace securatlas::core {

namespace {

Duration doubled(Duration first, int attempt) {
    Duration delay = std::clamp(first, Duration(0), kMaxRetryDelay);
    for (int n = 1; n < attempt && delay > Duration(0) && delay < kMaxRetryDelay; ++n) delay *= 2;
    return std::min(delay, kMaxRetryDelay);
}

// Written so that NaN becomes 0.
double to_unit(double random) { return random > 0.0 ? std::min(random, 1.0) : 0.0; }

Duration scaled(Duration delay, double factor) {
    return Duration(static_cast<Duration::rep>(static_cast<double>(delay.count()) * factor));
}

}  // namespace

Duration retry_delay(Duration period, int attempt, double random) {
    return scaled(doubled(period, attempt), 0.75 + 0.5 * to_unit(random));
}

Duration request_retry_delay(int attempt, double random) {
    return scaled(doubled(kFirstRequestDelay, attempt), to_unit(random));
}

}  // namespace securatlas::core
