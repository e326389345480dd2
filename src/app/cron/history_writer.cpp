#include "cron/history_writer.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include "securatlas/core/cron/run_reasons.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/cron/settings.hpp"

namespace securatlas::app {
namespace {

constexpr core::Duration kFirstPause = std::chrono::milliseconds(20);
constexpr core::Duration kLongestPause = std::chrono::seconds(1);

// About ten milliseconds of work.
constexpr std::size_t kRowsAtOnce = 200;
// The first of many: these runs start while the next ones are claimed.
constexpr std::size_t kFirstRows = 16;

template <class Item>
void append_to(std::vector<Item>& items, std::vector<Item> more) {
    items.insert(items.end(), std::make_move_iterator(more.begin()),
                 std::make_move_iterator(more.end()));
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

bool is_missed(const core::RecordSkip& skip) { return core::reasons::is_missed(skip.reason); }

// The occurrences among new rows that were missed, whether they are made up for or not.
class Missed {
  public:
    // What an earlier scheduler has claimed and told already, before it ended, is refused now.
    void add(const std::vector<core::Event>& answers) {
        for (const core::Event& answer : answers) {
            const auto* claimed = std::get_if<core::RunClaimed>(&answer);
            if (claimed == nullptr) continue;
            const core::Occurrence& occurrence = claimed->occurrence;
            const bool is_made_up = occurrence.trigger == core::RunTrigger::catchup;
            if (is_made_up && occurrence.attempt == 1) {
                add(occurrence, 1, "missed, and made up for now");
            }
        }
    }
    void add(const std::vector<core::RecordSkip>& skips) {
        for (const core::RecordSkip& skip : skips) {
            if (is_missed(skip)) {
                add(skip.occurrence, skip.count, skip.reason);
            }
        }
    }
    void tell() const { pg::alerts::tell_missed(jobs_, counts_, scheduled_at_, reasons_); }

  private:
    void add(const core::Occurrence& occurrence, std::int64_t count, std::string reason) {
        jobs_.push_back(static_cast<std::int64_t>(occurrence.job));
        counts_.push_back(count);
        scheduled_at_.push_back(occurrence.scheduled_at);
        reasons_.push_back(std::move(reason));
    }

    std::vector<std::int64_t> jobs_;
    std::vector<std::int64_t> counts_;
    std::vector<core::Instant> scheduled_at_;
    std::vector<std::string> reasons_;
};

}  // namespace

HistoryWriter::HistoryWriter() : claims_at_once_(kFirstRows) {}

void RetryPause::begin(core::Duration monotonic_now) {
    length_ = length_ == core::Duration(0) ? kFirstPause : (std::min)(length_ * 2, kLongestPause);
    until_ = monotonic_now + length_;
}

void HistoryWriter::Changes::append(Changes more) {
    append_to(outcomes, std::move(more.outcomes));
    append_to(skips, std::move(more.skips));
    append_to(interrupted, std::move(more.interrupted));
    append_to(pauses, std::move(more.pauses));
    append_to(removals, std::move(more.removals));
}

void HistoryWriter::add_interrupted(const pg::runs::Interrupted& run) {
    core::Occurrence next = run.occurrence;
    ++next.attempt;
    // An attempt that has a successor already is only ended.
    if (!run.is_latest || !interrupted_.emplace(key_of(next), run.run).second) {
        changes_.interrupted.push_back(run.run);
    }
}

bool HistoryWriter::has_work() const {
    return !claims_.empty() || !skips_.empty() || !interrupted_.empty() || !waits_.empty() ||
           !started_.empty() || !changes_.empty();
}

HistoryWriter::Written HistoryWriter::flush(core::Instant planned_until, bool is_behind,
                                            core::Duration monotonic_now) {
    Written written;
    const bool was_locked = !locked_.empty();
    const bool tries_locked = was_locked && locked_pause_.is_over(monotonic_now);
    if (tries_locked) changes_.append(std::exchange(locked_, {}));
    if (!has_work() || !pause_.is_over(monotonic_now)) return written;
    try {
        const bool done = write_new(planned_until, is_behind, written) && write_changes(written);
        if (done) {
            write_jobs();
            pause_.end();
        } else {
            pause_.begin(monotonic_now);
        }
    } catch (const pg::Error& error) {
        // What was committed before is in `written` and must not be lost with the error.
        written.error = error;
        pause_.begin(monotonic_now);
    }
    if (locked_.empty()) {
        locked_pause_.end();
    } else if (tries_locked || !was_locked) {
        locked_pause_.begin(monotonic_now);
    }
    return written;
}

bool HistoryWriter::write_new(core::Instant planned_until, bool is_behind, Written& written) {
    if (claims_.empty() && skips_.empty() && interrupted_.empty()) return true;
    try {
        return write_new_rows(planned_until, is_behind, written);
    } catch (const pg::runs::MayBeTaken&) {
        way_ = pg::runs::Way::by_statement;
    }
    return write_new_rows(planned_until, is_behind, written);
}

// Writes new rows, and with the last of them planned_until. Many are written in portions, claims
// first, in which roles take turns, each with its runs by their rank: so the first runs do not wait
// for the claims of the last ones, no role waits for ten thousand claims of another, and no worker
// for the rows of ten thousand skipped runs. Until planned_until is written, only its row prevents
// a run from being claimed again. So once there are runs without a row, or whose row goes when they
// succeed, everything is written in one transaction; and what was missed without a row is told with
// planned_until, not before.
bool HistoryWriter::write_new_rows(core::Instant planned_until, bool is_behind, Written& written) {
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    if (!pg::runs::try_lock_history()) return false;
    Written here;
    Missed missed;
    std::size_t done = 0;
    decltype(claims_)::Walk walk(claims_);
    bool all_logged = true;
    bool all_stay = true;
    auto interrupted = interrupted_;
    std::vector<std::int64_t> followed;
    while (done < claims_.size() && (done == 0 || !all_stay)) {
        pg::check_interrupts();
        const std::vector<core::ClaimRun> portion = walk.next(claims_at_once_);
        write_claims(portion, here);
        done += portion.size();
        for (const core::ClaimRun& claim : portion) {
            const auto before = interrupted.find(key_of(claim.occurrence));
            if (before == interrupted.end()) continue;
            followed.push_back(before->second);
            interrupted.erase(before);
        }
        all_logged = std::ranges::all_of(here.runs, &pg::runs::RunRow::logged);
        all_stay = std::ranges::all_of(here.runs, &pg::runs::RunRow::row_stays);
    }
    std::size_t refused = done - here.runs.size();
    std::size_t skipped = 0;
    auto unlogged = unlogged_missed_;
    while (done == claims_.size() && skipped < skips_.size() && (skipped == 0 || !all_stay)) {
        pg::check_interrupts();
        const std::vector<core::RecordSkip> portion = skips_from(skipped);
        const auto recorded = pg::runs::record_skips(portion, way_);
        refused += portion.size() - recorded.logged.size() - recorded.unlogged.size();
        missed.add(recorded.logged);
        std::ranges::copy_if(recorded.unlogged, std::back_inserter(unlogged), is_missed);
        skipped += portion.size();
    }
    missed.add(here.events);
    const bool is_all = done == claims_.size() && skipped == skips_.size();
    if (is_all) {
        missed.add(std::exchange(unlogged, {}));
        pg::runs::set_planned_until(planned_until);
    }
    missed.tell();
    std::vector<std::int64_t> not_repeated;
    if (is_all && !is_behind) {
        for (const auto& [next, run] : interrupted) not_repeated.push_back(run);
        interrupted.clear();
    }
    append_to(followed, not_repeated);
    const auto locked = followed.empty() ? followed : pg::runs::end_interrupted(followed);
    pg::alerts::tell_interrupted(not_repeated);
    // If a run has a row, its outcome cannot become durable before its claim. If it has none,
    // planned_until is the only record that it must not run again, and has to be durable before the
    // run starts.
    if (all_logged) {
        transaction.commit_asynchronously();
    } else {
        transaction.commit();
    }
    // Where one occurrence has a row already, more may have.
    if (refused == 0) way_ = pg::runs::Way::past_executor;
    written = std::move(here);
    unlogged_missed_ = std::move(unlogged);
    claims_.remove_first(done);
    claims_at_once_ = claims_.empty() ? kFirstRows : (std::min)(claims_at_once_ * 2, kRowsAtOnce);
    skips_.erase(skips_.begin(), skips_.begin() + static_cast<std::ptrdiff_t>(skipped));
    interrupted_ = std::move(interrupted);
    append_to(locked_.interrupted, locked);
    return true;
}

bool HistoryWriter::write_changes(Written& written) {
    if (changes_.outcomes.empty() && changes_.skips.empty() && changes_.interrupted.empty() &&
        waits_.empty() && started_.empty()) {
        return true;
    }
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    if (!pg::runs::try_lock_history()) return false;
    std::vector<core::Event> ended;
    std::vector<pg::Statistics::RunEnd> counted;
    Changes locked;
    for (const pg::RunReport& report : changes_.outcomes) {
        const auto outcome = pg::runs::record_outcome(report);
        if (!outcome) {
            locked.outcomes.push_back(report);
            continue;
        }
        counted.push_back({report.order, *outcome, report.started_at, report.ended_at});
        const bool retryable = core::is_retryable(report.sqlstate.data());
        ended.push_back(core::RunEnded{report.order.run, *outcome, retryable});
    }
    if (!changes_.interrupted.empty()) {
        locked.interrupted = pg::runs::end_interrupted(changes_.interrupted);
    }
    write_waits();
    const auto locked_skips = write_skips();
    if (!started_.empty()) pg::runs::show_running(started_);
    transaction.commit_asynchronously();
    std::copy_if(changes_.skips.begin(), changes_.skips.end(), std::back_inserter(locked.skips),
                 [&locked_skips](const core::SkipRun& skip) {
                     return std::find(locked_skips.begin(), locked_skips.end(),
                                      static_cast<std::int64_t>(skip.run)) != locked_skips.end();
                 });
    append_to(written.events, std::move(ended));
    append_to(written.ended, std::move(counted));
    changes_.outcomes.clear();
    changes_.skips.clear();
    changes_.interrupted.clear();
    waits_.clear();
    started_.clear();
    locked_.append(std::move(locked));
    return true;
}

void HistoryWriter::write_jobs() {
    if (changes_.pauses.empty() && changes_.removals.empty()) return;
    Changes locked;
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    for (const core::PauseJob& pause : changes_.pauses) {
        const auto job = static_cast<std::int64_t>(pause.job);
        if (!pg::jobs::pause_with_note(job, pause.note)) locked.pauses.push_back(pause);
    }
    for (const core::DeleteJob& removal : changes_.removals) {
        const auto job = static_cast<std::int64_t>(removal.job);
        if (!pg::jobs::remove(job)) locked.removals.push_back(removal);
    }
    transaction.commit();
    changes_.pauses.clear();
    changes_.removals.clear();
    locked_.append(std::move(locked));
}

void HistoryWriter::write_claims(const std::vector<core::ClaimRun>& claims, Written& written) {
    std::map<ClaimKey, core::RunId> claimed;
    for (pg::runs::RunRow& run : pg::runs::claim(claims, pg::settings().log_run, way_)) {
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

// A portion of the skipped runs that have no row yet.
std::vector<core::RecordSkip> HistoryWriter::skips_from(std::size_t first) const {
    const std::size_t end = (std::min)(skips_.size(), first + kRowsAtOnce);
    return {skips_.begin() + static_cast<std::ptrdiff_t>(first),
            skips_.begin() + static_cast<std::ptrdiff_t>(end)};
}

// In portions, as the next one: the statements are planned for few rows.
void HistoryWriter::write_waits() {
    for (std::size_t done = 0; done < waits_.size(); done += kRowsAtOnce) {
        const auto [runs, reasons] = columns_of(waits_, done);
        pg::runs::explain_waits(runs, reasons);
    }
}

// Returns those that are locked.
std::vector<std::int64_t> HistoryWriter::write_skips() {
    std::vector<std::int64_t> locked;
    for (std::size_t done = 0; done < changes_.skips.size(); done += kRowsAtOnce) {
        const auto [runs, reasons] = columns_of(changes_.skips, done);
        append_to(locked, pg::runs::skip_waiting(runs, reasons));
    }
    return locked;
}

std::optional<core::Duration> HistoryWriter::next_try(core::Duration monotonic_now) const {
    std::optional<core::Duration> at;
    if (has_work()) at = pause_.until();
    if (!locked_.empty()) {
        const auto both = (std::max)(pause_.until(), locked_pause_.until());
        at = at ? (std::min)(*at, both) : both;
    }
    if (!at) return std::nullopt;
    return (std::max)(*at - monotonic_now, core::Duration(0));
}

}  // namespace securatlas::app
