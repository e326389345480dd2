// How late a process wakes that does nothing but wait: the limit for the start lag of runs. A timer
// becomes due a thousand times a second; who waits for it wakes another process, as a scheduler
// wakes a job worker, and that one notes how late it is.
// wake_limit SECONDS: prints the percentiles of what the second process saw, in ms.
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <vector>

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kPeriod = kSecond / 1000;

std::int64_t now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * kSecond + time.tv_nsec;
}

timespec to_timespec(std::int64_t time) { return {time / kSecond, time % kSecond}; }

// Waits for each instant, and wakes the other process.
int keep_time(int to_other, std::int64_t first, std::int64_t count) {
    setsid();  // as each process of PostgreSQL
    const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    for (std::int64_t i = 0; i < count; ++i) {
        const itimerspec at{{0, 0}, to_timespec(first + i * kPeriod)};
        timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, nullptr);
        std::uint64_t expirations = 0;
        if (read(timer, &expirations, sizeof expirations) < 0) return 1;
        const std::uint64_t one = 1;
        if (write(to_other, &one, sizeof one) < 0) return 1;
    }
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    const std::int64_t count = std::atoll(argv[1]) * (kSecond / kPeriod);
    const int woken = eventfd(0, EFD_CLOEXEC);
    const std::int64_t first = now() + kSecond / 10;
    const pid_t timekeeper = fork();
    if (timekeeper == 0) return keep_time(woken, first, count);
    std::vector<std::int64_t> late;
    while (static_cast<std::int64_t>(late.size()) < count) {
        std::uint64_t instants = 0;
        if (read(woken, &instants, sizeof instants) < 0) return 1;
        const std::int64_t at = now();
        // All that have passed since it last woke.
        for (; instants > 0; --instants) {
            late.push_back(at - (first + static_cast<std::int64_t>(late.size()) * kPeriod));
        }
    }
    waitpid(timekeeper, nullptr, 0);
    std::sort(late.begin(), late.end());
    const auto percentile = [&late](double part) {
        return static_cast<double>(
                   late[static_cast<std::size_t>(part * static_cast<double>(late.size() - 1))]) /
               1e6;
    };
    std::printf("p50 %.2f ms, p95 %.2f ms, p99 %.2f ms, worst %.2f ms\n", percentile(0.5),
                percentile(0.95), percentile(0.99), percentile(1));
}
