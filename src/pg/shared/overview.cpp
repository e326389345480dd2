#include "securatlas/pg/shared/overview.hpp"

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"

namespace securatlas::pg {
namespace {

const char* state_name(SlotState state) {
    switch (state) {
        case SlotState::free:
        case SlotState::dead:
            return nullptr;
        case SlotState::reserved:
            return "starting";
        case SlotState::leaving:
            return "leaving";
        case SlotState::busy:
            return "busy";
        case SlotState::idle:
        case SlotState::done:
            return "idle";
    }
    return nullptr;
}

WorkerOverview overview_of(const WorkerSlotState& slot, const char* state) {
    WorkerOverview row{slot.target, slot.owner,     slot.pid, state,      0,
                       0,           core::kLongAgo, false,    slot.queued};
    if (slot.state != SlotState::busy && slot.state != SlotState::reserved) return row;
    if (const auto* run = std::get_if<RunOrder>(&slot.order)) {
        row.job = static_cast<std::int64_t>(run->occurrence.job);
        row.run = static_cast<std::int64_t>(run->run);
        row.started_at = slot.started_at;
    } else {
        row.calls_back = true;
    }
    return row;
}

}  // namespace

std::vector<SchedulerOverview> all_schedulers() {
    SharedState& state = require_shared_state();
    std::vector<SchedulerOverview> rows;
    rows.reserve(kMaxDatabases);
    {
        SharedLock lock(state);
        for (const DatabaseState& entry : state.databases) {
            if (entry.database == 0 || entry.scheduler == SchedulerState::absent) continue;
            rows.push_back({entry.database, entry.status, {}});
        }
    }
    for (SchedulerOverview& row : rows) row.workers = WorkerTable::counts(row.database);
    return rows;
}

std::vector<WorkerOverview> all_workers() {
    SharedState& state = require_shared_state();
    std::vector<WorkerOverview> rows;
    rows.reserve(static_cast<std::size_t>(state.slot_count));
    SharedLock lock(state);
    for (int i = 0; i < state.slot_count; ++i) {
        const WorkerSlotState& slot = state.slots[i];
        if (const char* name = state_name(slot.state)) rows.push_back(overview_of(slot, name));
    }
    return rows;
}

}  // namespace securatlas::pg
