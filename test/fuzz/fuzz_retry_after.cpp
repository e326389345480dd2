// Whatever the header says, the wait is between 0 and an hour. The first 8 bytes are the time.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "securatlas/core/backoff.hpp"
#include "securatlas/core/net/retry_policy.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::int64_t now = 0;
    if (size < sizeof now) return 0;
    std::memcpy(&now, data, sizeof now);
    const std::string_view value(reinterpret_cast<const char*>(data + sizeof now),
                                 size - sizeof now);

    using securatlas::core::Duration;
    using securatlas::core::Instant;
    const auto wait = securatlas::core::parse_retry_after(value, Instant(Duration(now)));
    if (wait && (*wait < Duration(0) || *wait > securatlas::core::kMaxRetryDelay)) std::abort();
    return 0;
}
