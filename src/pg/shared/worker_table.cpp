#include <algorithm>
#include <csignal>

#include "securatlas/core/cron/slot_share.hpp"
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

void give(WorkerSlotState& slot, const Order& order) {
    slot.order = order;
    slot.started_at = core::kLongAgo;
    slot.calling.reset();
    slot.overdue = false;
    slot.cancel_run = 0;
    slot.is_ending = false;
}

bool give_to_idle(SharedState& state, DatabaseOid owner, const Target& target, const Order& order) {
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.state != SlotState::idle || !same_target(slot, owner, target)) continue;
        give(slot, order);
        slot.state = SlotState::busy;
        slot.bell.ring();
        return true;
    }
    return false;
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

// Counts the slots of a role in all databases.
bool has_its_share(const SharedState& state, RoleOid role) {
    int used = 0;
    int used_by_role = 0;
    for (int i = 0; i < state.slot_count; ++i) {
        const WorkerSlotState& slot = state.slots[i];
        if (!is_used(slot)) continue;
        ++used;
        if (slot.target.role == role) ++used_by_role;
    }
    return !core::may_have_slot(used_by_role, usable_slots(state) - used);
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
        give(slot, order);
        slot.state = SlotState::reserved;
        slot.owner = owner;
        slot.target = target;
        slot.pid = 0;
        ++slot.generation;
        return {WorkerTable::Assignment::reserved, i, slot.generation};
    }
    return {make_one_leave(state) ? WorkerTable::Assignment::waiting
                                  : WorkerTable::Assignment::full};
}

std::size_t slot_count(const SharedState& state) {
    return static_cast<std::size_t>(state.slot_count);
}

// Appends the reports of ended orders, and clears the orders of their slots.
void collect(SharedState& state, DatabaseOid owner, std::vector<WorkerReport>& reports) {
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.owner != owner) continue;
        if (slot.state == SlotState::done) {
            slot.state = SlotState::idle;
            if (slot.overdue) slot.bell.ring();
        } else if (slot.state == SlotState::dead) {
            slot.state = SlotState::free;
        } else {
            continue;
        }
        reports.push_back(slot.report);
    }
}

void find_in_progress(const SharedState& state, DatabaseOid owner,
                      std::vector<OrderInProgress>& orders) {
    for (int i = 0; i < state.slot_count; ++i) {
        const WorkerSlotState& slot = state.slots[i];
        if (slot.owner != owner) continue;
        if (slot.state != SlotState::busy && slot.state != SlotState::reserved) continue;
        orders.push_back({slot.order, slot.pid, slot.started_at});
    }
}

}  // namespace

WorkerTable::Assigned WorkerTable::assign(DatabaseOid owner, const Target& target,
                                          const Order& order) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    if (!collects(state, owner)) return {Assignment::full};
    if (has_its_share(state, target.role)) return {Assignment::share};
    if (give_to_idle(state, owner, target, order)) return {Assignment::handed};
    return reserve(state, owner, target, order);
}

WorkerTable::Assignment WorkerTable::room_for(DatabaseOid owner, const Target& target) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    if (has_its_share(state, target.role)) return Assignment::share;
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

bool WorkerTable::assign_to_idle(DatabaseOid owner, const Target& target, const Order& order) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    return collects(state, owner) && give_to_idle(state, owner, target, order);
}

void WorkerTable::make_room() {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    make_one_leave(state);
}

bool WorkerTable::release_reserved(int index, std::uint32_t generation) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    WorkerSlotState& slot = state.slots[index];
    if (slot.state != SlotState::reserved || slot.generation != generation) return false;
    slot.state = SlotState::free;
    return true;
}

void WorkerTable::collect(DatabaseOid owner, std::vector<WorkerReport>& reports) {
    SharedState& state = require_shared_state();
    reports.reserve(reports.size() + slot_count(state));  // nothing allocates under the lock
    SharedLock lock(state);
    pg::collect(state, owner, reports);
}

std::vector<OrderInProgress> WorkerTable::in_progress(DatabaseOid owner) {
    SharedState& state = require_shared_state();
    std::vector<OrderInProgress> orders;
    orders.reserve(slot_count(state));
    SharedLock lock(state);
    find_in_progress(state, owner, orders);
    return orders;
}

WorkerTable::Adopted WorkerTable::adopt(DatabaseOid owner) {
    SharedState& state = require_shared_state();
    Adopted adopted;
    adopted.reports.reserve(slot_count(state));
    adopted.in_progress.reserve(slot_count(state));
    SharedLock lock(state);
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.owner == owner && slot.state == SlotState::reserved) slot.state = SlotState::free;
    }
    pg::collect(state, owner, adopted.reports);
    find_in_progress(state, owner, adopted.in_progress);
    return adopted;
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
        const bool has_ended = slot.state == SlotState::done || slot.state == SlotState::dead;
        const bool is_held = slot.state == SlotState::busy || slot.state == SlotState::reserved;
        if (!is_held && !(has_ended && std::holds_alternative<RunReport>(slot.report))) continue;
        const auto* order = std::get_if<RunOrder>(&slot.order);
        if (order == nullptr || order->run != run) continue;
        if (has_ended || slot.is_ending) return Cancelled::too_late;
        slot.cancel_run = static_cast<std::int64_t>(run);
        if (slot.pid != 0) kill(slot.pid, SIGUSR2);
        return Cancelled::asked;
    }
    return Cancelled::no_worker_has_it;
}

void abandon_slots(SharedState& state, DatabaseOid owner) noexcept {
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.owner != owner) continue;
        slot.owner = 0;
        if (slot.pid != 0) {
            kill(slot.pid, SIGTERM);
        } else {
            slot.state = SlotState::free;
        }
    }
}

}  // namespace securatlas::pg
