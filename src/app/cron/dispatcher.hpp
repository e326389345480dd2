// Hands runs that may start to workers: oldest first, to a warm worker of the same database and
// role, else to a new one, else they wait. It never blocks.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/pg/cron/runs.hpp"
#include "securatlas/pg/shared/launch.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::app {

class Dispatcher {
  public:
    explicit Dispatcher(pg::DatabaseOid database) : database_(database) {}

    // Remembers where claimed runs are to be executed; to be called in a transaction.
    void add(const std::vector<pg::runs::RunRow>& runs);
    // The run will not be started.
    void forget(core::RunId run);

    // The run may start. Nothing happens if it is not entry.
    void make_ready(core::RunId run, core::Duration monotonic_now);

    // A worker of this target is to execute the role's callbacks, in its turn among the runs by
    // when they were due. Once, until the order has ended.
    void make_callbacks_ready(const pg::Target& target, core::Instant due,
                              core::Duration monotonic_now);

    // The run will not be handed out any more; false if it was already.
    bool withdraw(core::RunId run);

    // Hands out what it can. Runs that cannot be executed (no such role, database, ...) are
    // reported, each at once. What cannot be handed out for now (its row is locked, no memory) is
    // parked by itself and tried again after a pause.
    void hand_out(core::Duration monotonic_now,
                  const std::function<void(const pg::RunReport&)>& report);

    // An order that was handed out comes back unbegun, and is handed out again.
    void returned(const pg::ReturnedOrder& returned, core::Duration monotonic_now);

    // A run ended: what was kept for it is released.
    void ended(const pg::RunOrder& order);

    // Looks after workers that were asked for and never came; adds their reports.
    void follow_launches(std::vector<pg::WorkerReport>& reports);

    std::size_t waiting() const { return ready_count_ + parked_.size(); }
    std::optional<core::Instant> oldest_wait() const;

    // Ready runs that have waited since before `since` and whose rows do not say why yet.
    std::vector<core::ExplainWait> explain_waits(core::Duration since,
                                                 core::Duration monotonic_now);

    // When to try again although nothing happened: worker slots are out, workers are starting, or
    // something is parked.
    std::optional<core::Duration> next_try(core::Duration monotonic_now) const;

  private:
    // What is handed out: a run, or the callbacks of a role.
    using Item = std::variant<core::RunId, pg::RoleOid>;
    struct Entry {
        pg::Order order;
        pg::runs::RunRow row;  // of a run
        pg::Target target;
        std::optional<pg::RunReport> failure;
        core::Duration ready_at{0};
        bool explained = false;
        std::string parked_for;  // why it could not be handed out when that was tried last
        core::Duration parked_until{0};
        core::Duration parked_pause{0};
    };
    struct Pending {
        int slot;
        std::uint32_t generation;
        pg::Launched launched;
        pg::Order order;
    };
    using Key = std::pair<core::Instant, Item>;
    using Queue = std::set<Key>;

    enum class Handed {
        yes,
        refused,  // it fails: see its `failure`
        parked,   // it waits by itself
        not_now,  // its target has to wait
        no_room,  // all have to
    };
    Handed try_to_hand(Entry& entry, core::Duration monotonic_now);
    Handed hand(Entry& entry, core::Duration monotonic_now);
    bool pack_for_elsewhere(Entry& entry, pg::RunOrder& order);
    static void park(Entry& entry, std::string reason, core::Duration monotonic_now);
    void end_parking(core::Duration monotonic_now);
    static Key key_of(const pg::Order& order);
    void make_ready(Entry& entry, core::Duration monotonic_now);
    void slots_are_out(core::Duration monotonic_now);
    void remove_ready(const Entry& entry);
    std::map<pg::Target, Queue>::iterator oldest_queue(const std::set<pg::Target>& passed);

    pg::DatabaseOid database_;
    std::unordered_map<Item, Entry> entries_;
    std::map<pg::Target, Queue> ready_;
    std::size_t ready_count_ = 0;
    std::set<std::pair<core::Duration, Item>> parked_;  // by when they are tried again
    std::set<pg::Target> at_share_;  // whose runs waited for their role's share the last time
    std::vector<Pending> pending_;
    core::Duration pause_{0};
    core::Duration try_at_{0};
    bool slots_are_out_ = false;
};

}  // namespace securatlas::app
