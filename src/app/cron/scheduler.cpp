// The scheduler of one database: passes events to the core's state machine and executes its
// commands. Each turn does the same: collect, step, write, hand out; then it sleeps until the next
// occurrence or until its latch is set. What could not be done in a turn (the history is locked, no
// worker is free, a transaction failed) is kept and tried again, and does not delay anything else.
#include "cron/scheduler.hpp"

#include <random>

#include "securatlas/app/processes.hpp"
#include "securatlas/core/cron/run_reasons.hpp"
#include "securatlas/core/cron/worker_need.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/border/transaction.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/cron/settings.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/net/settings.hpp"
#include "securatlas/pg/shared/installed_extension.hpp"
#include "securatlas/pg/shared/statistics.hpp"

namespace securatlas::app {
namespace {

// Limits how often an http worker that fails at once is started.
constexpr core::Duration kPauseBetweenLaunches = std::chrono::seconds(1);
constexpr core::Duration kGather = std::chrono::microseconds(500);
constexpr core::Duration kPauseAfterError = std::chrono::milliseconds(500);
// If the wall clock and the monotonic clock differ by more than this between two turns, the wall
// clock was set.
constexpr core::Duration kClockStep = std::chrono::seconds(1);

core::Scheduler::Random random_source() {
    auto engine = std::make_shared<std::mt19937_64>(std::random_device{}());
    return [engine] { return std::uniform_real_distribution<double>(0.0, 1.0)(*engine); };
}

pg::InstalledExtension look_for_extension(pg::DatabaseOid database) {
    pg::DatabaseTable::begin_look(database);
    pg::Transaction transaction;
    pg::InstalledExtension found = pg::installed_extension();
    transaction.commit();
    return found;
}

// Waits while the extension has another version than the library. False: the extension was dropped.
bool wait_for_version(pg::DatabaseOid database) {
    bool logged = false;
    while (true) {
        const pg::InstalledExtension found = look_for_extension(database);
        if (found.state != pg::InstalledExtension::State::other_version) {
            return found.state == pg::InstalledExtension::State::matching;
        }
        if (!std::exchange(logged, true)) {
            const pg::Error error = pg::unusable_extension(found);
            pg::write_log(pg::LogLevel::warning, "securatlas_sched scheduler: " + error.message() +
                                                     "; nothing runs here (" + error.sqlstate() +
                                                     "). " + error.hint());
        }
        pg::wait(pg::Wait::update, core::Duration::max());
    }
}

template <class... Handlers>
struct Overloaded : Handlers... {
    using Handlers::operator()...;
};
template <class... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

}  // namespace

SchedulerProcess::SchedulerProcess(pg::DatabaseOid database)
    : database_(database),
      machine_(random_source()),
      dispatcher_(database),
      random_(random_source()) {}

SchedulerProcess::End SchedulerProcess::run() {
    while (true) {
        try {
            if (!is_started_) is_started_ = start();
            if (is_started_) turn();
            if (end_) return *end_;
            rest();
        } catch (const pg::Error& error) {
            note_error(error);
            if (end_) return *end_;
            pg::pause(kPauseAfterError);
        }
    }
}

// While workers have runs in their queues, nobody waits for this process: reports gather for a
// moment without waking it.
void SchedulerProcess::rest() {
    if (!is_started_) return pg::wait(pg::Wait::scheduler, kPauseAfterError);
    core::Duration sleep = sleep_time();
    if (dispatcher_.has_queued()) {
        pg::sleep_through(pg::Wait::scheduler, (std::min)(sleep, kGather));
        sleep = core::Duration(0);
    }
    pg::wait(pg::Wait::scheduler, sleep);
}

// ---- a turn --------------------------------------------------------------------------------

void SchedulerProcess::turn() {
    take_notices();
    if (end_) return;
    collect_reports();
    watch_clock();
    if (has_cron()) plan();
    if (has_net()) order(callbacks_);
    if (has_cron()) tell_late();
    if (has_cron()) order(alerts_);
    dispatcher_.hand_out(pg::monotonic_now(),
                         [this](const pg::RunReport& report) { add_outcome(report); });
    plan_next_show();
    if (has_net()) {
        start_http_worker();
        purge_responses();
    }
    if (has_cron()) purge();
    publish();
}

void SchedulerProcess::plan() {
    follow_roles();
    settle_rest();
    reload_changed_jobs();
    read_requested_runs();
    show_progress();
    step();
    // The machine may react to results with commands that have to be written, too.
    for (int round = 0; round < kRoundsPerTurn; ++round) {
        handle_written(writer_.flush(planned_until_, machine_.is_behind(), pg::monotonic_now()));
        if (events_.empty()) break;
        step();
        // Hand out these runs first; the next portion of claims is written in the next turn.
        if (writer_.waiting_claims() > 0) break;
    }
}

void SchedulerProcess::take_notices() {
    const pg::Notices taken = pg::DatabaseTable::take_notices(database_);
    for (const pg::Notice& notice : taken.notices) {
        switch (notice.kind) {
            case pg::Notice::Kind::job_changed:
                changed_jobs_.push_back(notice.id);
                break;
            case pg::Notice::Kind::run_requested:
                requested_runs_.push_back(notice.id);
                break;
            case pg::Notice::Kind::run_cancelled:
                cancelled_runs_.push_back(notice.id);
                break;
            case pg::Notice::Kind::callback_waiting:
                callbacks_.notified(static_cast<pg::RoleOid>(notice.id));
                break;
            case pg::Notice::Kind::alert_waiting:
                alerts_.notified(static_cast<pg::RoleOid>(notice.id));
                break;
            case pg::Notice::Kind::purge_wanted:
                purge_soon_ = true;
                break;
        }
    }
    check_extension_ = check_extension_ || taken.check_extension;
    if (check_extension_) check_extension();
    if (has_cron()) {
        if (taken.overflowed || settings_changed()) reload_all_ = true;
        if (taken.overflowed) alerts_.look_at_all();
        roles_changed_ = roles_changed_ || taken.overflowed;
        all_requested_ = all_requested_ || taken.overflowed;
    }
    if (has_net()) {
        if (taken.overflowed) callbacks_.look_at_all();
        http_wanted_ = http_wanted_ || taken.http_wanted;
    }
}

void SchedulerProcess::check_extension() {
    const pg::InstalledExtension found = look_for_extension(database_);
    check_extension_ = false;
    // Exit; the next scheduler waits until the versions match.
    if (found.state == pg::InstalledExtension::State::other_version) pg::exit_process(true);
    if (!has_cron() && !has_net()) {
        cron_ = found.cron;
        net_ = found.net;
        if (found.state == pg::InstalledExtension::State::absent) end_ = End::nothing_left;
        // Users of pg_cron look for the scheduler by this name.
        pg::set_application_name(has_cron() ? "pg_cron scheduler" : "securatlas_sched scheduler");
        return;
    }
    end_ = end_by(found);
    if (end_ || found.net == net_) return;
    callbacks_ = SchedulerCallbacks(pg::Calls::callbacks);
    http_wanted_ = false;
    net_ = found.net;
    if (has_net()) start_sending();
}

// The state in memory belongs to the schemas that existed when it was loaded. If only one schema
// was created or dropped, runs or requests in progress for the other one go on.
std::optional<SchedulerProcess::End> SchedulerProcess::end_by(const pg::InstalledExtension& found) {
    if (found.cron == 0 && found.net == 0) return End::nothing_left;
    if (found.cron == cron_) return std::nullopt;
    if (found.net != net_) return End::another;
    if (has_cron()) pg::DatabaseTable::abandon_orders(database_);
    return End::anew;
}

// Whether settings have changed that jobs in memory depend on.
bool SchedulerProcess::settings_changed() {
    const pg::Settings now = pg::settings();
    const auto key =
        std::make_tuple(std::string(now.timezone), now.catchup_window, now.launch_active_jobs);
    const bool changed = settings_key_.has_value() && *settings_key_ != key;
    settings_key_ = key;
    return changed;
}

void SchedulerProcess::collect_reports() {
    runs_are_queued_ = pg::WorkerTable::collect(database_, pg::monotonic_now(), reports_);
    dispatcher_.follow_launches(reports_);
    while (!reports_.empty()) {
        std::visit([this](const auto& report) { handle_report(report); }, reports_.back());
        reports_.pop_back();  // only now, so that an error above loses no report
    }
}

void SchedulerProcess::handle_report(const pg::CallbackReport& report) {
    taking_care_of(report.order.calls).ended(report, random_());
}

void SchedulerProcess::handle_report(const pg::ReturnedOrder& returned) {
    dispatcher_.returned(returned, pg::monotonic_now());
}

void SchedulerProcess::handle_report(const pg::RecordedEnd& end) {
    shown_.erase(static_cast<std::int64_t>(end.order.run));
    count_end({end.order, end.outcome, end.started_at, end.ended_at});
    events_.push_back(
        core::RunEnded{end.order.run, end.outcome, core::is_retryable(end.sqlstate.data())});
}

void SchedulerProcess::handle_report(const pg::RunReport& report) {
    dispatcher_.ended(report.order);
    shown_.erase(static_cast<std::int64_t>(report.order.run));
    add_outcome(report);
}

void SchedulerProcess::add_outcome(const pg::RunReport& report) {
    if (report.recorded || !report.order.logged) {
        count_end({report.order, report.outcome, report.started_at, report.ended_at});
        events_.push_back(core::RunEnded{report.order.run, report.outcome,
                                         core::is_retryable(report.sqlstate.data())});
    } else {
        writer_.add_outcome(report);  // RunEnded follows when the outcome is in the row
    }
}

void SchedulerProcess::watch_clock() {
    const core::Duration offset = pg::now().time_since_epoch() - pg::monotonic_now();
    if (clock_offset_ && std::chrono::abs(offset - *clock_offset_) > kClockStep) {
        status_.last_clock_step = pg::now();
        if (offset < *clock_offset_) {
            callbacks_.clock_set_back();
            alerts_.clock_set_back();
        }
    }
    clock_offset_ = offset;
}

void SchedulerProcess::step() {
    const core::Instant now = pg::now();
    const std::vector<core::Event> events = std::move(events_);
    events_.clear();
    for (const core::Command& command : machine_.step(now, events)) carry_out(command);
    planned_until_ = machine_.planned_until();
}

void SchedulerProcess::carry_out(const core::Command& command) {
    std::visit(Overloaded{
                   [this](const core::StartRun& start) {
                       dispatcher_.make_ready(start, pg::monotonic_now());
                   },
                   [this](const core::RecordSkip& skip) {
                       count_skip(skip.occurrence.job, skip.reason, skip.count);
                       writer_.add(skip);
                   },
                   [this](const core::SkipRun& skip) {
                       count_skip(skip);
                       dispatcher_.forget(skip.run);
                       writer_.add(skip);
                   },
                   [this](const core::CancelRun& cancel) { cancel_run(cancel.run); },
                   [this](const auto& to_write) { writer_.add(to_write); },
               },
               command);
}

// Ends a run that waits for a worker; a running one is cancelled by its worker.
void SchedulerProcess::cancel_run(core::RunId run) {
    const core::SkipRun skip{run, "cancelled: the next run took its place"};
    count_skip(skip);
    if (dispatcher_.withdraw(run)) {
        writer_.add(skip);
        events_.push_back(core::RunEnded{run, core::RunOutcome::cancelled, false});
    } else {
        (void)pg::WorkerTable::cancel(database_, run);
    }
}

// A claim is acknowledged to the machine only when the target of its run is known.
void SchedulerProcess::handle_written(HistoryWriter::Written written) {
    for (const pg::Statistics::RunEnd& end : written.ended) {
        count_end(end);
    }
    std::move(written.runs.begin(), written.runs.end(), std::back_inserter(unknown_runs_));
    std::move(written.events.begin(), written.events.end(), std::back_inserter(unanswered_));
    if (!unknown_runs_.empty()) {
        pg::Transaction transaction;
        dispatcher_.add(unknown_runs_);
        late_.add(unknown_runs_, pg::monotonic_now());
        transaction.commit();
        unknown_runs_.clear();
    }
    std::move(unanswered_.begin(), unanswered_.end(), std::back_inserter(events_));
    unanswered_.clear();
    if (written.error) note_error(*written.error);
}

// ---- the rest ------------------------------------------------------------------------------

void SchedulerProcess::start_http_worker() {
    const core::Duration monotonic = pg::monotonic_now();
    if (!http_wanted_ || !pg::net_settings().send_requests) return;
    if (monotonic < next_http_launch_) return;
    next_http_launch_ = monotonic + kPauseBetweenLaunches;
    http_wanted_ = false;
    if (pg::DatabaseTable::http_worker_pid(database_) != 0) return;
    if (pg::DatabaseTable::http_worker_is_kept(database_)) return;
    if (http_launch_ && http_launch_->state() == pg::Launched::State::starting) return;
    http_launch_ = pg::launch_http_worker(database_);
    if (http_launch_) return;
    http_wanted_ = true;
}

// A failure in the handling of calls must not prevent runs from starting.
void SchedulerProcess::order(SchedulerCallbacks& calls) {
    try {
        calls.give_orders(dispatcher_);
    } catch (const pg::Error& error) {
        note_error(error);
    }
}

void SchedulerProcess::tell_late() {
    try {
        late_.tell(dispatcher_, pg::monotonic_now());
    } catch (const pg::Error& error) {
        note_error(error);
    }
}

core::Duration SchedulerProcess::sleep_time() {
    const core::Duration monotonic = pg::monotonic_now();
    const core::Instant wake = machine_.next_wake();
    core::Duration sleep = wake == core::kNever ? core::Duration::max() : wake - pg::now();
    if (const auto next = writer_.next_try(monotonic)) sleep = (std::min)(sleep, *next);
    if (const auto next = dispatcher_.next_try(monotonic)) sleep = (std::min)(sleep, *next);
    if (const auto next = callbacks_.time_left()) sleep = (std::min)(sleep, *next);
    if (const auto next = alerts_.time_left()) sleep = (std::min)(sleep, *next);
    if (const auto next = late_.time_left(monotonic)) sleep = (std::min)(sleep, *next);
    if (next_show_) sleep = (std::min)(sleep, *next_show_);
    if (runs_are_queued_) sleep = (std::min)(sleep, core::kSoon);
    if (roles_changed_) sleep = (std::min)(sleep, kPauseAfterError);
    sleep = (std::min)(sleep, purge_responses_at_ - monotonic);
    if (history_purge_.is_shown()) sleep = (std::min)(sleep, purge_at_ - monotonic);
    if (!is_settled_) sleep = (std::min)(sleep, settle_at_ - monotonic);
    if (!jobs_to_reload_.empty()) sleep = (std::min)(sleep, reload_at_ - monotonic);
    if (http_wanted_ && pg::net_settings().send_requests) {
        sleep = (std::min)(sleep, next_http_launch_ - monotonic);
    }
    if (!events_.empty()) sleep = core::Duration(0);
    return sleep;
}

void run_scheduler(pg::DatabaseOid database) {
    pg::accept_signals();
    pg::wait_precisely();
    if (!pg::DatabaseTable::attach_scheduler(database)) return;
    pg::connect_as_superuser(database);
    pg::Statistics::begin(database);
    pg::Statistics::count(database, pg::DatabaseValue::starts, 1);
    while (true) {
        try {
            using End = SchedulerProcess::End;
            const End end =
                wait_for_version(database) ? SchedulerProcess(database).run() : End::nothing_left;
            if (end == End::anew) continue;
            pg::Statistics::forget(database);
            pg::DatabaseTable::detach_scheduler(database, end == End::another);
            return;
        } catch (const std::exception& error) {
            // Out of memory within a step leaves the state incomplete: start again from the tables.
            pg::write_log(pg::LogLevel::warning,
                          std::string("securatlas_sched scheduler: starts anew: ") + error.what());
        }
        pg::pause(kPauseAfterError);
    }
}

}  // namespace securatlas::app
