// A job worker: bound to one database and one role for life. It executes runs and callbacks one
// after another, and exits when it has been idle for a while or when its slot is needed.
#include <algorithm>
#include <exception>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/callback_runner.hpp"
#include "securatlas/app/processes.hpp"
#include "securatlas/core/cron/worker_need.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/border/session_basis.hpp"
#include "securatlas/pg/border/transaction.hpp"
#include "securatlas/pg/cron/command.hpp"
#include "securatlas/pg/cron/run_settings.hpp"
#include "securatlas/pg/cron/runs.hpp"
#include "securatlas/pg/cron/settings.hpp"

namespace securatlas::app {
namespace {

constexpr core::Duration kPauseForLocks = std::chrono::milliseconds(20);

// Reads what the worker has to execute, of all runs in its queue at once.
class Tasks {
  public:
    // In the caller's transaction. If the extension is locked by another session, of() reads later.
    void read_if_free(const pg::RunOrder& order) {
        if (order.parcel == 0 && !knows(order)) (void)try_read();
    }
    pg::runs::Task of(const pg::RunOrder& order) {
        if (order.parcel != 0) return receive(order.parcel);
        if (!knows(order)) read();
        const auto task = tasks_.extract(order.run);
        return task.empty() ? pg::runs::Task{} : std::move(task.mapped());
    }

  private:
    // What was read stays true for the time in which a queue stays with its worker.
    bool knows(const pg::RunOrder& order) const {
        return pg::monotonic_now() < read_at_ + core::kSoon && tasks_.contains(order.run);
    }

    // Twice as many as the last time if these were all of use, else as many as were.
    std::size_t next_count() {
        const std::size_t used = count_ - (std::min)(count_, tasks_.size());
        count_ = tasks_.empty() ? 2 * count_ : (std::max)(used, std::size_t{1});
        return count_;
    }

    // In a transaction, because texts are converted by what the catalogs say.
    static pg::runs::Task receive(std::uint32_t parcel) {
        pg::Transaction transaction;
        pg::runs::Task task = pg::runs::receive_task(parcel);
        transaction.commit();
        return task;
    }

    // Needs a transaction. False: the extension is locked by another session.
    bool try_read() {
        if (!pg::try_keep_extension(pg::Tables::cron) && pg::has_tables(pg::Tables::cron)) {
            return false;
        }
        const auto orders = pg::WorkerSlot::runs_ahead(next_count());
        tasks_ = pg::runs::read_tasks(orders);
        count_ = (std::max)(orders.size(), std::size_t{1});
        read_at_ = pg::monotonic_now();
        return true;
    }

    // While the extension is locked by another session, waits without locking anything itself.
    void read() {
        for (;; pg::wait(pg::Wait::worker_lock, kPauseForLocks)) {
            pg::Transaction transaction;
            if (!try_read()) continue;
            transaction.commit();
            return;
        }
    }

    std::unordered_map<core::RunId, pg::runs::Task> tasks_;
    std::size_t count_ = 1;  // of tasks that were read at once
    core::Duration read_at_{0};
};

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

pg::RunReport execute_run(const pg::RunOrder& order, Tasks& tasks) {
    try {
        const pg::runs::Task task = tasks.of(order);
        return task.wanted ? pg::execute_run(order, task) : unwanted_report(order);
    } catch (const std::exception& error) {
        return pg::failed_report(order, error);
    }
}

// Measures whether runs wait: of all of the first ones, later of every fourth, because asking the
// kernel takes a microsecond each time.
class Waits {
  public:
    void begin() {
        is_measured_ = runs_ < kFirst || runs_ % kEach == 0;
        ++runs_;
        if (!is_measured_) return;
        before_ = pg::usage_so_far();
        began_ = pg::monotonic_now();
    }
    // Has slept, and not only for a moment: half of the time since begin() or more.
    std::optional<bool> has_waited() const {
        if (!is_measured_) return std::nullopt;
        const pg::Usage after = pg::usage_so_far();
        return after.sleeps > before_.sleeps &&
               pg::monotonic_now() - began_ > 2 * (after.processor - before_.processor);
    }

  private:
    static constexpr unsigned kFirst = 8;
    static constexpr unsigned kEach = 4;

    unsigned runs_ = 0;
    bool is_measured_ = false;
    pg::Usage before_;
    core::Duration began_{0};
};

void execute(const pg::RunOrder& order, Tasks& tasks, Waits& waits) {
    waits.begin();
    const pg::RunReport report = execute_run(order, tasks);
    if (!report.recorded ||
        !pg::WorkerSlot::report_recorded(
            {order, report.outcome, report.sqlstate, report.started_at, report.ended_at},
            waits.has_waited())) {
        pg::WorkerSlot::report(report);
    }
}

// The session in which orders are executed, one after another. What an order has left in it is
// removed before the next one, in the transaction in which the session looks whether it may execute
// that; at once if none waits.
class Session {
  public:
    // False: the role has lost rights since this process connected, or settings have changed. If
    // not, `then` is called in the same transaction; what it throws is left to who needs its
    // result.
    bool may_execute(const std::function<void()>& then) {
        const bool is_used = is_used_;
        bool has_looked = false;
        bool holds = false;
        try {
            begin([&] {
                holds = basis_.holds();
                has_looked = true;
                if (holds) then();
            });
            return holds;
        } catch (const std::exception&) {
            if (!has_looked) throw;
        }
        is_used_ = is_used;
        begin([&] { holds = basis_.holds(); });
        return holds;
    }
    void use() { is_used_ = true; }
    void tidy() {
        if (std::exchange(is_used_, false)) pg::reset_session();
        pg::clear_run_settings();
    }

  private:
    void begin(const std::function<void()>& look) {
        if (std::exchange(is_used_, false)) {
            pg::reset_session(look);
        } else {
            pg::Transaction transaction;
            look();
            transaction.commit();
        }
    }

    pg::SessionBasis basis_;
    bool is_used_ = false;
};

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
    Session session;
    CallbackRunner callbacks;
    Tasks tasks;
    Waits waits;
    for (auto order = pg::WorkerSlot::take_order(); order;) {
        const auto* const run = std::get_if<pg::RunOrder>(&*order);
        const auto read = [&tasks, run] {
            if (run != nullptr) tasks.read_if_free(*run);
        };
        if (!session.may_execute(read) && pg::WorkerSlot::give_back()) return;
        session.use();
        if (run != nullptr) {
            execute(*run, tasks, waits);
        } else {
            pg::clear_run_settings();
            pg::WorkerSlot::report(callbacks.execute(std::get<pg::CallbackOrder>(*order)));
        }
        pg::heed_signals();
        order = pg::WorkerSlot::take_order();
        if (order) continue;
        session.tidy();
        if (!wait_for_order()) return;
        order = pg::WorkerSlot::take_order();
    }
}

}  // namespace securatlas::app
