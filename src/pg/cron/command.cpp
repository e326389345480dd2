// Executes a run's command. The upper half is C world: user SQL runs there, inside one call().
#include "securatlas/pg/cron/command.hpp"

#include <csignal>
#include <optional>

#include "border/statement_runner.hpp"
#include "border/user_code.hpp"
#include "cron/run_texts.hpp"
#include "securatlas/core/cron/run_reasons.hpp"
#include "securatlas/core/text.hpp"
#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/border/transaction.hpp"
#include "securatlas/pg/cron/run_settings.hpp"
#include "securatlas/pg/cron/settings.hpp"

extern "C" {
#include "access/xact.h"
#include "mb/pg_wchar.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg {
namespace {

constexpr int kAskAgainMs = 1000;

// The run that this process executes.
struct State {
    CurrentRun* run = nullptr;
    core::Instant started_at{};
    bool last_commit = false;  // the commit that is coming is the run's last
    bool marked = false;       // the row says that the run is not transactional
    bool asks_again = false;   // the command has caught its cancellation
    volatile sig_atomic_t over_time = 0;
    TimeoutId run_timeout = MAX_TIMEOUTS;
};
constinit State state;

// ---- signals -------------------------------------------------------------------------------

void cancel_command() {
    InterruptPending = 1;
    QueryCancelPending = 1;
    SetLatch(MyLatch);
}

// max_runtime is over, or a command has caught its cancellation a second ago.
extern "C" void securatlas_run_timeout() {
    if (!state.asks_again) state.over_time = 1;
    cancel_command();
}

// SIGUSR2: cancellation of a run was requested, perhaps of an earlier one.
extern "C" void securatlas_cancel_signal(SIGNAL_ARGS) {
    (void)postgres_signal_arg;
    const int saved = errno;
    if (state.run != nullptr && WorkerSlot::cancel_requested(state.run->order.run))
        cancel_command();
    errno = saved;
}

// What catches an error rolls back a subtransaction. A command that caught the cancellation of its
// run is asked again each second.
extern "C" void securatlas_subtransaction_ends(SubXactEvent event, SubTransactionId,
                                               SubTransactionId, void*) {
    if (event != SUBXACT_EVENT_ABORT_SUB || state.run == nullptr || state.asks_again) return;
    if (!WorkerSlot::cancel_requested(state.run->order.run)) return;
    state.asks_again = true;
    enable_timeout_every(state.run_timeout,
                         TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kAskAgainMs),
                         kAskAgainMs);
}

// ---- commits in the middle of a run --------------------------------------------------------

// Before a commit that is not the run's last, marks the run's row in the same transaction: after a
// crash, the mark shows that some effects of the run are committed.
extern "C" void securatlas_run_commits(XactEvent event, void*) {
    if (event != XACT_EVENT_PRE_COMMIT) return;
    if (state.run == nullptr || state.last_commit || state.marked) return;
    state.marked = true;  // set first, so that the marking itself does not recurse
    if (!state.run->order.logged || state.run->order.parcel != 0) return;
    entry([] { runs::mark_not_transactional(state.run->order, MyProcPid, state.started_at); });
}

// ---- one run -------------------------------------------------------------------------------

class RunScope {
  public:
    // The delegated constructor is complete, so that the destructor runs if the body throws.
    RunScope(const RunOrder& order, const runs::Task& task) : RunScope(order, task.job_name) {
        set_run_settings(run_);
        call([this, &task] { announce(task); });
        WorkerSlot::report_started(state.started_at);
    }
    ~RunScope() {
        state.run = nullptr;
        debug_query_string = nullptr;
    }
    RunScope(const RunScope&) = delete;
    RunScope& operator=(const RunScope&) = delete;

  private:
    RunScope(const RunOrder& order, const std::string& job_name) : run_{order, job_name} {
        state.started_at = now();
        state.last_commit = false;
        state.marked = false;
        state.asks_again = false;
        state.over_time = 0;
        state.run = &run_;
    }

    // Shows the run in pg_stat_activity and in the server log.
    void announce(const runs::Task& task) {
        constexpr int kShownName = 90;
        char name[NAMEDATALEN * 2];
        const auto run = static_cast<long long>(run_.order.run);
        const auto job = static_cast<long long>(run_.order.occurrence.job);
        if (task.job_name.empty()) {
            snprintf(name, sizeof name, "cron: %lld [%lld]", job, run);
        } else {
            const int length = static_cast<int>(task.job_name.size());
            snprintf(name, sizeof name, "cron: %.*s [%lld]",
                     pg_mbcliplen(task.job_name.c_str(), length, kShownName), task.job_name.c_str(),
                     run);
        }
        // Replaces control characters, so that a log message stays on one line.
        for (char& c : name) {
            if (c == '\0') break;
            if (core::is_control(c)) c = '?';
        }
        SetConfigOption("application_name", name, PGC_USERSET, PGC_S_SESSION);
        debug_query_string = task.command.c_str();
        pgstat_report_activity(STATE_RUNNING, task.command.c_str());
        if (settings().log_statement) {
            ereport(LOG, errmsg_internal("cron job %lld starting: %s", job, task.command.c_str()));
        }
    }

    CurrentRun run_;
};

void start_run_timeout(const runs::Task& task) {
    call([&task] {
        if (!task.max_runtime) return;
        const auto limit = std::chrono::ceil<std::chrono::milliseconds>(*task.max_runtime).count();
        const int limit_ms = static_cast<int>((std::min)(limit, std::int64_t{INT_MAX / 2}));
        // Repeated each second, because the command may catch the first cancellation.
        enable_timeout_every(state.run_timeout,
                             TimestampTzPlusMilliseconds(GetCurrentTimestamp(), limit_ms),
                             kAskAgainMs);
    });
}

bool is_transactional(const RunOrder& order) { return !state.marked && order.parcel == 0; }

Error cancelled() { return Error("57014", "canceling statement due to user request"); }

// A cancelled run ends as cancelled, whatever error its command has made of the cancellation.
void set_cancel_reason(RunReport& report) {
    if (!WorkerSlot::begin_end(report.order.run)) {
        report.outcome = core::RunOutcome::cancelled;
        assign_text(report.sqlstate, "57014");
        assign_text(report.reason, core::reasons::kCancelled);
        assign_text(report.message, "ERROR: canceling statement due to cron.cancel_run()");
    } else if (state.over_time != 0 && std::string_view(report.sqlstate.data()) == "57014") {
        assign_text(report.reason, core::reasons::kMaxRuntime);
        assign_text(report.message, "ERROR: canceling statement due to max_runtime");
    }
}

// Truncates at a character boundary.
template <std::size_t N>
void assign_message(std::array<char, N>& to, const std::string& text) {
    const int limit = static_cast<int>((std::min)(text.size(), N - 1));
    const int length = pg_mbcliplen(text.data(), static_cast<int>(text.size()), limit);
    assign_text(to, std::string_view(text).substr(0, static_cast<std::size_t>(length)));
}

// Records the failure in a transaction of its own. If that fails, the scheduler does it.
void record_failure(RunReport& report, const runs::Task& task) {
    if (!report.order.logged || report.order.parcel != 0) return;
    try {
        call([] { StartTransactionCommand(); });
        runs::record_end(report, task);
        state.last_commit = true;
        call([] { CommitTransactionCommand(); });
        report.recorded = true;
    } catch (const std::exception& error) {
        abort_everything();
        call([&error] {
            ereport(LOG, errmsg("could not record the end of a run: %s", error.what()));
        });
    }
}

// Whether the run may succeed without waiting until that is on disk. If a crash loses the record of
// a run that has written nothing, the next scheduler finds its claim and repeats it.
bool may_be_repeated() {
    return !state.marked && has_written_nothing() && !has_own_synchronous_commit() &&
           !settings().sync_read_only_runs;
}

// Ends the last transaction of the run: outcome and effects in one commit.
void finish(RunReport& report, const runs::Task& task, const StatementTag& tag) {
    call([] { run_deferred(); });  // counts for max_runtime and the duration
    if (state.over_time != 0 || !WorkerSlot::begin_end(report.order.run)) throw cancelled();
    stop_timeouts();
    report.outcome = core::RunOutcome::succeeded;
    report.transactional = is_transactional(report.order);
    report.ended_at = now();
    assign_text(report.sqlstate, "00000");
    assign_text(report.message, tag.text);
    const bool record = report.order.logged && report.order.parcel == 0;
    std::optional<AsynchronousCommits> asynchronous;
    if (record && may_be_repeated()) asynchronous.emplace();  // before the outcome is written
    if (record) runs::record_end(report, task);
    state.last_commit = true;
    call([] { CommitTransactionCommand(); });
    report.recorded = record;
}

std::int64_t job_number(const RunOrder& order) {
    return static_cast<std::int64_t>(order.occurrence.job);
}

// As pg_cron words it. The run is committed: neither a late cancellation nor anything else may make
// a failure of it.
void log_completion(const RunReport& report) {
    if (report.outcome != core::RunOutcome::succeeded || !settings().log_statement) return;
    try {
        call([&report] {
            HOLD_INTERRUPTS();
            ereport(LOG, errmsg_internal("cron job %lld COMMAND completed: %s",
                                         static_cast<long long>(job_number(report.order)),
                                         report.message.data()));
            RESUME_INTERRUPTS();
        });
    } catch (const Error&) {
        return;
    }
}

}  // namespace

void prepare_for_commands() {
    call([] {
        pqsignal(SIGUSR2, securatlas_cancel_signal);
        state.run_timeout = RegisterTimeout(USER_TIMEOUT, securatlas_run_timeout);
        RegisterXactCallback(securatlas_run_commits, nullptr);
        RegisterSubXactCallback(securatlas_subtransaction_ends, nullptr);
        prepare_statement_runner();
    });
}

RunReport execute_run(const RunOrder& order, const runs::Task& task) {
    RunScope scope(order, task);
    RunReport report;
    report.order = order;
    report.pid = MyProcPid;
    report.encoding = GetDatabaseEncoding();
    report.started_at = state.started_at;
    try {
        if (WorkerSlot::cancel_requested(order.run)) throw cancelled();
        start_run_timeout(task);
        StatementTag tag{};
        call([&task, &tag] { run_statements(task.command.c_str(), &tag); });
        finish(report, task, tag);
    } catch (const Error& error) {
        abort_everything();
        report.outcome = core::RunOutcome::failed;
        report.transactional = is_transactional(order);
        report.ended_at = now();
        assign_text(report.sqlstate, error.sqlstate());
        assign_message(report.message, error_text(error));
        log_failure("cron job " + std::to_string(job_number(order)) + " failed", error);
        set_cancel_reason(report);
        record_failure(report, task);
    }
    log_completion(report);
    call([] {
        pgstat_report_stat(false);
        pgstat_report_activity(STATE_IDLE, nullptr);
    });
    return report;
}

RunReport failed_report(const RunOrder& order, const std::exception& error) {
    RunReport report;
    report.order = order;
    report.pid = MyProcPid;
    report.encoding = GetDatabaseEncoding();
    report.started_at = core::kLongAgo;
    report.ended_at = now();
    const auto* known = dynamic_cast<const Error*>(&error);
    assign_text(report.sqlstate, known != nullptr ? known->sqlstate() : "XX000");
    assign_message(report.message, error_text(error));
    return report;
}

const CurrentRun* current_run() { return state.run; }

}  // namespace securatlas::pg
