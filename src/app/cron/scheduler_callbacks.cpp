#include "cron/scheduler_callbacks.hpp"

#include <algorithm>
#include <utility>

#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/net/callbacks.hpp"
#include "securatlas/pg/net/requests.hpp"

namespace securatlas::app {
namespace {

constexpr core::Duration kFirstPause = std::chrono::seconds(1);
constexpr core::Duration kLongestPause = std::chrono::minutes(1);
constexpr int kFailAtOnce = 1000;

}  // namespace

pg::Tables SchedulerCallbacks::tables() const {
    return calls_ == pg::Calls::alerts ? pg::Tables::cron : pg::Tables::net;
}

bool SchedulerCallbacks::try_lock() const {
    return calls_ == pg::Calls::alerts ? pg::alerts::try_lock() : pg::requests::try_lock();
}

void SchedulerCallbacks::notified(pg::RoleOid id) {
    Role& role = roles_[id];
    if (role.ordered) {
        role.notified_again = true;
    } else {
        role.due = std::min(role.due, pg::now());
    }
}

void SchedulerCallbacks::clock_set_back() {
    for (auto& [id, role] : roles_) distrust(role);
}

// If a worker has an order of the role, when it has ended: what the worker writes may have the
// wrong time, too.
void SchedulerCallbacks::distrust(Role& role) {
    role.clock_was_ahead = true;
    if (role.ordered) {
        role.notified_again = true;
    } else {
        role.due = pg::now();
    }
}

void SchedulerCallbacks::ended(const pg::CallbackReport& report, double random) {
    Role& role = roles_[report.order.role];
    role.ordered = false;
    const bool was_notified = std::exchange(role.notified_again, false);
    if (report.finished) {
        role.pause = core::Duration(0);
        role.due = was_notified ? std::min(report.next_due, pg::now()) : report.next_due;
        if (role.due == core::kNever) roles_.erase(report.order.role);
        return;
    }
    // The worker died, did not start, or could not read the table, so that the next due time is not
    // known.
    role.ask = true;
    role.due = pg::now();
    if (report.interrupted) {
        // The interrupted callback has used up an attempt; the others wait for a short pause only.
        if (!report.interrupted->is_counted) {
            deaths_.push_back(
                {report.interrupted->response,
                 "ERROR: the process that called it ended: " + std::string(report.message.data()),
                 random});
        }
        role.pause = kFirstPause;
    } else {
        role.pause =
            role.pause == core::Duration(0) ? kFirstPause : std::min(role.pause * 2, kLongestPause);
    }
    role.not_before = pg::monotonic_now() + role.pause;
}

void SchedulerCallbacks::give_orders(Dispatcher& dispatcher) {
    const core::Duration monotonic = pg::monotonic_now();
    if (time_left().value_or(kFirstPause) > core::Duration(0)) return;
    try_at_ = monotonic + kFirstPause;  // in case of an error
    if (look_at_all_ || !deaths_.empty()) settle();
    if (look_at_all_ || !deaths_.empty()) return;
    const core::Instant now = pg::now();
    std::vector<pg::RoleOid> due;
    for (const auto& [id, role] : roles_) {
        if (!role.ordered && role.due <= now && role.not_before <= monotonic) due.push_back(id);
    }
    for (const pg::RoleOid id : due) order(id, roles_[id], dispatcher);
    std::erase_if(roles_, [](const auto& entry) {
        return !entry.second.ordered && entry.second.due == core::kNever;
    });
    try_at_ = core::Duration(0);
}

// Reads and writes what is needed before orders can be given. Throws if the tables are locked.
void SchedulerCallbacks::settle() {
    pg::ExtensionTransaction transaction(tables());
    if (!try_lock()) return;
    for (const Death& death : deaths_) {
        pg::callbacks::count_death(death.response, death.error, death.random);
    }
    if (look_at_all_) {
        for (const pg::RoleOid id : calls_ == pg::Calls::alerts ? pg::alerts::waiting_roles()
                                                                : pg::callbacks::waiting_roles()) {
            distrust(roles_[id]);
        }
    }
    transaction.commit();
    deaths_.clear();
    look_at_all_ = false;
}

// False: the tables are locked.
bool SchedulerCallbacks::correct_future(pg::RoleOid id, Role& role) {
    pg::ExtensionTransaction transaction(tables());
    if (!try_lock()) {
        role.not_before = pg::monotonic_now() + kFirstPause;
        return false;
    }
    if (calls_ == pg::Calls::alerts) {
        pg::alerts::correct_future(id);
    } else {
        pg::callbacks::correct_future(id);
    }
    transaction.commit();
    role.clock_was_ahead = false;
    role.ask = true;
    return true;
}

void SchedulerCallbacks::order(pg::RoleOid id, Role& role, Dispatcher& dispatcher) {
    if (role.clock_was_ahead && !correct_future(id, role)) return;
    std::string failure;
    {
        pg::ExtensionTransaction transaction(tables());
        if (role.ask) {
            if (!try_lock()) {
                role.not_before = pg::monotonic_now() + kFirstPause;
                return;
            }
            const auto due = calls_ == pg::Calls::alerts ? pg::alerts::next_due(id)
                                                         : pg::callbacks::next_due(id);
            role.due = due.value_or(core::kNever);
            role.ask = false;
        }
        if (role.due > pg::now()) {
            transaction.commit();
            return;
        }
        try {
            const pg::Target target = pg::callbacks::resolve_role(id);
            transaction.commit();
            dispatcher.make_callbacks_ready(target, calls_, role.due, pg::monotonic_now());
            role.ordered = true;
            return;
        } catch (const pg::Error& error) {
            failure = pg::error_text(error);
        }
    }
    fail_portion(id, role, failure);
}

void SchedulerCallbacks::fail_portion(pg::RoleOid id, Role& role, const std::string& error) {
    pg::ExtensionTransaction transaction(tables());
    role.ask = true;
    role.not_before = pg::monotonic_now() + kFirstPause;
    if (!try_lock()) return;
    const std::uint64_t failed = calls_ == pg::Calls::alerts
                                     ? pg::alerts::fail_all(id, error, kFailAtOnce)
                                     : pg::callbacks::fail_all(id, error, kFailAtOnce);
    transaction.commit();
    // Continue at once if there are more; locked rows are tried again after a pause.
    if (failed == static_cast<std::uint64_t>(kFailAtOnce)) role.not_before = core::Duration(0);
}

std::optional<core::Duration> SchedulerCallbacks::time_left() const {
    const core::Duration monotonic = pg::monotonic_now();
    const core::Duration none = core::Duration::max();
    core::Duration left = look_at_all_ || !deaths_.empty() ? core::Duration(0) : none;
    for (const auto& [id, role] : roles_) {
        if (role.ordered) continue;
        left = std::min(left, std::max(role.due - pg::now(), role.not_before - monotonic));
    }
    if (left == none) return std::nullopt;
    return std::max({left, try_at_ - monotonic, core::Duration(0)});
}

}  // namespace securatlas::app
