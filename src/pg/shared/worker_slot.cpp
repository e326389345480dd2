// The slot of a job worker, as the worker sees it.
#include <cstring>

#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"

extern "C" {
#include "mb/pg_wchar.h"
#include "storage/ipc.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg {
namespace {

constexpr std::string_view kTerminated = "the job worker was terminated";

// This worker: its slot, and the message of the error that ends it, for its report.
struct Self {
    WorkerSlotState* slot = nullptr;
    std::array<char, 6> fatal_sqlstate{};
    std::array<char, kReportTextSize> fatal_message{};
    emit_log_hook_type next_log_hook = nullptr;
};
constinit Self self;

// Hook for log messages: FATAL errors cannot be caught, but their message can be saved here.
void remember_fatal(ErrorData* error) {
    if (error->elevel == FATAL && error->message != nullptr) {
        assign_text(self.fatal_sqlstate, unpack_sql_state(error->sqlerrcode));
        assign_text(self.fatal_message, error->message);
    }
    if (self.next_log_hook != nullptr) self.next_log_hook(error);
}

RunReport death_report(const WorkerSlotState& slot, const RunOrder& order) {
    RunReport report;
    report.order = order;
    report.died = true;
    report.outcome = core::RunOutcome::failed;
    report.pid = slot.pid;
    report.encoding = GetDatabaseEncoding();
    report.started_at = slot.started_at;
    report.ended_at = to_instant(GetCurrentTimestamp());
    report.sqlstate = self.fatal_sqlstate;
    report.message = self.fatal_message;
    if (self.fatal_message[0] == '\0') {
        assign_text(report.sqlstate, "57P01");
        assign_text(report.message, kTerminated);
    }
    return report;
}

CallbackReport death_report(const WorkerSlotState& slot, const CallbackOrder& order) {
    CallbackReport report;
    report.order = order;
    report.interrupted = slot.calling;
    report.message = self.fatal_message;
    if (self.fatal_message[0] == '\0') assign_text(report.message, kTerminated);
    return report;
}

// Of the order in progress. A worker that dies between two runs has not begun the second, and one
// that had to leave while it connected has not begun the first.
WorkerReport what_is_left(const WorkerSlotState& slot) {
    const bool is_taken = slot.taken_at != core::Duration(0) || self.fatal_message[0] != '\0';
    if ((slot.was_queued || !is_taken) && slot.started_at == core::kLongAgo &&
        slot.cancel_run == 0) {
        return ReturnedOrder{slot.order, slot.target};
    }
    return std::visit(
        [&slot](const auto& order) -> WorkerReport { return death_report(slot, order); },
        slot.order);
}

// The worker ends: the slot is free, or kept for what has to be collected.
void release(WorkerSlotState& slot) {
    const bool is_empty = !slot.has_report && slot.queued == 0 && slot.ended == 0;
    slot.state = slot.owner == 0 || is_empty ? SlotState::free : SlotState::dead;
}

// Detaches this process from the slot.
void let_go(SharedState& state, WorkerSlotState& slot) {
    slot.pid = 0;
    slot.bell.latch = nullptr;
    self.slot = nullptr;
    // All schedulers may be waiting for a free slot, not just the owner's.
    for (DatabaseState& database : state.databases) database.scheduler_bell.ring();
}

// Runs after ShutdownPostgres, which aborts the transaction: before_shmem_exit hooks run in
// reverse order, and this one is registered before the connection is made.
void leave_slot(int, Datum) {
    SharedState* state = shared_state();
    if (state == nullptr || self.slot == nullptr) return;
    SharedLock lock(*state);
    WorkerSlotState& slot = *self.slot;
    if (slot.state == SlotState::busy) {
        slot.report = what_is_left(slot);
        slot.has_report = true;
    }
    release(slot);
    let_go(*state, slot);
}

}  // namespace

void WorkerSlot::attach(int index, std::uint32_t generation) {
    SharedState& state = require_shared_state();
    bool meant = false;
    {
        SharedLock lock(state);
        WorkerSlotState& slot = state.slots[index];
        meant = slot.state == SlotState::reserved && slot.generation == generation;
        if (meant) {
            slot.state = SlotState::busy;
            slot.pid = MyProcPid;
            slot.bell.latch = MyLatch;
            self.slot = &slot;
            listen_to(slot.bell);
        }
    }
    if (!meant) exit_process(false);
    self.next_log_hook = emit_log_hook;
    emit_log_hook = remember_fatal;
    call([] { before_shmem_exit(leave_slot, 0); });
}

Target WorkerSlot::target() { return self.slot->target; }

DatabaseOid WorkerSlot::owner() { return self.slot->owner; }

std::optional<Order> WorkerSlot::take_order() {
    const core::Duration now = monotonic_now();
    SharedLock lock(require_shared_state());
    if (self.slot->state != SlotState::busy) return std::nullopt;
    if (self.slot->taken_at == core::Duration(0)) self.slot->taken_at = now;
    return self.slot->order;
}

std::vector<RunOrder> WorkerSlot::runs_ahead(std::size_t most) {
    std::vector<RunOrder> runs;
    runs.reserve(1 + kQueueLength);
    SharedLock lock(require_shared_state());
    const WorkerSlotState& slot = *self.slot;
    if (const auto* run = std::get_if<RunOrder>(&slot.order)) runs.push_back(*run);
    for (int i = 0; i < slot.queued && runs.size() < most; ++i) {
        runs.push_back(slot.queue[i].order);
    }
    return runs;
}

bool WorkerSlot::leave(bool is_overdue) {
    SharedLock lock(require_shared_state());
    WorkerSlotState& slot = *self.slot;
    if (slot.state == SlotState::idle && is_overdue) slot.state = SlotState::leaving;
    slot.overdue = is_overdue;
    return slot.state == SlotState::leaving;
}

bool WorkerSlot::give_back() {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    WorkerSlotState& slot = *self.slot;
    const auto* run = std::get_if<RunOrder>(&slot.order);
    if (run != nullptr && cancel_requested(run->run)) return false;
    slot.report = ReturnedOrder{slot.order, slot.target};
    slot.has_report = true;
    release(slot);
    let_go(state, slot);
    return true;
}

void WorkerSlot::report_started(core::Instant at) {
    SharedLock lock(require_shared_state());
    self.slot->started_at = at;
}

void WorkerSlot::report_calling(std::optional<CallbackCall> call) {
    SharedLock lock(require_shared_state());
    self.slot->calling = call;
}

void WorkerSlot::report(const WorkerReport& report) {
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    self.slot->report = report;
    self.slot->has_report = true;
    self.slot->overdue = false;
    self.slot->state = SlotState::done;
    wake_scheduler(state, self.slot->owner);
}

bool WorkerSlot::report_recorded(const RecordedEnd& end, std::optional<bool> has_waited) {
    const core::Duration now = monotonic_now();
    SharedState& state = require_shared_state();
    SharedLock lock(state);
    WorkerSlotState& slot = *self.slot;
    if (slot.ended == kEndsCapacity) return false;
    slot.ends[slot.ended++] = end;
    slot.overdue = false;
    if (slot.waiting_runs < 0) {
        slot.waiting_runs = 0.5F;  // the first one waits for what all others find in its caches
    } else if (has_waited) {
        slot.waiting_runs += ((*has_waited ? 1.0F : 0.0F) - slot.waiting_runs) / 8;
    }
    go_on(state, slot, now);
    wake_scheduler(state, slot.owner);
    return true;
}

bool WorkerSlot::begin_end(core::RunId run) {
    SharedLock lock(require_shared_state());
    if (cancel_requested(run)) return false;
    self.slot->is_ending = true;
    return true;
}

bool WorkerSlot::cancel_requested(core::RunId run) noexcept {
    return self.slot != nullptr && self.slot->cancel_run == static_cast<std::int64_t>(run);
}

}  // namespace securatlas::pg
