#include <algorithm>
#include <csignal>
#include <optional>
#include <thread>
#include <utility>

#include "securatlas/core/cron/ready_queues.hpp"
#include "securatlas/core/cron/slot_share.hpp"
#include "securatlas/core/cron/worker_need.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"

extern "C" {
#include "miscadmin.h"
#include "replication/logicallauncher.h"
}

namespace securatlas::pg {
namespace {

// False if the entry of the database was freed while its scheduler still works: a slot that it
// reserved then would never be freed.
bool collects(SharedState& state, DatabaseOid owner) {
    const DatabaseState* entry = find_database(state, owner);
    return entry != nullptr && entry->status.pid == MyProcPid;
}

bool same_target(const WorkerSlotState& slot, DatabaseOid owner, const Target& target) {
    return slot.owner == owner && slot.target == target;
}

// Gives the order to an idle worker of the target.
bool give_to_idle(SharedState& state, DatabaseOid owner, const Target& target, const Order& order,
                  core::Duration now) {
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.state != SlotState::idle || !same_target(slot, owner, target)) continue;
        give(slot, order, now);
        slot.state = SlotState::busy;
        slot.bell.ring();
        return true;
    }
    return false;
}

core::BusyWorkers busy_workers(const SharedState& state, DatabaseOid owner, const Target& target,
                               core::Duration now) {
    core::BusyWorkers workers;
    float waiting_runs = 0;
    int known = 0;
    for (int i = 0; i < state.slot_count; ++i) {
        const WorkerSlotState& slot = state.slots[i];
        if (!same_target(slot, owner, target) || slot.pid == 0) continue;
        if (slot.waiting_runs < 0) continue;
        waiting_runs += slot.waiting_runs;
        ++known;
    }
    workers.waits = waiting_runs > 0.5F * static_cast<float>(known);
    for (int i = 0; i < state.slot_count; ++i) {
        const WorkerSlotState& slot = state.slots[i];
        if (!same_target(slot, owner, target)) continue;
        if (slot.state == SlotState::reserved ||
            (slot.state == SlotState::busy && slot.taken_at == core::Duration(0))) {
            ++workers.launching;
        } else if (is_soon_free(slot, now)) {
            ++workers.soon_free;
        } else if (slot.state == SlotState::busy) {
            ++workers.occupied;
        }
    }
    return workers;
}

// Puts the run into the shortest queue of the target, before those of later rank.
bool give_to_queue(SharedState& state, DatabaseOid owner, const Target& target, const RunOrder& run,
                   core::Duration now) {
    WorkerSlotState* shortest = nullptr;
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (!same_target(slot, owner, target) || !is_soon_free(slot, now)) continue;
        if (slot.queued == kQueueLength) continue;
        if (shortest == nullptr || slot.queued < shortest->queued) shortest = &slot;
    }
    if (shortest == nullptr) return false;
    core::insert_by_rank(shortest->queue, static_cast<std::size_t>(shortest->queued), {run, false},
                         [](const QueuedRun& queued) { return queued.order.rank; });
    ++shortest->queued;
    return true;
}

bool is_used(const WorkerSlotState& slot) {
    switch (slot.state) {
        case SlotState::reserved:
        case SlotState::busy:
            return true;
        case SlotState::free:
        case SlotState::idle:
        case SlotState::leaving:
        case SlotState::done:
        case SlotState::dead:
            return false;
    }
    return false;
}

// Number of slots for which the server can launch workers, by estimate: max_worker_processes must
// also suffice for the extension's other processes.
int usable_slots(const SharedState& state) {
    int others = 1 + (max_logical_replication_workers > 0 ? 1 : 0);
    for (const DatabaseState& database : state.databases) {
        if (database.database == 0) continue;
        others += (database.status.pid != 0 ? 1 : 0) + (database.http_pid != 0 ? 1 : 0);
    }
    return (std::min)(state.slot_count, max_worker_processes - others);
}

// Why the role may use no more slots; nullopt: it may. Its slots in all databases count.
std::optional<WorkerTable::Assignment> kept_by_role(const SharedState& state, RoleOid role,
                                                    int limit) {
    int used = 0;
    int used_by_role = 0;
    for (int i = 0; i < state.slot_count; ++i) {
        const WorkerSlotState& slot = state.slots[i];
        if (!is_used(slot)) continue;
        ++used;
        if (slot.target.role == role) ++used_by_role;
    }
    if (limit > 0 && used_by_role >= limit) return WorkerTable::Assignment::limit;
    if (core::may_have_slot(used_by_role, usable_slots(state) - used)) return std::nullopt;
    return WorkerTable::Assignment::share;
}

// Asks an idle worker to end, unless one is ending already. False: there is none.
bool make_one_leave(SharedState& state) {
    WorkerSlotState* idle = nullptr;
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.state == SlotState::leaving) return true;
        if (slot.state == SlotState::idle) idle = &slot;
    }
    if (idle == nullptr) return false;
    idle->state = SlotState::leaving;
    idle->bell.ring();
    return true;
}

WorkerTable::Assigned reserve(SharedState& state, DatabaseOid owner, const Target& target,
                              const Order& order) {
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.state != SlotState::free) continue;
        give(slot, order, core::Duration(0));
        slot.state = SlotState::reserved;
        slot.queued = 0;
        slot.ended = 0;
        slot.has_report = false;
        slot.waiting_runs = -1;
        slot.owner = owner;
        slot.target = target;
        slot.pid = 0;
        ++slot.generation;
        return {WorkerTable::Assignment::reserved, i, slot.generation};
    }
    return {make_one_leave(state) ? WorkerTable::Assignment::waiting
                                  : WorkerTable::Assignment::full};
}

// What is known of the run in a slot of its owner; nullopt: nothing.
std::optional<WorkerTable::Cancelled> cancel_in(WorkerSlotState& slot, core::RunId run) {
    using Cancelled = WorkerTable::Cancelled;
    const auto is_it = [run](const RunOrder& order) { return order.run == run; };
    for (int i = 0; i < slot.ended; ++i) {
        if (is_it(slot.ends[i].order)) return Cancelled::too_late;
    }
    const auto* report = slot.has_report ? std::get_if<RunReport>(&slot.report) : nullptr;
    if (report != nullptr && is_it(report->order)) return Cancelled::too_late;
    // What is left in the slot of a worker that has ended is for another worker.
    if (slot.state != SlotState::dead) {
        for (int i = 0; i < slot.queued; ++i) {
            if (!is_it(slot.queue[i].order)) continue;
            slot.queue[i].cancelled = true;
            return Cancelled::asked;
        }
    }
    if (slot.state != SlotState::busy && slot.state != SlotState::reserved) return std::nullopt;
    const auto* order = std::get_if<RunOrder>(&slot.order);
    if (order == nullptr || !is_it(*order)) return std::nullopt;
    if (slot.is_ending) return Cancelled::too_late;
    slot.cancel_run = static_cast<std::int64_t>(run);
    if (slot.pid != 0) kill(slot.pid, SIGUSR2);
    return Cancelled::asked;
}

}  // namespace

bool is_soon_free(const WorkerSlotState& slot, core::Duration now) noexcept {
    return slot.state == SlotState::busy && std::holds_alternative<RunOrder>(slot.order) &&
           slot.taken_at != core::Duration(0) && now - slot.taken_at < core::kSoon;
}

void give(WorkerSlotState& slot, const Order& order, core::Duration now) noexcept {
    slot.order = order;
    slot.taken_at = now;
    slot.was_queued = false;
    slot.started_at = core::kLongAgo;
    slot.calling.reset();
    slot.overdue = false;
    slot.cancel_run = 0;
    slot.is_ending = false;
}

bool give_next(WorkerSlotState& slot, core::Duration now) noexcept {
    if (slot.queued == 0) return false;
    const QueuedRun next = slot.queue[0];
    std::copy(slot.queue + 1, slot.queue + slot.queued, slot.queue);
    --slot.queued;
    give(slot, next.order, now);
    slot.was_queued = true;
    if (next.cancelled) slot.cancel_run = static_cast<std::int64_t>(next.order.run);
    slot.state = SlotState::busy;
    return true;
}

void go_on(SharedState& state, WorkerSlotState& slot, core::Duration now) noexcept {
    if (now < state.room_until && std::exchange(state.is_room_wanted, false)) {
        slot.state = SlotState::leaving;
    } else if (!give_next(slot, now)) {
        slot.state = SlotState::idle;
    }
}

WorkerTable::Assigned WorkerTable::assign(DatabaseOid owner, const Target& target,
                                          const Order& order, const Ways& ways) {
    static const int processors = static_cast<int>(std::thread::hardware_concurrency());
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    if (!collects(state, owner)) return {Assignment::full};
    if (is_closed(state, target.database)) return {Assignment::closed};
    const auto kept = kept_by_role(state, target.role, ways.limit);
    const auto* run = ways.queue ? std::get_if<RunOrder>(&order) : nullptr;
    const bool wants_worker =
        run == nullptr ||
        core::wants_worker(busy_workers(state, owner, target, ways.now), processors);
    const auto to_idle = [&] {
        return !kept && give_to_idle(state, owner, target, order, ways.now);
    };
    if (wants_worker && to_idle()) return {Assignment::handed};
    if (run != nullptr && (kept || !ways.reserve || !wants_worker)) {
        if (give_to_queue(state, owner, target, *run, ways.now)) return {Assignment::queued};
        if (to_idle()) return {Assignment::handed};
        if (!kept && ways.reserve) return {Assignment::enough};
    }
    if (kept) return {*kept};
    if (!ways.reserve) return {Assignment::full};
    if (ways.now < state.room_until) return {Assignment::kept_free};
    const Assigned reserved = reserve(state, owner, target, order);
    if (reserved.assignment == Assignment::reserved || run == nullptr) return reserved;
    // No slot is free: as long as its own workers are soon free, it waits for them.
    if (give_to_queue(state, owner, target, *run, ways.now)) return {Assignment::queued};
    return reserved;
}

WorkerTable::Assignment WorkerTable::room_for(DatabaseOid owner, const Target& target, int limit) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    if (is_closed(state, target.database)) return Assignment::closed;
    if (const auto kept = kept_by_role(state, target.role, limit)) return *kept;
    bool is_free = false;
    for (int i = 0; i < state.slot_count; ++i) {
        const WorkerSlotState& slot = state.slots[i];
        if (slot.state == SlotState::idle && same_target(slot, owner, target)) {
            return Assignment::handed;
        }
        is_free = is_free || slot.state == SlotState::free;
    }
    if (is_free) return Assignment::reserved;
    return make_one_leave(state) ? Assignment::waiting : Assignment::full;
}

void WorkerTable::make_room() {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    make_one_leave(state);
}

void WorkerTable::keep_room(core::Duration until) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    state.room_until = until;
    state.is_room_wanted = until > core::Duration(0) && !make_one_leave(state);
}

bool WorkerTable::release_reserved(int index, std::uint32_t generation) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    WorkerSlotState& slot = state.slots[index];
    if (slot.state != SlotState::reserved || slot.generation != generation) return false;
    slot.state = SlotState::free;
    return true;
}

WorkerCounts WorkerTable::counts(DatabaseOid owner) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    WorkerCounts counts;
    counts.limit = state.slot_count;
    for (int i = 0; i < state.slot_count; ++i) {
        const WorkerSlotState& slot = state.slots[i];
        if (slot.owner != owner) continue;
        if (slot.state == SlotState::busy || slot.state == SlotState::reserved) ++counts.busy;
        if (slot.state == SlotState::idle || slot.state == SlotState::done) ++counts.idle;
    }
    return counts;
}

WorkerTable::Cancelled WorkerTable::cancel(DatabaseOid owner, core::RunId run) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.owner != owner) continue;
        if (const auto cancelled = cancel_in(slot, run)) return *cancelled;
    }
    return Cancelled::no_worker_has_it;
}

int end_workers_in(SharedState& state, DatabaseOid database, core::Duration waited) {
    int left = 0;
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.target.database != database) continue;
        if (slot.state == SlotState::reserved && slot.cancel_run != 0) {
            ++left;  // its worker reports that
        } else if (slot.state == SlotState::reserved) {
            slot.report = ReturnedOrder{slot.order, slot.target};
            slot.has_report = true;
            slot.state = SlotState::dead;
            wake_scheduler(state, slot.owner);
        } else if (slot.pid != 0) {
            const bool executes =
                slot.state == SlotState::busy && slot.taken_at != core::Duration(0);
            if (waited >= (executes ? kPatienceWithRuns : kPatience)) {
                kill(slot.pid, SIGTERM);
            } else {
                slot.bell.ring_to_end();
            }
            ++left;
        }
    }
    return left;
}

void abandon_slots(SharedState& state, DatabaseOid owner) noexcept {
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.owner != owner) continue;
        slot.owner = 0;
        slot.queued = 0;
        slot.ended = 0;
        slot.has_report = false;
        if (slot.pid != 0) {
            kill(slot.pid, SIGTERM);
        } else {
            slot.state = SlotState::free;
        }
    }
}

}  // namespace securatlas::pg
