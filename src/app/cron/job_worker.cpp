// A job worker: bound to one database and one role for life. It executes runs and callbacks one
// after another, and exits when it has been idle for a while or when its slot is needed.
#include "net/callback_runner.hpp"
#include "securatlas/app/processes.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/border/session_basis.hpp"
#include "securatlas/pg/cron/command.hpp"
#include "securatlas/pg/cron/runs.hpp"
#include "securatlas/pg/cron/settings.hpp"

namespace securatlas::app {
namespace {

constexpr core::Duration kPauseForLocks = std::chrono::milliseconds(20);

// While the extension is locked by another session, waits without locking anything itself.
pg::runs::Task read_task(const pg::RunOrder& order) {
    for (;; pg::wait(pg::Wait::worker_lock, kPauseForLocks)) {
        pg::Transaction transaction;
        if (!pg::try_keep_extension(pg::Tables::cron) && pg::has_tables(pg::Tables::cron)) {
            continue;
        }
        pg::runs::Task task = pg::runs::read_task(order);
        transaction.commit();
        return task;
    }
}

// The run was cancelled or its job was deleted after it was handed out, and its row says so
// already. A run of another database is not wanted if its scheduler has ended, and its parcel with
// it.
pg::RunReport unwanted_report(const pg::RunOrder& order) {
    if (order.parcel != 0) {
        return pg::failed_report(
            order, pg::Error("57P01", "the scheduler ended before the run could start"));
    }
    pg::RunReport report;
    report.order = order;
    report.outcome = core::RunOutcome::cancelled;
    report.recorded = true;
    return report;
}

pg::RunReport execute_run(const pg::RunOrder& order) {
    try {
        const pg::runs::Task task = read_task(order);
        return task.wanted ? pg::execute_run(order, task) : unwanted_report(order);
    } catch (const std::exception& error) {
        return pg::failed_report(order, error);
    }
}

pg::WorkerReport execute(const pg::Order& order, CallbackRunner& callbacks) {
    if (const auto* run = std::get_if<pg::RunOrder>(&order)) return execute_run(*run);
    return callbacks.execute(std::get<pg::CallbackOrder>(order));
}

// Waits for the next order. False: the worker must exit.
bool wait_for_order() {
    const core::Duration since = pg::monotonic_now();
    while (true) {
        pg::heed_signals();
        if (pg::WorkerSlot::take_order()) return true;
        const core::Duration left =
            since + pg::settings().worker_idle_timeout - pg::monotonic_now();
        const bool is_overdue = left <= core::Duration(0);
        if (pg::WorkerSlot::leave(is_overdue)) return false;
        pg::wait(pg::Wait::worker_idle, is_overdue ? core::Duration::max() : left);
    }
}

}  // namespace

void run_job_worker(int slot, std::uint32_t generation) {
    pg::accept_signals();
    pg::WorkerSlot::attach(slot, generation);
    const pg::Target target = pg::WorkerSlot::target();
    pg::connect_as_role(target.database, target.role);
    pg::prepare_for_commands();
    const pg::SessionBasis basis;
    CallbackRunner callbacks;
    while (const auto order = pg::WorkerSlot::take_order()) {
        // If the role has lost rights since this process connected, or settings have changed, this
        // session must not execute anything any more.
        if (!basis.holds() && pg::WorkerSlot::give_back()) return;
        pg::WorkerSlot::report(execute(*order, callbacks));
        pg::reset_session();
        if (!wait_for_order()) return;
    }
}

}  // namespace securatlas::app
