// What the scheduler removes: old history, old responses.
#include <algorithm>
#include <utility>

#include "cron/scheduler.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/settings.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/net/settings.hpp"
#include "securatlas/pg/shared/progress.hpp"

namespace securatlas::app {
namespace {

constexpr core::Duration kPurgePause = std::chrono::minutes(10);
constexpr core::Duration kPurgeResponsesPause = std::chrono::minutes(1);
constexpr core::Duration kShortestPause = std::chrono::seconds(1);
constexpr int kPurgeBatch = 10'000;

// A response may be older than net.ttl by a hundredth of that, by a second at least and a minute at
// most.
core::Duration pause_for(core::Duration ttl) {
    return std::clamp(ttl / 100, kShortestPause, kPurgeResponsesPause);
}

// Whether more may be left.
bool is_full(std::uint64_t removed, int limit = kPurgeBatch) {
    return removed >= static_cast<std::uint64_t>(limit);
}

// As many as the settings say, unless responses arrive faster than that removes them.
int purge_limit(int wanted, core::Instant expired) {
    return wanted < kPurgeBatch && pg::requests::has_responses(expired - kPurgeResponsesPause)
               ? kPurgeBatch
               : wanted;
}

}  // namespace

// What takes more than one portion is long.
void ShownPurge::show(std::uint64_t removed, bool is_more) {
    namespace progress = pg::progress;
    if (is_more && !std::exchange(is_shown_, true)) {
        progress::begin("purge", phase_, progress::kUnknown, kind_);
    }
    progress::advance(static_cast<std::int64_t>(removed), kind_);
    if (!is_more && std::exchange(is_shown_, false)) progress::end(kind_);
}

void SchedulerProcess::purge() {
    const core::Duration monotonic = pg::monotonic_now();
    if (monotonic < purge_at_) return;
    purge_at_ = monotonic + kPurgePause;
    const pg::Settings settings = pg::settings();
    if (settings.history_retention == core::Duration(0) && settings.history_limit == 0) {
        history_purge_.show(0, false);
        return;
    }
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    if (!pg::runs::try_lock_history()) return;
    const std::uint64_t removed =
        pg::runs::purge(settings.history_retention, settings.history_limit, kPurgeBatch);
    transaction.commit_asynchronously();
    history_purge_.show(removed, is_full(removed));
    // Continue soon, but let runs start in between.
    if (is_full(removed)) purge_at_ = monotonic + kShortestPause;
}

// Done by the scheduler, because the http worker runs only while there are requests.
void SchedulerProcess::purge_responses() {
    const core::Duration monotonic = pg::monotonic_now();
    const unsigned version = pg::configuration_version();
    if (std::exchange(purge_configuration_, version) != version) purge_soon_ = true;
    if (purge_soon_) {
        purge_responses_at_ = std::min(purge_responses_at_, responses_purged_at_ + kShortestPause);
    }
    if (monotonic < purge_responses_at_) return;
    purge_soon_ = false;
    responses_purged_at_ = monotonic;
    purge_responses_at_ = monotonic + kPurgeResponsesPause;
    const pg::NetSettings settings = pg::net_settings();
    if (settings.ttl == core::Duration(0)) {
        response_purge_.show(0, false);
        return;
    }
    pg::ExtensionTransaction transaction(pg::Tables::net);
    if (!pg::requests::try_lock()) return;
    const core::Instant expired = pg::now() - settings.ttl;
    const int limit = purge_limit(pg::responses_per_purge(), expired);
    const std::uint64_t removed = pg::requests::remove_responses(expired, limit);
    const bool are_left = pg::requests::has_responses(pg::now());
    transaction.commit_asynchronously();
    response_purge_.show(removed, is_full(removed, limit));
    if (is_full(removed, limit)) {
        purge_responses_at_ = monotonic + kShortestPause;
    } else if (are_left) {
        purge_responses_at_ = monotonic + pause_for(settings.ttl);
    }
}

}  // namespace securatlas::app
