#include "cron/dispatcher.hpp"

#include <algorithm>
#include <exception>
#include <utility>
#include <variant>

#include "securatlas/core/cron/run_reasons.hpp"
#include "securatlas/core/cron/worker_need.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/border/transaction.hpp"
#include "securatlas/pg/cron/command.hpp"
#include "securatlas/pg/cron/role_limit.hpp"
#include "securatlas/pg/cron/settings.hpp"

namespace securatlas::app {
namespace {

// Each explanation updates a row; runs that have waited briefly need none yet.
constexpr std::size_t kExplainAtOnce = 200;
constexpr core::Duration kFirstPause = std::chrono::milliseconds(50);
constexpr core::Duration kLongestPause = std::chrono::seconds(1);
constexpr core::Duration kFollowPause = std::chrono::seconds(1);

// The report of a run that cannot be executed by any worker.
pg::RunReport refusal(const pg::RunOrder& order, const pg::Error& error) {
    pg::RunReport report = pg::failed_report(order, error);
    report.pid = 0;
    pg::assign_text(report.reason, core::reasons::kCouldNotStart);
    return report;
}

// Reports are so large that waiting runs would fill the processor's caches if each had room for
// one.
std::unique_ptr<pg::RunReport> failure(const pg::RunOrder& order, const pg::Error& error) {
    return std::make_unique<pg::RunReport>(refusal(order, error));
}

pg::CallbackReport refusal(const pg::CallbackOrder& order, const pg::Error& error) {
    pg::CallbackReport report;
    report.order = order;
    pg::assign_text(report.message, error.message());
    return report;
}

// What somebody would be told who connects to a database that was dropped; nullopt: it exists.
std::optional<pg::Error> database_is_gone(pg::DatabaseOid database) {
    pg::Transaction transaction;
    const bool exists = pg::database_exists(database);
    transaction.commit();
    if (exists) return std::nullopt;
    return pg::Error("3D000", "database " + std::to_string(database) + " does not exist",
                     "It was dropped while the run waited.");
}

pg::Error worker_did_not_start() {
    return pg::Error("53000", "the job worker could not be started", "",
                     "See the server log for the reason.");
}

}  // namespace

void Dispatcher::add(const std::vector<pg::runs::RunRow>& runs) {
    std::map<std::pair<std::string, pg::RoleOid>, std::variant<pg::Target, pg::Error>> targets;
    for (const pg::runs::RunRow& run : runs) {
        const auto key = std::make_pair(run.database, run.role);
        auto found = targets.find(key);
        if (found == targets.end()) {
            try {
                found =
                    targets.emplace(key, pg::resolve_target(run.database, run.role, run.username))
                        .first;
            } catch (const pg::Error& error) {
                found = targets.emplace(key, error).first;
            }
        }
        const pg::RunOrder order{
            .run = run.run, .occurrence = run.occurrence, .logged = run.logged};
        Entry& entry = entries_[run.run];
        entry.order = order;
        entry.row = run;
        if (const auto* target = std::get_if<pg::Target>(&found->second)) {
            entry.target = *target;
            limits_.erase(*target);
            entry.failure.reset();
        } else {
            entry.failure = failure(order, std::get<pg::Error>(found->second));
        }
    }
}

void Dispatcher::forget(core::RunId run) { withdraw(run); }

std::optional<core::Occurrence> Dispatcher::occurrence_of(core::RunId run) const {
    const auto found = entries_.find(run);
    if (found == entries_.end()) return std::nullopt;
    return std::get<pg::RunOrder>(found->second.order).occurrence;
}

Dispatcher::Ready::Key Dispatcher::key_of(const pg::Order& order) {
    if (const auto* run = std::get_if<pg::RunOrder>(&order)) {
        return {run->rank, run->occurrence.scheduled_at, run->run};
    }
    const auto& callbacks = std::get<pg::CallbackOrder>(order);
    return {callbacks.due, callbacks.due, std::make_pair(callbacks.role, callbacks.calls)};
}

void Dispatcher::make_ready(const core::StartRun& start, core::Duration monotonic_now) {
    const auto found = entries_.find(start.run);
    if (found == entries_.end()) return;
    std::get<pg::RunOrder>(found->second.order).rank = start.rank;
    make_ready(found->second, monotonic_now);
}

std::size_t Dispatcher::ItemHash::operator()(const Item& item) const noexcept {
    if (const auto* run = std::get_if<core::RunId>(&item)) return std::hash<core::RunId>()(*run);
    const auto& [role, calls] = *std::get_if<1>(&item);
    return std::hash<std::uint64_t>()((std::uint64_t{role} << 1) |
                                      (calls == pg::Calls::alerts ? 1U : 0U));
}

void Dispatcher::make_callbacks_ready(const pg::Target& target, pg::Calls calls, core::Instant due,
                                      core::Duration monotonic_now) {
    Entry& entry = entries_[std::make_pair(target.role, calls)];
    entry.order = pg::CallbackOrder{.role = target.role, .calls = calls, .due = due};
    entry.target = target;
    make_ready(entry, monotonic_now);
}

void Dispatcher::make_ready(Entry& entry, core::Duration monotonic_now) {
    entry.ready_at = monotonic_now;
    ready_.insert(entry.target, key_of(entry.order));
}

bool Dispatcher::withdraw(core::RunId run) {
    const auto found = entries_.find(run);
    if (found == entries_.end()) return false;
    ready_.erase(found->second.target, key_of(found->second.order));
    parked_.erase({found->second.parked_until, run});
    ended(std::get<pg::RunOrder>(found->second.order));
    entries_.erase(found);
    return true;
}

void Dispatcher::hand_out(core::Duration monotonic_now,
                          const std::function<void(const pg::RunReport&)>& report) {
    end_parking(monotonic_now);
    if (!at_share_.empty() && monotonic_now >= limits_until_) limits_.clear();
    if (limits_.empty()) limits_until_ = monotonic_now + kLongestPause;
    at_share_.clear();
    has_queued_ = false;
    std::set<pg::Target> passed;  // targets that cannot get a worker now
    while (const Item* first = ready_.first(passed)) {
        const Item item = *first;
        Entry& entry = entries_.at(item);
        switch (try_to_hand(entry, monotonic_now)) {
            case Handed::yes:
                ready_.erase(entry.target, key_of(entry.order));
                entries_.erase(item);
                break;
            case Handed::refused:
                report(*entry.failure);
                forget(std::get<core::RunId>(item));
                break;
            case Handed::parked:
                ready_.erase(entry.target, key_of(entry.order));
                parked_.insert({entry.parked_until, item});
                break;
            case Handed::no_room:
                return;
            case Handed::not_now:
                passed.insert(entry.target);
                break;
        }
    }
}

// An error with one item must not affect those behind it.
Dispatcher::Handed Dispatcher::try_to_hand(Entry& entry, core::Duration monotonic_now) {
    if (entry.failure) return Handed::refused;
    try {
        return hand(entry, monotonic_now);
    } catch (const std::exception& error) {
        if (entry.parked_for.empty()) {
            pg::write_log(pg::LogLevel::warning,
                          std::string("securatlas_sched scheduler: could not hand out a run: ") +
                              error.what());
        }
        park(entry, std::string("could not be handed out yet: ") + error.what(), monotonic_now);
        return Handed::parked;
    }
}

void Dispatcher::park(Entry& entry, std::string reason, core::Duration monotonic_now) {
    entry.parked_pause = entry.parked_pause == core::Duration(0)
                             ? kFirstPause
                             : (std::min)(entry.parked_pause * 2, kLongestPause);
    entry.parked_until = monotonic_now + entry.parked_pause;
    if (entry.parked_for != reason) entry.explained = false;
    entry.parked_for = std::move(reason);
}

void Dispatcher::end_parking(core::Duration monotonic_now) {
    while (!parked_.empty() && parked_.begin()->first <= monotonic_now) {
        Entry& entry = entries_.at(parked_.begin()->second);
        parked_.erase(parked_.begin());
        ready_.insert(entry.target, key_of(entry.order));
    }
}

Dispatcher::Handed Dispatcher::hand(Entry& entry, core::Duration monotonic_now) {
    using enum pg::WorkerTable::Assignment;
    const bool slots_are_out_now = monotonic_now < try_at_;
    auto* run = std::get_if<pg::RunOrder>(&entry.order);
    const bool is_elsewhere = entry.target.database != database_;
    if (run != nullptr && is_elsewhere && std::exchange(entry.database_may_be_gone, false)) {
        if (const auto error = database_is_gone(entry.target.database)) {
            entry.failure = failure(*run, *error);
            return Handed::refused;
        }
    }
    if (run != nullptr && is_elsewhere && run->parcel == 0) {
        const auto room =
            pg::WorkerTable::room_for(database_, entry.target, limit_of(entry.target));
        const bool is_there = room == handed || (room == reserved && !slots_are_out_now);
        if (!is_there) return has_to_wait(entry, room, slots_are_out_now, monotonic_now);
        if (!pack_for_elsewhere(entry, *run)) {
            park(entry, core::reasons::kRowLocked, monotonic_now);
            return Handed::parked;
        }
        if (entry.failure) return Handed::refused;
    }
    pending_.reserve(pending_.size() + 1);
    const auto assigned = pg::WorkerTable::assign(database_, entry.target, entry.order,
                                                  {.queue = run != nullptr && !is_elsewhere,
                                                   .reserve = !slots_are_out_now,
                                                   .limit = limit_of(entry.target),
                                                   .now = monotonic_now});
    if (assigned.assignment == queued) has_queued_ = true;
    if (assigned.assignment == handed || assigned.assignment == queued) return Handed::yes;
    if (assigned.assignment == kept_free) {
        slots_are_out(monotonic_now);
        return Handed::not_now;
    }
    if (assigned.assignment != reserved) {
        return has_to_wait(entry, assigned.assignment, slots_are_out_now, monotonic_now);
    }
    if (auto launched = pg::launch_job_worker(assigned.slot, assigned.generation)) {
        pending_.push_back({assigned.slot, assigned.generation, std::move(*launched), entry.order});
        pause_ = core::Duration(0);
        slots_are_out_ = false;
        return Handed::yes;
    }
    pg::WorkerTable::release_reserved(assigned.slot, assigned.generation);
    pg::WorkerTable::make_room();
    slots_are_out(monotonic_now);
    return Handed::not_now;
}

// Read again with each group of new runs, and each second while it keeps runs from starting.
int Dispatcher::limit_of(const pg::Target& target) {
    auto found = limits_.find(target);
    if (found == limits_.end()) {
        pg::Transaction transaction;
        found = limits_.emplace(target, pg::role_limit(target)).first;
        transaction.commit();
    }
    return found->second;
}

Dispatcher::Handed Dispatcher::has_to_wait(Entry& entry, pg::WorkerTable::Assignment assignment,
                                           bool slots_are_out_now, core::Duration monotonic_now) {
    using enum pg::WorkerTable::Assignment;
    if (assignment == closed) {
        entry.database_may_be_gone = true;
        park(entry, core::reasons::kDatabaseClosed, monotonic_now);
        return Handed::parked;
    }
    if (assignment == share || assignment == limit) {
        at_share_.insert_or_assign(entry.target, assignment == limit);
        return Handed::not_now;
    }
    if (assignment == enough) {
        has_queued_ = true;
        return Handed::not_now;
    }
    if (!slots_are_out_now) return Handed::no_room;
    // Otherwise a younger run would get the next free slot, and a role with many runs would keep
    // others out.
    pg::WorkerTable::make_room();
    return Handed::not_now;
}

// False: the run's row is locked.
bool Dispatcher::pack_for_elsewhere(Entry& entry, pg::RunOrder& order) {
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    if (entry.row.logged && !pg::runs::try_lock_history()) return false;
    const auto task = pg::runs::mark_for_elsewhere(entry.row);
    if (!task) return false;
    if (!task->wanted) {
        entry.failure = failure(order, pg::Error("57014", "the run was cancelled"));
        transaction.commit_asynchronously();
        return true;
    }
    // Before the mark is committed: if this fails the run has not begun.
    order.parcel = pg::runs::send_parcel(*task);
    try {
        transaction.commit_asynchronously();
    } catch (...) {
        pg::runs::drop_parcel(std::exchange(order.parcel, 0));
        throw;
    }
    return true;
}

// One log message for each period without slots, not one for each attempt.
void Dispatcher::slots_are_out(core::Duration monotonic_now) {
    pause_ = pause_ == core::Duration(0) ? kFirstPause : (std::min)(pause_ * 2, kLongestPause);
    try_at_ = monotonic_now + pause_;
    if (slots_are_out_) return;
    slots_are_out_ = true;
    pg::write_log(pg::LogLevel::warning,
                  "securatlas_sched: no background worker slot is free; runs wait. Raise "
                  "max_worker_processes if this stays");
}

void Dispatcher::returned(const pg::ReturnedOrder& returned, core::Duration monotonic_now) {
    const auto* run = std::get_if<pg::RunOrder>(&returned.order);
    Entry entry;
    entry.order = returned.order;
    entry.target = returned.target;
    entry.database_may_be_gone = true;
    if (run != nullptr) {
        entry.row.run = run->run;
        entry.row.occurrence = run->occurrence;
        entry.row.role = returned.target.role;
        entry.row.logged = run->logged;
    }
    const auto [place, is_new] =
        entries_.insert_or_assign(key_of(returned.order).item, std::move(entry));
    make_ready(place->second, monotonic_now);
}

void Dispatcher::ended(const pg::RunOrder& order) {
    if (order.parcel != 0) pg::runs::drop_parcel(order.parcel);
}

void Dispatcher::follow_launches(std::vector<pg::WorkerReport>& reports) {
    reports.reserve(reports.size() + pending_.size());
    std::erase_if(pending_, [&reports](const Pending& pending) {
        const auto state = pending.launched.state();
        if (state == pg::Launched::State::starting) return false;
        // A worker that has attached to its slot reports itself, however it ends.
        if (state == pg::Launched::State::ended &&
            pg::WorkerTable::release_reserved(pending.slot, pending.generation)) {
            reports.push_back(std::visit(
                [](const auto& order) -> pg::WorkerReport {
                    return refusal(order, worker_did_not_start());
                },
                pending.order));
        }
        return true;
    });
}

std::vector<core::ExplainWait> Dispatcher::explain_waits(core::Duration since,
                                                         core::Duration monotonic_now) {
    std::vector<core::ExplainWait> waits;
    const auto explain = [&](const Item& item, const std::string& reason, int limit = 0) {
        const auto* run = std::get_if<core::RunId>(&item);
        Entry& entry = entries_.at(item);
        // Its limit may have been changed.
        const bool is_explained = entry.explained && (limit == 0 || limit == entry.explained_limit);
        if (run == nullptr || is_explained || entry.ready_at > since) return;
        entry.explained = true;
        entry.explained_limit = limit;
        waits.push_back({*run, reason});
    };
    for (const auto& [until, item] : parked_) {
        if (waits.size() == kExplainAtOnce) return waits;
        explain(item, entries_.at(item).parked_for);
    }
    const std::string slots =
        monotonic_now < try_at_ || slots_are_out_
            ? core::reasons::kServerSlots
            : core::reasons::running_jobs_limit(pg::settings().max_running_jobs);
    const std::string share = core::reasons::kRoleShare;
    for (const auto& [target, queue] : ready_.queues()) {
        const auto kept = at_share_.find(target);
        const bool is_kept = kept != at_share_.end();
        const int limit = is_kept && kept->second ? limit_of(target) : 0;
        const std::string reason = limit > 0 ? core::reasons::role_limit(limit)
                                   : is_kept ? share
                                             : slots;
        for (const Ready::Key& key : queue) {
            if (waits.size() == kExplainAtOnce) return waits;
            explain(key.item, reason, limit);
        }
    }
    return waits;
}

std::optional<core::Duration> Dispatcher::next_try(core::Duration monotonic_now) const {
    std::optional<core::Duration> next;
    if (ready_.size() > 0 && try_at_ > monotonic_now) next = try_at_ - monotonic_now;
    if (has_queued_) next = (std::min)(next.value_or(core::kSoon), core::kSoon);
    // The postmaster reports a worker that failed to start by setting the latch only, which may be
    // lost.
    if (!pending_.empty()) next = (std::min)(next.value_or(kFollowPause), kFollowPause);
    // When runs of the role in other databases end, this scheduler is not notified.
    if (!at_share_.empty()) next = (std::min)(next.value_or(kLongestPause), kLongestPause);
    if (!parked_.empty()) {
        const core::Duration left =
            (std::max)(parked_.begin()->first - monotonic_now, core::Duration(0));
        next = (std::min)(next.value_or(left), left);
    }
    return next;
}

}  // namespace securatlas::app
