// What users see of the scheduler: runs that are executed or wait, statistics, its status and its
// log.
#include <algorithm>

#include "cron/scheduler.hpp"
#include "securatlas/core/cron/run_reasons.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/shared/statistics.hpp"

namespace securatlas::app {
namespace {

constexpr core::Duration kShowAfter = std::chrono::milliseconds(500);
// Recording why a run waits costs an update, so that only runs that wait for longer are explained.
constexpr core::Duration kExplainAfter = std::chrono::seconds(2);

}  // namespace

void SchedulerProcess::show_progress() {
    const core::Duration monotonic = pg::monotonic_now();
    const core::Instant now = pg::now();
    for (const pg::OrderInProgress& found : pg::WorkerTable::in_progress(database_)) {
        const auto* run = std::get_if<pg::RunOrder>(&found.order);
        if (run == nullptr || !run->logged) continue;
        if (found.pid == 0 || found.started_at == core::kLongAgo) continue;
        const auto id = static_cast<std::int64_t>(run->run);
        if (shown_.contains(id)) continue;
        if (now < found.started_at + kShowAfter) continue;
        shown_.insert(id);
        writer_.show({run->run, found.pid, found.started_at});
    }
    if (monotonic < explain_at_) return;  // explaining goes through all waiting runs
    explain_at_ = monotonic + kShowAfter;
    for (const core::ExplainWait& wait :
         dispatcher_.explain_waits(monotonic - kExplainAfter, monotonic)) {
        writer_.add(wait);
    }
}

// At the end of a turn, because workers may start runs while the scheduler sleeps.
void SchedulerProcess::plan_next_show() {
    next_show_.reset();
    if (dispatcher_.waiting() > 0) next_show_ = kShowAfter;
    for (const pg::OrderInProgress& found : pg::WorkerTable::in_progress(database_)) {
        const auto* run = std::get_if<pg::RunOrder>(&found.order);
        if (run == nullptr || !run->logged) continue;
        if (shown_.contains(static_cast<std::int64_t>(run->run))) continue;
        const bool started = found.pid != 0 && found.started_at != core::kLongAgo;
        const core::Duration left =
            started ? found.started_at + kShowAfter - pg::now() : kShowAfter;
        next_show_ = next_show_ ? (std::min)(*next_show_, left) : left;
    }
}

void SchedulerProcess::publish() {
    status_.planned_until = planned_until_;
    status_.jobs = static_cast<std::int64_t>(machine_.job_count());
    status_.waiting = static_cast<std::int64_t>(dispatcher_.waiting());
    status_.oldest_wait = dispatcher_.oldest_wait().value_or(core::kNever);
    pg::DatabaseTable::publish(database_, status_);
}

// Call it outside of transactions.
void SchedulerProcess::note_error(const pg::Error& error) {
    // If the extension was dropped, missing tables are the expected error.
    check_extension();
    if (end_ || error.sqlstate() == pg::kExtensionIsLocked) return;
    show_error(error);
}

void SchedulerProcess::show_error(const pg::Error& error) {
    pg::Statistics::count_error(database_);
    pg::assign_text(status_.last_error, error.message());
    pg::write_log(pg::LogLevel::warning,
                  "securatlas_sched scheduler: " + error.message() + " (" + error.sqlstate() + ")");
    pg::DatabaseTable::publish(database_, status_);
}

// ---- counting ------------------------------------------------------------------------------

void SchedulerProcess::count_end(const pg::Statistics::RunEnd& end) const {
    pg::Statistics::count_end(database_, end, machine_.has_job(end.order.occurrence.job));
}

void SchedulerProcess::count_skip(core::JobId job, const std::string& reason,
                                  std::int64_t occurrences) const {
    pg::Statistics::count_skip(database_, static_cast<std::int64_t>(job),
                               core::reasons::kind_of(reason), occurrences, machine_.has_job(job));
}

// Nothing is counted of a run that is with a worker.
void SchedulerProcess::count_skip(const core::SkipRun& skip) const {
    const auto occurrence = dispatcher_.occurrence_of(skip.run);
    if (occurrence) count_skip(occurrence->job, skip.reason, 1);
}

void SchedulerProcess::count_cancelled(core::RunId run) const {
    const auto occurrence = dispatcher_.occurrence_of(run);
    if (!occurrence) return;
    count_end({{.run = run, .occurrence = *occurrence}, core::RunOutcome::cancelled});
}

}  // namespace securatlas::app
