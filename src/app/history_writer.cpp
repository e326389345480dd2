#include "history_writer.hpp"

#include <map>
#include <tuple>

#include "securatlas/pg/error.hpp"
#include "securatlas/pg/jobs.hpp"
#include "securatlas/pg/settings.hpp"
#include "securatlas/pg/transaction.hpp"

namespace securatlas::app {
namespace {

constexpr core::Duration kFirstPause = std::chrono::milliseconds(20);
constexpr core::Duration kLongestPause = std::chrono::seconds(1);

using ClaimKey = std::tuple<core::JobId, core::Instant, int>;

ClaimKey key_of(const core::Occurrence& occurrence) {
    return {occurrence.job, occurrence.scheduled_at, occurrence.attempt};
}

// Parallel arrays, the parameters of set-based statements.
template <class Command>
auto columns_of(const std::vector<Command>& commands) {
    std::pair<std::vector<std::int64_t>, std::vector<std::string>> columns;
    for (const Command& command : commands) {
        columns.first.push_back(static_cast<std::int64_t>(command.run));
        columns.second.push_back(command.reason);
    }
    return columns;
}

}  // namespace

void HistoryWriter::add(core::ExplainWait wait) { waits_.push_back(std::move(wait)); }
void HistoryWriter::add(core::SkipRun skip) { skipped_runs_.push_back(std::move(skip)); }

bool HistoryWriter::has_work() const {
    return !claims_.empty() || !skips_.empty() || !waits_.empty() || !skipped_runs_.empty() ||
           !pauses_.empty() || !removals_.empty() || !outcomes_.empty() || !active_.empty();
}

HistoryWriter::Written HistoryWriter::flush(core::Instant planned_until,
                                            core::Duration monotonic_now) {
    Written written;
    if (!has_work() || monotonic_now < try_at_) return written;
    try {
        pg::Transaction transaction;
        if (!pg::runs::try_lock_history()) {
            begin_pause(monotonic_now);
            return written;
        }
        write(planned_until, written);
        transaction.commit_asynchronously();
    } catch (...) {
        begin_pause(monotonic_now);
        throw;
    }
    clear();
    return written;
}

void HistoryWriter::write(core::Instant planned_until, Written& written) {
    for (const pg::RunReport& report : outcomes_) {
        const core::RunOutcome outcome = pg::runs::record_outcome(report);
        const bool retryable = core::is_retryable(report.sqlstate.data());
        written.events.push_back(core::RunEnded{report.order.run, outcome, retryable});
    }
    if (!claims_.empty()) write_claims(written);
    if (!skips_.empty()) pg::runs::record_skips(skips_);
    write_waits();
    if (!active_.empty()) pg::runs::show_running(active_);
    for (const core::PauseJob& pause : pauses_) {
        pg::jobs::pause_with_note(static_cast<std::int64_t>(pause.job), pause.note);
    }
    for (const core::DeleteJob& removal : removals_) {
        pg::jobs::remove(static_cast<std::int64_t>(removal.job));
    }
    if (!claims_.empty() || !skips_.empty()) pg::runs::set_planned_until(planned_until);
}

void HistoryWriter::write_claims(Written& written) {
    written.runs = pg::runs::claim(claims_, pg::settings().log_run);
    std::map<ClaimKey, core::RunId> claimed;
    for (const pg::runs::RunRow& run : written.runs) claimed[key_of(run.occurrence)] = run.run;
    for (const core::ClaimRun& claim : claims_) {
        const auto found = claimed.find(key_of(claim.occurrence));
        if (found == claimed.end()) {
            written.events.push_back(core::RunRefused{claim.occurrence});
        } else {
            written.events.push_back(core::RunClaimed{claim.occurrence, found->second});
        }
    }
}

void HistoryWriter::write_waits() {
    if (!waits_.empty()) {
        const auto [runs, reasons] = columns_of(waits_);
        pg::runs::explain_waits(runs, reasons);
    }
    if (!skipped_runs_.empty()) {
        const auto [runs, reasons] = columns_of(skipped_runs_);
        pg::runs::skip_waiting(runs, reasons);
    }
}

void HistoryWriter::begin_pause(core::Duration monotonic_now) {
    pause_ = pause_ == core::Duration(0) ? kFirstPause : (std::min)(pause_ * 2, kLongestPause);
    try_at_ = monotonic_now + pause_;
    active_.clear();
}

void HistoryWriter::clear() {
    claims_.clear();
    skips_.clear();
    waits_.clear();
    skipped_runs_.clear();
    pauses_.clear();
    removals_.clear();
    outcomes_.clear();
    active_.clear();
    pause_ = core::Duration(0);
    try_at_ = core::Duration(0);
}

std::optional<core::Duration> HistoryWriter::next_try(core::Duration monotonic_now) const {
    if (!has_work()) return std::nullopt;
    return (std::max)(try_at_ - monotonic_now, core::Duration(0));
}

}  // namespace securatlas::app
