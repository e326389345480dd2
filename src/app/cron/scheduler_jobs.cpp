// How the scheduler loads its state: at its start, and when jobs have changed.
#include <algorithm>
#include <functional>
#include <optional>
#include <unordered_set>
#include <utility>

#include "cron/planning_state.hpp"
#include "cron/scheduler.hpp"
#include "securatlas/core/cron/run_policy.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/border/transaction.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/shared/statistics.hpp"

namespace securatlas::app {
namespace {

constexpr int kJobsPerPage = 5000;
constexpr core::Duration kLookAgain = std::chrono::milliseconds(500);

}  // namespace

// ---- start ---------------------------------------------------------------------------------

// False: the history is locked. It is called again then, and after an Error.
bool SchedulerProcess::start() {
    check_extension();
    if (end_) return false;
    if (has_net()) start_sending();
    if (!has_cron()) {
        (void)adopt_runs();  // callbacks
    } else if (!start_planning()) {
        return false;
    }
    for (const pg::RunReport& report : std::exchange(former_reports_, {})) handle_report(report);
    return true;
}

// For requests and callbacks that are there already, because they were made before this scheduler
// started or knew of schema net.
void SchedulerProcess::start_sending() {
    callbacks_.look_at_all();
    pg::Transaction transaction;
    http_wanted_ = !pg::try_keep_extension(pg::Tables::net) || pg::requests::may_have_requests();
    transaction.commit();
}

bool SchedulerProcess::start_planning() {
    (void)settings_changed();  // the jobs are loaded with the current settings
    events_.clear();           // of an earlier start() that failed
    jobs_to_reload_.clear();
    former_runs_.clear();
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    if (!pg::runs::try_lock_history()) return false;
    const auto adopted = adopt_runs();
    core::Started started;
    started.planned_until = settle();
    planned_until_ = started.planned_until.value_or(pg::now());
    if (!started.planned_until || *started.planned_until < pg::server_start()) {
        started.server_start = pg::server_start();
    }
    std::vector<std::int64_t> alive;
    alive.reserve(adopted.size());
    for (const auto& run : adopted) alive.push_back(static_cast<std::int64_t>(run.run));
    load_jobs_at_start();
    const auto interrupted = pg::runs::find_interrupted(alive, pg::server_start());
    for (const pg::runs::Interrupted& run : interrupted) {
        if (run.is_latest) started.interrupted.push_back({run.occurrence, run.transactional});
    }
    if (started.planned_until) {
        for (const auto& run : pg::runs::find_failed(*started.planned_until, alive)) {
            if (core::is_retryable(run.sqlstate)) {
                started.failed.push_back({run.occurrence, run.ended_at});
            }
        }
    }
    if (started.planned_until) {
        pg::alerts::tell_restart("It had planned the runs until " +
                                 core::utc_text(*started.planned_until));
    }
    all_requested_ = true;
    alerts_.look_at_all();
    changed_jobs_.clear();
    started.adopted = adopted;
    events_.emplace_back(std::move(started));
    transaction.commit();
    for (const pg::runs::Interrupted& run : interrupted) {
        const auto job = static_cast<std::int64_t>(run.occurrence.job);
        if (is_to_be_known(job)) {
            former_runs_[job].push_back(run);
        } else {
            end_interrupted(run);
        }
    }
    return true;
}

// Adopts runs that workers execute, or whose reports the last scheduler did not collect.
std::vector<core::AdoptedRun> SchedulerProcess::adopt_runs() {
    const auto found = pg::WorkerTable::adopt(database_);
    std::vector<core::AdoptedRun> adopted;
    for (const pg::OrderInProgress& one : found.in_progress) {
        if (const auto* run = std::get_if<pg::RunOrder>(&one.order)) {
            adopted.push_back({run->run, run->occurrence});
        } else {
            const auto& order = std::get<pg::CallbackOrder>(one.order);
            taking_care_of(order.calls).adopt(order.role);
        }
    }
    for (const pg::WorkerReport& one : found.reports) {
        if (const auto* report = std::get_if<pg::RunReport>(&one)) {
            // A run whose worker died is treated as interrupted, because its row shows whether it
            // may have left effects. But for a run in another database or without a row the report
            // is the only source. Orders that were given back unbegun are treated as interrupted,
            // too.
            const bool is_in_its_row = report->order.logged && report->order.parcel == 0;
            if (!report->died || !is_in_its_row) former_reports_.push_back(*report);
        } else if (const auto* end = std::get_if<pg::RecordedEnd>(&one)) {
            pg::RunReport recorded;
            recorded.order = end->order;
            recorded.outcome = end->outcome;
            recorded.recorded = true;
            recorded.sqlstate = end->sqlstate;
            former_reports_.push_back(recorded);
        } else if (const auto* callbacks = std::get_if<pg::CallbackReport>(&one)) {
            handle_report(*callbacks);
        }
    }
    for (const pg::RunReport& report : former_reports_) {
        const bool counts = report.recorded && report.outcome == core::RunOutcome::failed;
        adopted.push_back({report.order.run, report.order.occurrence, counts});
    }
    return adopted;
}

// Whether the jobs are of this database. Returns up to when it has been planned.
std::optional<core::Instant> SchedulerProcess::settle() {
    const PlanningStart start = settle_planning_state(pg::now());
    unsettled_jobs_ = {start.locked_jobs.begin(), start.locked_jobs.end()};
    is_settled_ = start.is_settled;
    settle_at_ = pg::monotonic_now() + kLookAgain;
    return start.planned_until;
}

// Tries again to move the jobs that were locked. Jobs that were moved are loaded again, like all
// jobs that have changed.
void SchedulerProcess::settle_rest() {
    if (is_settled_ || pg::monotonic_now() < settle_at_) return;
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    const auto locked_before = unsettled_jobs_;
    (void)settle();
    transaction.commit();
    for (const std::int64_t job : locked_before) {
        if (!unsettled_jobs_.contains(job)) changed_jobs_.push_back(job);
    }
}

// ---- jobs ----------------------------------------------------------------------------------

// What has to be done before the jobs are loaded would cost more than loading them, and rarely is
// anything to do. So they are loaded, and again if something was done. The machine takes them in
// pages: it starts nothing before Started.
void SchedulerProcess::load_jobs_at_start() {
    const auto load = [this] {
        return load_all_jobs([this] {
            for (const core::Command& command : machine_.step(pg::now(), events_)) {
                carry_out(command);
            }
            events_.clear();
        });
    };
    const Found found = load();
    const bool removed = found.one_offs && pg::jobs::remove_finished_one_offs() > 0;
    roles_changed_ = found.foreign_roles && !pg::jobs::follow_roles();
    if (!pg::alerts::follow_roles()) roles_changed_ = true;
    if (removed || found.foreign_roles) (void)load();
    std::vector<core::JobId> jobs = machine_.job_ids();
    for (const std::int64_t id : unsettled_jobs_) jobs.push_back(core::JobId{id});
    for (const std::int64_t id : jobs_to_reload_) jobs.push_back(core::JobId{id});
    std::ranges::sort(jobs);
    pg::Statistics::keep_jobs(database_, jobs);
}

SchedulerProcess::Found SchedulerProcess::load_all_jobs(const std::function<void()>& after_page) {
    std::vector<core::JobId> known = machine_.job_ids();
    for (const core::Event& event : events_) {
        if (const auto* loaded = std::get_if<core::JobLoaded>(&event))
            known.push_back(loaded->job.id);
    }
    std::ranges::sort(known);
    std::vector<bool> is_there(known.size());
    Found found;
    pg::jobs::read_all(kJobsPerPage, [&](const std::vector<pg::jobs::PlanRow>& rows) {
        for (const pg::jobs::PlanRow& row : rows) {
            // clang 14 does not compile std::ranges::equal_range.
            for (auto [place, end] =
                     std::equal_range(known.begin(), known.end(), core::JobId{row.id});
                 place != end; ++place) {
                is_there[static_cast<std::size_t>(place - known.begin())] = true;
            }
            found.foreign_roles = found.foreign_roles || row.differs_from_role;
            found.one_offs = found.one_offs || row.schedule.find('@') != std::string::npos;
            load_job(row);
        }
        pg::check_interrupts();
        after_page();
    });
    for (std::size_t i = 0; i < known.size(); ++i) {
        if (is_there[i]) continue;
        forget_job(static_cast<std::int64_t>(known[i]));
        pg::Statistics::forget_job(database_, static_cast<std::int64_t>(known[i]));
    }
    return found;
}

void SchedulerProcess::load_job(const pg::jobs::PlanRow& row) {
    if (unsettled_jobs_.contains(row.id)) {
        if (machine_.has_job(core::JobId{row.id})) forget_job(row.id);
        return hold_job(row.id);
    }
    core::Result<core::Job, std::string> job = core::Failure{std::string()};
    try {
        job = loader_.load(row);
    } catch (const pg::Error& error) {
        // The server lacks a resource, and the row may be valid: load this job again later. The
        // transaction goes on, because nothing is left behind in it.
        show_error(error);
        hold_job(row.id);
        jobs_to_reload_.insert(row.id);
        reload_at_ = pg::monotonic_now() + kLookAgain;
        return;
    }
    if (job) {
        events_.emplace_back(core::JobLoaded{std::move(job).value()});
        end_former_runs(row.id);
        return;
    }
    forget_job(row.id);
    if (row.active) writer_.add(core::PauseJob{core::JobId{row.id}, job.error()});
}

// The machine ignores that a job cannot be loaded that it has.
void SchedulerProcess::hold_job(std::int64_t id) {
    events_.emplace_back(core::JobUnreadable{core::JobId{id}});
}

// The machine ignores that a job is gone that it does not know.
void SchedulerProcess::forget_job(std::int64_t id) {
    events_.emplace_back(core::JobRemoved{core::JobId{id}});
    end_former_runs(id);
}

// The job is loaded or gone: its interrupted runs end together with the claims that follow them.
void SchedulerProcess::end_former_runs(std::int64_t job) {
    const auto runs = former_runs_.extract(job);
    if (!runs) return;
    for (const pg::runs::Interrupted& run : runs.mapped()) end_interrupted(run);
}

void SchedulerProcess::end_interrupted(const pg::runs::Interrupted& run) {
    writer_.add_interrupted(run);
    count_end(
        {{.run = core::RunId{run.run}, .occurrence = run.occurrence}, core::RunOutcome::failed});
}

// The rows that it changes are loaded again like rows changed by users.
void SchedulerProcess::follow_roles() {
    if (!roles_changed_) return;
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    const bool jobs_done = pg::jobs::follow_roles();
    const bool alerts_done = pg::alerts::follow_roles();
    transaction.commit();
    roles_changed_ = !jobs_done || !alerts_done;
}

void SchedulerProcess::reload_changed_jobs() {
    if (!jobs_to_reload_.empty() && pg::monotonic_now() >= reload_at_) {
        changed_jobs_.insert(changed_jobs_.end(), jobs_to_reload_.begin(), jobs_to_reload_.end());
        jobs_to_reload_.clear();
    }
    if (changed_jobs_.empty() && !reload_all_) return;
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    if (reload_all_) {
        (void)settle();
        (void)load_all_jobs([] {});
    } else {
        std::unordered_set<std::int64_t> gone(changed_jobs_.begin(), changed_jobs_.end());
        const std::vector<std::int64_t> ids(gone.begin(), gone.end());
        for (const pg::jobs::PlanRow& row : pg::jobs::read(ids)) {
            gone.erase(row.id);
            load_job(row);
        }
        for (const std::int64_t id : gone) {
            forget_job(id);
            pg::Statistics::forget_job(database_, id);
        }
    }
    transaction.commit();
    changed_jobs_.clear();
    reload_all_ = false;
}

// ---- runs that were asked for, and cancelled --------------------------------------------------

void SchedulerProcess::read_requested_runs() {
    for (const std::int64_t id : cancelled_runs_) {
        const core::RunId run{id};
        count_cancelled(run);
        // If a worker has the run by now, the worker ends it.
        if (!dispatcher_.withdraw(run) && pg::WorkerTable::cancel(database_, run) !=
                                              pg::WorkerTable::Cancelled::no_worker_has_it) {
            continue;
        }
        events_.push_back(core::RunEnded{run, core::RunOutcome::cancelled, false});
    }
    cancelled_runs_.clear();
    if (requested_runs_.empty() && !all_requested_) return;
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    auto rows = all_requested_ ? pg::runs::read_all_waiting_manual(pg::server_start())
                               : pg::runs::read_waiting(requested_runs_);
    load_jobs_of(rows);
    const auto held =
        std::stable_partition(rows.begin(), rows.end(), [this](const pg::runs::RunRow& row) {
            return !is_to_be_known(static_cast<std::int64_t>(row.occurrence.job));
        });
    std::vector<std::int64_t> later;
    for (auto row = held; row != rows.end(); ++row) {
        later.push_back(static_cast<std::int64_t>(row->run));
    }
    rows.erase(held, rows.end());
    dispatcher_.add(rows);
    transaction.commit();
    for (const pg::runs::RunRow& row : rows) {
        events_.push_back(
            core::ManualRun{row.run, row.occurrence.job, row.occurrence.scheduled_at});
    }
    requested_runs_ = std::move(later);
    all_requested_ = false;
}

// A run may be of a job that was made after the jobs were read.
void SchedulerProcess::load_jobs_of(const std::vector<pg::runs::RunRow>& runs) {
    std::vector<std::int64_t> unknown;
    for (const pg::runs::RunRow& run : runs) {
        const auto job = static_cast<std::int64_t>(run.occurrence.job);
        if (!machine_.has_job(run.occurrence.job) && !is_to_be_known(job)) unknown.push_back(job);
    }
    if (unknown.empty()) return;
    for (const pg::jobs::PlanRow& row : pg::jobs::read(unknown)) load_job(row);
}

// Whether the job may be there, and is looked at again soon: its runs wait for that.
bool SchedulerProcess::is_to_be_known(std::int64_t job) const {
    if (machine_.has_job(core::JobId{job})) return false;
    return unsettled_jobs_.contains(job) || jobs_to_reload_.contains(job);
}

}  // namespace securatlas::app
