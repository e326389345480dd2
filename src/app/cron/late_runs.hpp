// Tells alerts of runs that are late while they wait. It looks when the first of them may have
// become late, and never if no alert tells of late runs.
#pragma once

#include <optional>
#include <unordered_map>
#include <vector>

#include "cron/dispatcher.hpp"
#include "securatlas/core/time.hpp"
#include "securatlas/pg/cron/runs.hpp"

namespace securatlas::app {

class LateRuns {
  public:
    // These runs wait from now on. Needs a transaction.
    void add(const std::vector<pg::runs::RunRow>& runs, core::Duration monotonic_now);

    // Tells of those that have become late. What was told of a run stays with its order, so that
    // its worker does not tell it again. Throws Error if the tables cannot be used; it may be
    // called again after a pause.
    void tell(Dispatcher& dispatcher, core::Duration monotonic_now);

    // How long until tell() has something to do; nullopt: no run is known that may become late.
    std::optional<core::Duration> time_left(core::Duration monotonic_now) const;

  private:
    core::Instant look_at_ = core::kNever;  // no run becomes late before
    core::Duration not_before_{0};
    std::optional<core::Duration> shortest_;  // of all alerts; as read at shortest_read_at_
    std::optional<core::Duration> shortest_read_at_;
    // When runs that were looked at become late for the next alert.
    std::unordered_map<core::RunId, core::Instant> next_;
};

}  // namespace securatlas::app
