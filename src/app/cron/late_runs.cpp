#include "cron/late_runs.hpp"

#include <algorithm>
#include <utility>

#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/alerts.hpp"

namespace securatlas::app {
namespace {

// Looking goes through all waiting runs, and reading the alerts costs as much as a claim.
constexpr core::Duration kPause = std::chrono::seconds(1);
constexpr std::size_t kRunsAtOnce = 1000;

// Only these can be late: a retry waits on purpose, and a run that is made up for was missed. What
// has no row is not told of.
bool can_be_late(const core::Occurrence& occurrence, bool is_logged) {
    return is_logged && occurrence.trigger == core::RunTrigger::schedule && occurrence.attempt == 1;
}

}  // namespace

void LateRuns::add(const std::vector<pg::runs::RunRow>& runs, core::Duration monotonic_now) {
    if (!pg::alerts::any()) return;
    if (!shortest_read_at_ || monotonic_now >= *shortest_read_at_ + kPause) {
        shortest_ = pg::alerts::shortest_late();
        shortest_read_at_ = monotonic_now;
    }
    if (!shortest_) return;
    for (const pg::runs::RunRow& run : runs) {
        if (!can_be_late(run.occurrence, run.logged)) continue;
        look_at_ = (std::min)(look_at_, run.occurrence.scheduled_at + *shortest_);
    }
}

void LateRuns::tell(Dispatcher& dispatcher, core::Duration monotonic_now) {
    const core::Instant now = pg::now();
    if (now < look_at_ || monotonic_now < not_before_) return;
    not_before_ = monotonic_now + kPause;
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    if (!pg::alerts::try_lock()) return;
    shortest_ = pg::alerts::shortest_late();
    shortest_read_at_ = monotonic_now;
    std::unordered_map<core::RunId, core::Instant> next;
    std::vector<pg::RunOrder*> late;
    std::vector<pg::RunOrder> orders;
    dispatcher.each_waiting([&](pg::RunOrder& run) {
        if (!shortest_ || !can_be_late(run.occurrence, run.logged)) return;
        const auto known = next_.find(run.run);
        const core::Instant at =
            known != next_.end() ? known->second : run.occurrence.scheduled_at + *shortest_;
        const bool is_due = at <= now && late.size() < kRunsAtOnce;
        next.emplace(run.run, is_due ? core::kNever : at);
        if (!is_due) return;
        late.push_back(&run);
        orders.push_back(run);
    });
    for (const auto& [run, at] : pg::alerts::tell_late(orders, now)) next[run] = at;
    transaction.commit_asynchronously();
    for (pg::RunOrder* run : late) run->late_is_told_until = now;
    next_ = std::move(next);
    look_at_ = core::kNever;
    for (const auto& [run, at] : next_) look_at_ = (std::min)(look_at_, at);
}

std::optional<core::Duration> LateRuns::time_left(core::Duration monotonic_now) const {
    if (look_at_ == core::kNever) return std::nullopt;
    return (std::max)({look_at_ - pg::now(), not_before_ - monotonic_now, core::Duration(0)});
}

}  // namespace securatlas::app
