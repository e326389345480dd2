#include "cron/history_writer.hpp"

#include <algorithm>
#include <map>
#include <tuple>

#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/cron/settings.hpp"

namespace securatlas::app {
namespace {

constexpr core::Duration kFirstPause = std::chrono::milliseconds(20);
constexpr core::Duration kLongestPause = std::chrono::seconds(1);

// About ten milliseconds of work.
constexpr std::size_t kRowsAtOnce = 200;

using ClaimKey = std::tuple<core::JobId, core::Instant, int>;

ClaimKey key_of(const core::Occurrence& occurrence) {
    return {occurrence.job, occurrence.scheduled_at, occurrence.attempt};
}

// A portion from `first` on as parallel arrays, the parameters of set-based statements.
template <class Command>
auto columns_of(const std::vector<Command>& commands, std::size_t first) {
    std::pair<std::vector<std::int64_t>, std::vector<std::string>> columns;
    const std::size_t end = (std::min)(commands.size(), first + kRowsAtOnce);
    for (std::size_t i = first; i < end; ++i) {
        columns.first.push_back(static_cast<std::int64_t>(commands[i].run));
        columns.second.push_back(commands[i].reason);
    }
    return columns;
}

}  // namespace

void HistoryWriter::add(core::ExplainWait wait) { waits_.push_back(std::move(wait)); }
void HistoryWriter::add(core::SkipRun skip) { skipped_runs_.push_back(std::move(skip)); }

bool HistoryWriter::has_work() const {
    return !claims_.empty() || !skips_.empty() || !waits_.empty() || !skipped_runs_.empty() ||
           !pauses_.empty() || !removals_.empty() || !outcomes_.empty() || !started_.empty();
}

HistoryWriter::Written HistoryWriter::flush(core::Instant planned_until,
                                            core::Duration monotonic_now) {
    Written written;
    if (!has_work() || monotonic_now < try_at_) return written;
    try {
        const bool done =
            write_new(planned_until, written) && write_changes(written) && write_jobs();
        if (done) {
            pause_ = core::Duration(0);
        } else {
            begin_pause(monotonic_now);
        }
    } catch (const pg::Error& error) {
        // What was committed before is in `written` and must not be lost with the error.
        written.error = error;
        begin_pause(monotonic_now);
    }
    return written;
}

// New rows; with the last of them, how far they take the planning. Many claims are written in
// portions in which roles take turns, so that the first runs do not wait for the claims of the
// last, and nobody for the ten thousand of another role. Until planned_until moves, what keeps a
// run from being claimed again is its row: a portion with runs that have none goes on to the end.
bool HistoryWriter::write_new(core::Instant planned_until, Written& written) {
    if (claims_.empty() && skips_.empty()) return true;
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    if (!pg::runs::try_lock_history()) return false;
    Written here;
    std::size_t done = 0;
    bool all_logged = true;
    while (done < claims_.size() && (done == 0 || !all_logged)) {
        const std::vector<core::ClaimRun> portion = claims_.at(done, kRowsAtOnce);
        write_claims(portion, here);
        done += portion.size();
        all_logged = std::all_of(here.runs.begin(), here.runs.end(),
                                 [](const pg::runs::RunRow& run) { return run.logged; });
    }
    if (!skips_.empty()) pg::runs::record_skips(skips_);
    if (done == claims_.size()) pg::runs::set_planned_until(planned_until);
    // The outcome of a run with a row can not be durable before its claim. Of a run without one
    // nothing is kept but planned_until: that it is not run twice has to be durable first.
    if (all_logged) {
        transaction.commit_asynchronously();
    } else {
        transaction.commit();
    }
    written = std::move(here);
    claims_.remove_first(done);
    skips_.clear();
    return true;
}

// Changes of rows. Those that somebody has locked are kept.
bool HistoryWriter::write_changes(Written& written) {
    if (outcomes_.empty() && waits_.empty() && skipped_runs_.empty() && started_.empty()) {
        return true;
    }
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    if (!pg::runs::try_lock_history()) return false;
    std::vector<core::Event> ended;
    std::vector<pg::RunReport> locked;
    for (const pg::RunReport& report : outcomes_) {
        const auto outcome = pg::runs::record_outcome(report);
        if (!outcome) {
            locked.push_back(report);
            continue;
        }
        const bool retryable = core::is_retryable(report.sqlstate.data());
        ended.push_back(core::RunEnded{report.order.run, *outcome, retryable});
    }
    const auto locked_runs = write_waits();
    if (!started_.empty()) pg::runs::show_running(started_);
    transaction.commit_asynchronously();
    std::move(ended.begin(), ended.end(), std::back_inserter(written.events));
    outcomes_ = std::move(locked);
    waits_.clear();
    started_.clear();
    std::erase_if(skipped_runs_, [&locked_runs](const core::SkipRun& skip) {
        return std::find(locked_runs.begin(), locked_runs.end(),
                         static_cast<std::int64_t>(skip.run)) == locked_runs.end();
    });
    return outcomes_.empty() && skipped_runs_.empty();
}

// Changes of jobs. Those that somebody has locked are kept.
bool HistoryWriter::write_jobs() {
    if (pauses_.empty() && removals_.empty()) return true;
    std::vector<core::PauseJob> pauses;
    std::vector<core::DeleteJob> removals;
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    for (const core::PauseJob& pause : pauses_) {
        const auto job = static_cast<std::int64_t>(pause.job);
        if (!pg::jobs::pause_with_note(job, pause.note)) pauses.push_back(pause);
    }
    for (const core::DeleteJob& removal : removals_) {
        if (!pg::jobs::remove(static_cast<std::int64_t>(removal.job))) removals.push_back(removal);
    }
    transaction.commit();
    pauses_ = std::move(pauses);
    removals_ = std::move(removals);
    return pauses_.empty() && removals_.empty();
}

void HistoryWriter::write_claims(const std::vector<core::ClaimRun>& claims, Written& written) {
    std::map<ClaimKey, core::RunId> claimed;
    for (pg::runs::RunRow& run : pg::runs::claim(claims, pg::settings().log_run)) {
        claimed[key_of(run.occurrence)] = run.run;
        written.runs.push_back(std::move(run));
    }
    for (const core::ClaimRun& claim : claims) {
        const auto found = claimed.find(key_of(claim.occurrence));
        if (found == claimed.end()) {
            written.events.emplace_back(core::RunRefused{claim.occurrence});
        } else {
            written.events.emplace_back(core::RunClaimed{claim.occurrence, found->second});
        }
    }
}

// Returns the runs that are to be skipped and are locked. In portions: the statements are planned
// for few rows.
std::vector<std::int64_t> HistoryWriter::write_waits() {
    for (std::size_t done = 0; done < waits_.size(); done += kRowsAtOnce) {
        const auto [runs, reasons] = columns_of(waits_, done);
        pg::runs::explain_waits(runs, reasons);
    }
    std::vector<std::int64_t> locked;
    for (std::size_t done = 0; done < skipped_runs_.size(); done += kRowsAtOnce) {
        const auto [runs, reasons] = columns_of(skipped_runs_, done);
        const auto here = pg::runs::skip_waiting(runs, reasons);
        locked.insert(locked.end(), here.begin(), here.end());
    }
    return locked;
}

void HistoryWriter::begin_pause(core::Duration monotonic_now) {
    pause_ = pause_ == core::Duration(0) ? kFirstPause : (std::min)(pause_ * 2, kLongestPause);
    try_at_ = monotonic_now + pause_;
}

std::optional<core::Duration> HistoryWriter::next_try(core::Duration monotonic_now) const {
    if (!has_work()) return std::nullopt;
    return (std::max)(try_at_ - monotonic_now, core::Duration(0));
}

}  // namespace securatlas::app
