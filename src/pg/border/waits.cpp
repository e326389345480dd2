#include "securatlas/pg/border/waits.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "securatlas/pg/border/prelude.hpp"

namespace securatlas::pg {
namespace {

// In the order of Wait.
constexpr const char* kNames[] = {
    "CronLauncherMain", "CronSchedulerMain",    "CronUpdate",  "CronWorkerIdle",  "CronWorkerLock",
    "NetWorkerMain",    "SecuratlasErrorPause", "NetResponse", "CronDatabaseEnd",
};
static_assert(std::size(kNames) == static_cast<std::size_t>(Wait::database_end) + 1);

constinit std::array<std::uint32_t, std::size(kNames)> events{};

}  // namespace

std::uint32_t wait_event(Wait wait) noexcept { return events[static_cast<std::size_t>(wait)]; }

void name_waits() { std::ranges::transform(kNames, events.begin(), new_wait_event); }

}  // namespace securatlas::pg
