// What is kept of hosts does not grow with the requests that are sent to them.
#include <gtest/gtest.h>
#include <malloc.h>

#include "securatlas/core/net/host_limits.hpp"

#if defined(__SANITIZE_ADDRESS__)
extern "C" std::size_t __sanitizer_get_current_allocated_bytes();
#endif

namespace securatlas::core {
namespace {

using std::chrono::milliseconds;

std::size_t allocated() {
#if defined(__SANITIZE_ADDRESS__)
    return __sanitizer_get_current_allocated_bytes();
#else
    return mallinfo2().uordblks + mallinfo2().hblkhd;
#endif
}

TEST(HostLimitsMemory, IsTheSameHoweverManyRequestsWereSent) {
    HostLimits limits({.max_total = 64, .max_per_host = 10, .requests_per_second = 100.0});
    Duration now = std::chrono::seconds(1000);
    int started = 0;
    const auto send = [&](int requests) {
        for (int i = 0; i < requests; ++i) {
            now += milliseconds(10);
            // As the worker does: all that the rate allows, and one that has to wait.
            while (std::holds_alternative<StartNow>(limits.decide("a", now, now))) {
                ++started;
                limits.ended("a", false, Outcome::answered, milliseconds(1), "", now, 0.5);
            }
        }
    };
    send(1000);
    const std::size_t before = allocated();
    send(50000);
    EXPECT_GT(started, 50000);
    EXPECT_LT(allocated(), before + 10000);
}

}  // namespace
}  // namespace securatlas::core
