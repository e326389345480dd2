// Hands out runs that may start, those of a database and role by their rank: to an idle worker of
// the same database and role, else to a new worker; else they wait. It never blocks.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "securatlas/core/cron/ready_queues.hpp"
#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/pg/cron/runs.hpp"
#include "securatlas/pg/shared/launch.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::app {

class Dispatcher {
  public:
    explicit Dispatcher(pg::DatabaseOid database) : database_(database) {}

    // Adds claimed runs and looks up where they have to be executed. Needs a transaction.
    void add(const std::vector<pg::runs::RunRow>& runs);
    // Removes a run that will not be started.
    void forget(core::RunId run);

    // Visits the orders of runs that were added and not handed out.
    template <class Visit>
    void each_waiting(Visit visit) {
        for (auto& [item, entry] : entries_) {
            if (auto* run = std::get_if<pg::RunOrder>(&entry.order)) visit(*run);
        }
    }

    // What the run is of, until it has been handed out.
    std::optional<core::Occurrence> occurrence_of(core::RunId run) const;

    // The run may start. Does nothing for an unknown run.
    void make_ready(const core::StartRun& start, core::Duration monotonic_now);

    // Queues an order to make calls of the target's role, ordered among the runs like one of
    // priority 0 that was due then. A target has at most one such order of each kind until that has
    // ended.
    void make_callbacks_ready(const pg::Target& target, pg::Calls calls, core::Instant due,
                              core::Duration monotonic_now);

    // The run must not be handed out any more; false if it was already.
    bool withdraw(core::RunId run);

    // Hands out what it can. Calls `report` at once for runs that cannot be executed (the role or
    // database does not exist, ...). An item that cannot be handed out now for a reason of its own
    // (its row is locked, no memory) is parked, and tried again after a pause.
    void hand_out(core::Duration monotonic_now,
                  const std::function<void(const pg::RunReport&)>& report);

    // An order that was handed out was given back unbegun: it is handed out again.
    void returned(const pg::ReturnedOrder& returned, core::Duration monotonic_now);

    // Whether the last hand_out() has left runs behind others, in queues of workers or for them.
    bool has_queued() const { return has_queued_; }

    // A run has ended: releases what was kept for it.
    void ended(const pg::RunOrder& order);

    // Checks workers that were launched and have not attached to their slot; appends reports for
    // those that never will.
    void follow_launches(std::vector<pg::WorkerReport>& reports);

    std::size_t waiting() const { return ready_.size() + parked_.size(); }
    std::optional<core::Instant> oldest_wait() const { return ready_.oldest(); }

    // The reasons of ready runs that have waited since before `since` and whose rows do not show a
    // reason yet.
    std::vector<core::ExplainWait> explain_waits(core::Duration since,
                                                 core::Duration monotonic_now);

    // When to try again even if nothing happens, because there are no free slots, workers are
    // starting, or something is parked.
    std::optional<core::Duration> next_try(core::Duration monotonic_now) const;

  private:
    // An item to be handed out: a run, or calls of a role.
    using Item = std::variant<core::RunId, std::pair<pg::RoleOid, pg::Calls>>;
    struct ItemHash {
        std::size_t operator()(const Item& item) const noexcept;
    };
    struct Entry {
        pg::Order order;
        pg::runs::RunRow row;  // of a run
        pg::Target target;
        std::unique_ptr<pg::RunReport> failure;  // of one that cannot be executed
        bool database_may_be_gone = false;       // since it was resolved
        core::Duration ready_at{0};
        bool explained = false;
        int explained_limit = 0;  // of the role, if that is the reason
        std::string parked_for;   // why the last attempt to hand it out failed
        core::Duration parked_until{0};
        core::Duration parked_pause{0};
    };
    struct Pending {
        int slot;
        std::uint32_t generation;
        pg::Launched launched;
        pg::Order order;
    };
    using Ready = core::ReadyQueues<pg::Target, Item>;

    enum class Handed {
        yes,
        refused,  // it cannot be executed: see `failure`
        parked,   // it waits for a reason of its own
        not_now,  // all items of its target have to wait
        no_room,  // all items have to wait
    };
    Handed try_to_hand(Entry& entry, core::Duration monotonic_now);
    Handed hand(Entry& entry, core::Duration monotonic_now);
    int limit_of(const pg::Target& target);
    Handed has_to_wait(Entry& entry, pg::WorkerTable::Assignment assignment, bool slots_are_out_now,
                       core::Duration monotonic_now);
    bool pack_for_elsewhere(Entry& entry, pg::RunOrder& order);
    static void park(Entry& entry, std::string reason, core::Duration monotonic_now);
    void end_parking(core::Duration monotonic_now);
    static Ready::Key key_of(const pg::Order& order);
    void make_ready(Entry& entry, core::Duration monotonic_now);
    void slots_are_out(core::Duration monotonic_now);

    pg::DatabaseOid database_;
    std::unordered_map<Item, Entry, ItemHash> entries_;
    Ready ready_;
    std::set<std::pair<core::Duration, Item>> parked_;  // with the time of the next attempt
    // Whose role had used its share of slots in the last attempt; true: or what its limit allows.
    std::map<pg::Target, bool> at_share_;
    std::map<pg::Target, int> limits_;  // as far as they are known
    core::Duration limits_until_{0};
    std::vector<Pending> pending_;
    core::Duration pause_{0};
    core::Duration try_at_{0};
    bool slots_are_out_ = false;
    bool has_queued_ = false;
};

}  // namespace securatlas::app
