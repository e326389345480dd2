// The process around the core's scheduler, for one database. Where only schema net is there it
// plans nothing, and does what is to be done for requests.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cron/dispatcher.hpp"
#include "cron/history_writer.hpp"
#include "cron/job_loader.hpp"
#include "cron/late_runs.hpp"
#include "cron/scheduler_callbacks.hpp"
#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/shared/installed_extension.hpp"
#include "securatlas/pg/shared/progress.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::app {

// A removal of many rows in cron_stat.progress, as long as it goes on.
class ShownPurge {
  public:
    constexpr ShownPurge(pg::progress::Kind kind, const char* phase) : kind_(kind), phase_(phase) {}
    ~ShownPurge() { show(0, false); }
    ShownPurge(const ShownPurge&) = delete;
    ShownPurge& operator=(const ShownPurge&) = delete;

    // A portion was removed; `is_more` says that another one follows.
    void show(std::uint64_t removed, bool is_more);
    bool is_shown() const { return is_shown_; }

  private:
    pg::progress::Kind kind_;
    const char* phase_;
    bool is_shown_ = false;
};

class SchedulerProcess {
  public:
    explicit SchedulerProcess(pg::DatabaseOid database);

    enum class End {
        nothing_left,  // the database does not have the extension any more
        another,       // the schemas were dropped and created again: another process has to start
        anew,          // schema cron was created or dropped: start again with a new object
    };
    End run();

  private:
    static constexpr int kRoundsPerTurn = 4;

    bool start();
    bool start_planning();
    void start_sending();
    std::vector<core::AdoptedRun> adopt_runs();

    std::optional<core::Instant> settle();
    void settle_rest();

    // What loading all jobs has found in their rows: jobs whose roles were renamed or dropped, and
    // jobs that perhaps are one-offs.
    struct Found {
        bool foreign_roles = false;
        bool one_offs = false;
    };
    void load_jobs_at_start();
    Found load_all_jobs(const std::function<void()>& after_page);
    void load_job(const pg::jobs::PlanRow& row);
    void hold_job(std::int64_t id);
    void forget_job(std::int64_t id);
    void end_interrupted(const pg::runs::Interrupted& run);
    void end_former_runs(std::int64_t job);
    void reload_changed_jobs();
    void follow_roles();

    void turn();
    void rest();
    void take_notices();
    void check_extension();
    std::optional<End> end_by(const pg::InstalledExtension& found);
    bool has_cron() const { return cron_ != 0; }
    bool has_net() const { return net_ != 0; }
    void plan();
    bool settings_changed();
    void collect_reports();
    void handle_report(const pg::RunReport& report);
    void handle_report(const pg::RecordedEnd& end);
    void add_outcome(const pg::RunReport& report);
    void handle_report(const pg::CallbackReport& report);
    void handle_report(const pg::ReturnedOrder& returned);
    void read_requested_runs();
    void watch_clock();
    void step();
    void carry_out(const core::Command& command);
    void cancel_run(core::RunId run);
    void count_end(const pg::Statistics::RunEnd& end) const;
    void count_skip(core::JobId job, const std::string& reason, std::int64_t occurrences) const;
    void count_skip(const core::SkipRun& skip) const;
    void count_cancelled(core::RunId run) const;
    void handle_written(HistoryWriter::Written written);

    void show_progress();
    void plan_next_show();
    void publish();
    void note_error(const pg::Error& error);
    void show_error(const pg::Error& error);
    void load_jobs_of(const std::vector<pg::runs::RunRow>& runs);
    bool is_to_be_known(std::int64_t job) const;
    void start_http_worker();
    SchedulerCallbacks& taking_care_of(pg::Calls calls) {
        return calls == pg::Calls::alerts ? alerts_ : callbacks_;
    }
    void order(SchedulerCallbacks& calls);
    void tell_late();
    void purge();
    void purge_responses();
    core::Duration sleep_time();

    pg::DatabaseOid database_;
    // The schemas of this database, by number. 0: not there, or not looked for yet.
    std::uint32_t cron_ = 0;
    std::uint32_t net_ = 0;
    core::Scheduler machine_;
    Dispatcher dispatcher_;
    HistoryWriter writer_;
    JobLoader loader_;
    SchedulerCallbacks callbacks_{pg::Calls::callbacks};
    SchedulerCallbacks alerts_{pg::Calls::alerts};
    LateRuns late_;
    core::Scheduler::Random random_;

    std::vector<pg::RunReport> former_reports_;  // of runs that ended before this scheduler started

    // Received and not processed yet; removed only after processing.
    std::vector<core::Event> events_;
    std::vector<pg::WorkerReport> reports_;
    std::vector<core::Event> unanswered_;  // results of claims, kept until unknown_runs_ is empty
    std::vector<pg::runs::RunRow> unknown_runs_;
    std::vector<std::int64_t> changed_jobs_;
    // Could not be loaded; reload_at_ is the next try.
    std::unordered_set<std::int64_t> jobs_to_reload_;
    core::Duration reload_at_{0};
    std::vector<std::int64_t> requested_runs_;
    std::vector<std::int64_t> cancelled_runs_;
    bool reload_all_ = false;
    bool roles_changed_ = false;
    bool all_requested_ = false;
    bool check_extension_ = false;
    std::optional<End> end_;  // and why it ends
    bool is_started_ = false;
    bool is_settled_ = true;  // false: a row of another database was locked
    bool http_wanted_ = false;
    bool runs_are_queued_ = false;  // behind others, in the slots of workers

    std::unordered_set<std::int64_t> unsettled_jobs_;  // may be another database's
    core::Duration settle_at_{0};
    // Interrupted runs of jobs that are not loaded yet. Until then their rows stay unfinished, so
    // that the next scheduler finds them if this one dies.
    std::unordered_map<std::int64_t, std::vector<pg::runs::Interrupted>> former_runs_;
    std::unordered_set<std::int64_t> shown_;  // runs with status `running` in their rows
    core::Instant planned_until_{};
    std::optional<core::Duration> clock_offset_;
    std::optional<std::tuple<std::string, core::Duration, bool>> settings_key_;
    std::optional<pg::Launched> http_launch_;
    core::Duration next_http_launch_{0};
    std::optional<core::Duration> next_show_;
    core::Duration explain_at_{0};
    core::Duration purge_at_{0};
    ShownPurge history_purge_{pg::progress::Kind::history_purge, "removing old history"};
    ShownPurge response_purge_{pg::progress::Kind::response_purge, "removing old responses"};
    core::Duration purge_responses_at_{0};
    core::Duration responses_purged_at_{0};
    bool purge_soon_ = false;  // responses: the configuration has changed, or net.wake() was called
    unsigned purge_configuration_ = 0;  // version of the settings that responses were purged by
    pg::SchedulerStatus status_;
};

}  // namespace securatlas::app
