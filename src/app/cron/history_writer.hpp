// What the scheduler has to write into the history and into cron.job, kept until it is written.
#pragma once

#include <optional>
#include <vector>

#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/core/cron/turns.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/cron/runs.hpp"

namespace securatlas::app {

// Writes in groups: one transaction for all new rows, one for all changes of rows, one for jobs. If
// the history or a row is locked by somebody, or a transaction fails, what it was to write is kept
// and tried again after a pause: nothing is lost, nothing waits, and the scheduler goes on with
// what needs no writing.
class HistoryWriter {
  public:
    void add(core::ClaimRun claim) { claims_.push(claim.owner, std::move(claim)); }
    void add(core::RecordSkip skip) { skips_.push_back(std::move(skip)); }
    void add(core::ExplainWait wait);
    void add(core::SkipRun skip);
    void add(core::PauseJob pause) { pauses_.push_back(std::move(pause)); }
    void add(core::DeleteJob removal) { removals_.push_back(removal); }
    void add_outcome(const pg::RunReport& report) { outcomes_.push_back(report); }
    // A run to be shown as running, unless it has ended by then.
    void show(const pg::runs::StartedRun& run) { started_.push_back(run); }

    bool has_work() const;
    std::size_t waiting_claims() const { return claims_.size(); }

    // Writes what it has, if it is time to try. `planned_until` goes with the claims. Returns what
    // became of them, as events for the machine, in `events`, the runs of the claims in `runs`, and
    // the error that ended it, if one did; then a pause begins.
    struct Written {
        std::vector<core::Event> events;
        std::vector<pg::runs::RunRow> runs;
        std::optional<pg::Error> error;
    };
    Written flush(core::Instant planned_until, core::Duration monotonic_now);

    // How long until the next try; nullopt if there is nothing to write.
    std::optional<core::Duration> next_try(core::Duration monotonic_now) const;

  private:
    // Each is one transaction; false: something is left.
    bool write_new(core::Instant planned_until, Written& written);
    bool write_changes(Written& written);
    bool write_jobs();

    void write_claims(const std::vector<core::ClaimRun>& claims, Written& written);
    std::vector<std::int64_t> write_waits();
    void begin_pause(core::Duration monotonic_now);

    core::Turns<core::OwnerId, core::ClaimRun> claims_;
    std::vector<core::RecordSkip> skips_;
    std::vector<core::ExplainWait> waits_;
    std::vector<core::SkipRun> skipped_runs_;
    std::vector<core::PauseJob> pauses_;
    std::vector<core::DeleteJob> removals_;
    std::vector<pg::RunReport> outcomes_;
    std::vector<pg::runs::StartedRun> started_;
    core::Duration pause_{0};
    core::Duration try_at_{0};
};

}  // namespace securatlas::app
