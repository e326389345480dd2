// Which roles have callbacks to be executed, and who executes them: a job worker of the role, one
// at a time. What it knows of a role comes from notices, from the reports of its workers, and from
// the table where these are missing; a role without callbacks that wait costs nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "cron/dispatcher.hpp"
#include "securatlas/core/time.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::app {

class SchedulerCallbacks {
  public:
    // Callbacks of the role wait, and are committed.
    void told(pg::RoleOid role);
    // Notices may be missing.
    void look_at_all() { look_at_all_ = true; }
    // A worker has an order of the role, from a former life of the scheduler.
    void adopt(pg::RoleOid role) { roles_[role].ordered = true; }
    // An order has ended, in whatever way.
    void ended(const pg::CallbackReport& report, double random);

    // Gives orders for what is due to the dispatcher. Callbacks of a role that no process can be
    // connected as are failed. Throws Error if the tables cannot be used; it is tried again after a
    // pause.
    void give_orders(Dispatcher& dispatcher);

    // How long until give_orders() has something to do; nullopt: nothing is known to come.
    std::optional<core::Duration> time_left() const;

  private:
    struct Role {
        core::Instant due = core::kNever;  // its first callback, as far as is known
        bool ordered = false;
        bool told = false;  // while it was ordered
        bool ask = false;   // what is due is to be read from the table
        core::Duration not_before{0};
        core::Duration pause{0};
    };
    struct Death {
        std::int64_t response;
        std::string error;
        double random;
    };

    void settle();
    void order(pg::RoleOid id, Role& role, Dispatcher& dispatcher);
    void fail_portion(pg::RoleOid id, Role& role, const std::string& error);

    std::unordered_map<pg::RoleOid, Role> roles_;
    std::vector<Death> deaths_;
    bool look_at_all_ = false;
    core::Duration try_at_{0};
};

}  // namespace securatlas::app
