// What a scheduler takes out of the slots of its workers: reports, and runs that wait in queues.
#include <algorithm>

#include "securatlas/core/cron/run_reasons.hpp"
#include "securatlas/core/cron/worker_need.hpp"
#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"

extern "C" {
#include "utils/timestamp.h"
}

namespace securatlas::pg {
namespace {

std::size_t slot_count(const SharedState& state) {
    return static_cast<std::size_t>(state.slot_count);
}

// The run was cancelled while it waited in a queue. Its row does not say so yet.
RunReport cancelled_report(const RunOrder& order) {
    RunReport report;
    report.order = order;
    report.outcome = core::RunOutcome::cancelled;
    report.started_at = core::kLongAgo;
    report.ended_at = to_instant(GetCurrentTimestamp());
    assign_text(report.sqlstate, "57014");
    assign_text(report.reason, core::reasons::kCancelled);
    assign_text(report.message, core::reasons::kCancelledBefore);
    return report;
}

// The runs in the slot's queue are for another worker.
void take_back(WorkerSlotState& slot, std::vector<WorkerReport>& reports) {
    for (int i = 0; i < slot.queued; ++i) {
        const QueuedRun& run = slot.queue[i];
        if (run.cancelled) {
            reports.emplace_back(cancelled_report(run.order));
        } else {
            reports.emplace_back(ReturnedOrder{run.order, slot.target});
        }
    }
    slot.queued = 0;
}

// The most that collect() may append.
std::size_t count_reports(const SharedState& state, DatabaseOid owner) {
    std::size_t count = 0;
    for (int i = 0; i < state.slot_count; ++i) {
        const WorkerSlotState& slot = state.slots[i];
        if (slot.owner != owner) continue;
        count += static_cast<std::size_t>(slot.ended + slot.queued) + (slot.has_report ? 1 : 0);
    }
    return count;
}

void collect(SharedState& state, WorkerSlotState& slot, core::Duration now,
             std::vector<WorkerReport>& reports) {
    for (int i = 0; i < slot.ended; ++i) reports.emplace_back(slot.ends[i]);
    slot.ended = 0;
    if (slot.has_report) reports.push_back(slot.report);
    slot.has_report = false;
    switch (slot.state) {
        case SlotState::done:
            go_on(state, slot, now);
            if (slot.state != SlotState::idle || slot.overdue) slot.bell.ring();
            break;
        case SlotState::dead:
            take_back(slot, reports);
            slot.state = SlotState::free;
            break;
        case SlotState::busy:
            if (!is_soon_free(slot, now)) take_back(slot, reports);
            break;
        case SlotState::free:
        case SlotState::reserved:
        case SlotState::idle:
        case SlotState::leaving:
            break;
    }
}

// Collects from all slots whose reports there is memory for; nothing allocates under the lock.
// True: runs are left in queues, or reports.
bool collect_all(SharedState& state, DatabaseOid owner, core::Duration now,
                 std::vector<WorkerReport>& reports) {
    bool is_left = false;
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.owner != owner) continue;
        const auto most = static_cast<std::size_t>(slot.ended + slot.queued) + 1;
        if (reports.capacity() - reports.size() < most) {
            is_left = is_left || most > 1 || slot.has_report;
            continue;
        }
        collect(state, slot, now, reports);
        is_left = is_left || slot.queued > 0;
    }
    return is_left;
}

void reserve_reports(SharedState& state, DatabaseOid owner, std::vector<WorkerReport>& reports) {
    std::size_t count = 0;
    {
        SharedLock lock(state);
        count = count_reports(state, owner);
    }
    // Some more may come before the lock is acquired again.
    const std::size_t needed = reports.size() + count + slot_count(state);
    if (reports.capacity() < needed) reports.reserve((std::max)(needed, 2 * reports.capacity()));
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

void find_queued(const SharedState& state, DatabaseOid owner,
                 std::vector<OrderInProgress>& orders) {
    for (int i = 0; i < state.slot_count; ++i) {
        const WorkerSlotState& slot = state.slots[i];
        if (slot.owner != owner) continue;
        for (int k = 0; k < slot.queued; ++k) {
            orders.push_back({slot.queue[k].order, slot.pid, core::kLongAgo});
        }
    }
}

}  // namespace

bool WorkerTable::collect(DatabaseOid owner, core::Duration now,
                          std::vector<WorkerReport>& reports) {
    SharedState& state = require_shared_state();
    reserve_reports(state, owner, reports);
    SharedLock lock(state);
    return collect_all(state, owner, now, reports);
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
    adopted.reports.reserve(slot_count(state) * (kEndsCapacity + kQueueLength + 1));
    adopted.in_progress.reserve(slot_count(state) * (kQueueLength + 1));
    SharedLock lock(state);
    for (int i = 0; i < state.slot_count; ++i) {
        WorkerSlotState& slot = state.slots[i];
        if (slot.owner == owner && slot.state == SlotState::reserved) slot.state = SlotState::free;
    }
    // At time 0 all runs have just begun: queues stay as they are until the next collect().
    collect_all(state, owner, core::Duration(0), adopted.reports);
    find_in_progress(state, owner, adopted.in_progress);
    find_queued(state, owner, adopted.in_progress);
    return adopted;
}

}  // namespace securatlas::pg
