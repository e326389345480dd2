// Collects what the scheduler has to write to the history and to cron.job, and writes it.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "securatlas/core/cron/scheduler.hpp"
#include "securatlas/core/cron/turns.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/cron/recovery.hpp"
#include "securatlas/pg/cron/runs.hpp"
#include "securatlas/pg/shared/statistics.hpp"

namespace securatlas::app {

// The pause between attempts: 20 ms, then twice as long each time, up to a second.
class RetryPause {
  public:
    bool is_over(core::Duration monotonic_now) const { return monotonic_now >= until_; }
    core::Duration until() const { return until_; }
    void begin(core::Duration monotonic_now);
    void end() { *this = {}; }

  private:
    core::Duration length_{0};
    core::Duration until_{0};
};

// Writes in groups: one transaction for new rows, one for changes of rows, one for jobs. Nothing is
// lost and nothing waits for a lock: if the history is locked or a transaction fails, everything is
// kept and tried again after a pause; if a row is locked, only the change of that row. Meanwhile
// the scheduler goes on with what needs no writing.
class HistoryWriter {
  public:
    HistoryWriter();

    void add(core::ClaimRun claim) {
        const auto owner = claim.owner;
        const auto rank = claim.rank;
        claims_.push(owner, rank, std::move(claim));
    }
    void add(core::RecordSkip skip) { skips_.push_back(std::move(skip)); }
    void add(core::ExplainWait wait) { waits_.push_back(std::move(wait)); }
    void add(core::SkipRun skip) { changes_.skips.push_back(std::move(skip)); }
    void add(core::PauseJob pause) { changes_.pauses.push_back(std::move(pause)); }
    void add(core::DeleteJob removal) { changes_.removals.push_back(removal); }
    void add_outcome(const pg::RunReport& report) { changes_.outcomes.push_back(report); }
    // A run of an earlier scheduler process. It is ended together with the claim of its next
    // attempt or, if there is none, with the last of the new rows.
    void add_interrupted(const pg::runs::Interrupted& run);
    // Sets the status `running`, unless the run has ended by then.
    void show(const pg::runs::StartedRun& run) { started_.push_back(run); }

    std::size_t waiting_claims() const { return claims_.size(); }

    // Writes what was collected, unless it pauses. `planned_until` is stored together with the
    // claims; `is_behind` says that claims of what was due before are still to come. Returns the
    // results: `events` for the state machine, the claimed `runs`, and the `error` if one occurred;
    // in that case a pause begins.
    struct Written {
        std::vector<core::Event> events;
        std::vector<pg::runs::RunRow> runs;
        std::vector<pg::Statistics::RunEnd> ended;  // outcomes that were written
        std::optional<pg::Error> error;
    };
    Written flush(core::Instant planned_until, bool is_behind, core::Duration monotonic_now);

    // How long until the next attempt; nullopt if there is nothing to write.
    std::optional<core::Duration> next_try(core::Duration monotonic_now) const;

  private:
    // Changes of rows, which may be locked.
    struct Changes {
        std::vector<pg::RunReport> outcomes;
        std::vector<core::SkipRun> skips;
        std::vector<std::int64_t> interrupted;  // to be ended
        std::vector<core::PauseJob> pauses;
        std::vector<core::DeleteJob> removals;

        bool empty() const {
            return outcomes.empty() && skips.empty() && interrupted.empty() && pauses.empty() &&
                   removals.empty();
        }
        void append(Changes more);
    };
    using ClaimKey = std::tuple<core::JobId, core::Instant, int>;
    static ClaimKey key_of(const core::Occurrence& occurrence) {
        return {occurrence.job, occurrence.scheduled_at, occurrence.attempt};
    }

    bool has_work() const;
    // Each uses one transaction; false: the history is locked.
    bool write_new(core::Instant planned_until, bool is_behind, Written& written);
    bool write_new_rows(core::Instant planned_until, bool is_behind, Written& written);
    bool write_changes(Written& written);
    void write_jobs();

    void write_claims(const std::vector<core::ClaimRun>& claims, Written& written);
    std::vector<core::RecordSkip> skips_from(std::size_t first) const;
    void write_waits();
    std::vector<std::int64_t> write_skips();

    core::Turns<core::OwnerId, core::Instant, core::ClaimRun> claims_;
    std::size_t claims_at_once_;
    std::deque<core::RecordSkip> skips_;
    std::vector<core::RecordSkip> unlogged_missed_;  // to be told with planned_until
    std::map<ClaimKey, std::int64_t> interrupted_;   // by the claim of the next attempt
    std::vector<core::ExplainWait> waits_;
    std::vector<pg::runs::StartedRun> started_;
    Changes changes_;
    Changes locked_;
    pg::runs::Way way_ = pg::runs::Way::past_executor;
    RetryPause pause_;         // of everything
    RetryPause locked_pause_;  // of what is locked
};

}  // namespace securatlas::app
