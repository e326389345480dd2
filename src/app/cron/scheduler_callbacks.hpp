// Tracks which roles have callbacks to be called, or alerts that have something to tell, and orders
// a job worker of the role to do so, one order of each kind at a time for each role. It learns of
// them by notices and by reports of workers, and reads the table only where these are missing.
// Roles for which nothing waits cost nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "cron/dispatcher.hpp"
#include "securatlas/core/time.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::app {

class SchedulerCallbacks {
  public:
    // Of which calls it takes care.
    explicit SchedulerCallbacks(pg::Calls calls) : calls_(calls) {}

    // Waiting callbacks of the role were committed.
    void notified(pg::RoleOid role);
    // Notices may have been lost: reads the table.
    void look_at_all() { look_at_all_ = true; }
    // The clock was ahead: what waits may wait for a time of that clock.
    void clock_set_back();
    // A worker has an order of the role that an earlier scheduler gave.
    void adopt(pg::RoleOid role) { roles_[role].ordered = true; }
    // An order has ended, successfully or not.
    void ended(const pg::CallbackReport& report, double random);

    // Gives orders for due callbacks to the dispatcher. Marks the callbacks of roles as failed that
    // no process can connect as. Throws Error if the tables cannot be used; it may be called again
    // after a pause.
    void give_orders(Dispatcher& dispatcher);

    // How long until give_orders() has something to do; nullopt: no callbacks are known to wait.
    std::optional<core::Duration> time_left() const;

  private:
    struct Role {
        core::Instant due = core::kNever;  // of its first callback, as far as known
        bool ordered = false;
        bool notified_again = false;   // while a worker had an order
        bool ask = false;              // `due` has to be read from the table
        bool clock_was_ahead = false;  // times in the table have to be corrected first
        core::Duration not_before{0};
        core::Duration pause{0};
    };
    struct Death {
        std::int64_t response;
        std::string error;
        double random;
    };

    pg::Tables tables() const;
    bool try_lock() const;
    void settle();
    static void distrust(Role& role);
    bool correct_future(pg::RoleOid id, Role& role);
    void order(pg::RoleOid id, Role& role, Dispatcher& dispatcher);
    void fail_portion(pg::RoleOid id, Role& role, const std::string& error);

    pg::Calls calls_;
    std::unordered_map<pg::RoleOid, Role> roles_;
    std::vector<Death> deaths_;
    bool look_at_all_ = false;
    core::Duration try_at_{0};
};

}  // namespace securatlas::app
