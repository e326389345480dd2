#include "cron/dispatcher.hpp"

#include <algorithm>
#include <variant>

#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/settings.hpp"

namespace securatlas::app {
namespace {

// Each is an update of a row, and who waits shortest needs it least.
constexpr std::size_t kExplainAtOnce = 200;
constexpr core::Duration kFirstPause = std::chrono::milliseconds(50);
constexpr core::Duration kLongestPause = std::chrono::seconds(1);
constexpr core::Duration kFollowPause = std::chrono::seconds(1);

// The report of a run that cannot be handed to any worker.
pg::RunReport refusal(const pg::RunOrder& order, const pg::Error& error) {
    pg::RunReport report;
    report.order = order;
    report.started_at = core::kLongAgo;
    report.ended_at = pg::now();
    std::string message = "ERROR: " + error.message();
    if (!error.detail().empty()) message += "\nDETAIL: " + error.detail();
    if (!error.hint().empty()) message += "\nHINT: " + error.hint();
    pg::assign_text(report.sqlstate, error.sqlstate());
    pg::assign_text(report.reason, "could not start");
    pg::assign_text(report.message, message);
    return report;
}

pg::CallbackReport refusal(const pg::CallbackOrder& order, const pg::Error& error) {
    pg::CallbackReport report;
    report.order = order;
    pg::assign_text(report.message, error.message());
    return report;
}

pg::Error worker_did_not_start() {
    return pg::Error("53000", "the job worker could not be started", "",
                     "See the server log for the reason.");
}

}  // namespace

void Dispatcher::know(const std::vector<pg::runs::RunRow>& runs) {
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
        Known& known = known_[run.run];
        known.order = order;
        known.row = run;
        if (const auto* target = std::get_if<pg::Target>(&found->second)) {
            known.target = *target;
            known.failure.reset();
        } else {
            known.failure = refusal(order, std::get<pg::Error>(found->second));
        }
    }
}

void Dispatcher::forget(core::RunId run) { known_.erase(run); }

// Oldest first.
Dispatcher::Key Dispatcher::key_of(const pg::Order& order) {
    if (const auto* run = std::get_if<pg::RunOrder>(&order)) {
        return {run->occurrence.scheduled_at, run->run};
    }
    const auto& callbacks = std::get<pg::CallbackOrder>(order);
    return {callbacks.due, callbacks.role};
}

void Dispatcher::make_ready(core::RunId run, core::Duration monotonic_now) {
    const auto found = known_.find(run);
    if (found != known_.end()) make_ready(found->second, monotonic_now);
}

void Dispatcher::make_callbacks_ready(const pg::Target& target, core::Instant due,
                                      core::Duration monotonic_now) {
    Known& known = known_[target.role];
    known.order = pg::CallbackOrder{.role = target.role, .due = due};
    known.target = target;
    make_ready(known, monotonic_now);
}

void Dispatcher::make_ready(Known& known, core::Duration monotonic_now) {
    known.ready_at = monotonic_now;
    if (ready_[known.target].insert(key_of(known.order)).second) ++ready_count_;
}

void Dispatcher::remove_ready(const Known& known) {
    const auto queue = ready_.find(known.target);
    if (queue == ready_.end()) return;
    ready_count_ -= queue->second.erase(key_of(known.order));
    if (queue->second.empty()) ready_.erase(queue);
}

bool Dispatcher::take_back(core::RunId run) {
    const auto found = known_.find(run);
    if (found == known_.end()) return false;
    remove_ready(found->second);
    known_.erase(found);
    return true;
}

std::map<pg::Target, Dispatcher::Queue>::iterator Dispatcher::oldest_queue(
    const std::set<pg::Target>& passed) {
    auto oldest = ready_.end();
    for (auto queue = ready_.begin(); queue != ready_.end(); ++queue) {
        if (passed.contains(queue->first)) continue;
        if (oldest == ready_.end() || *queue->second.begin() < *oldest->second.begin()) {
            oldest = queue;
        }
    }
    return oldest;
}

std::vector<pg::RunReport> Dispatcher::hand_out(core::Duration monotonic_now) {
    std::vector<pg::RunReport> failures;
    std::set<pg::Target> passed;  // targets that get no worker now
    for (auto queue = oldest_queue(passed); queue != ready_.end(); queue = oldest_queue(passed)) {
        const Item item = queue->second.begin()->second;
        Known& known = known_.at(item);
        if (known.failure) {
            failures.push_back(*known.failure);
        } else {
            const Handed handed = hand(known, monotonic_now);
            if (handed == Handed::no_room) break;
            if (handed == Handed::not_now) {
                passed.insert(known.target);
                continue;
            }
        }
        remove_ready(known);
        known_.erase(item);
    }
    return failures;
}

Dispatcher::Handed Dispatcher::hand(Known& known, core::Duration monotonic_now) {
    auto* run = std::get_if<pg::RunOrder>(&known.order);
    if (run != nullptr && known.target.database != database_ && run->parcel == 0) {
        if (!pack_for_elsewhere(known.row, *run)) {
            known.failure = refusal(*run, pg::Error("57014", "the run was cancelled"));
            return Handed::not_now;
        }
    }
    if (monotonic_now < try_at_) {
        if (pg::WorkerTable::assign_to_idle(database_, known.target, known.order)) {
            return Handed::yes;
        }
        // Before a younger run gets it: a role whose runs are many does not keep the others out.
        pg::WorkerTable::make_room();
        return Handed::not_now;
    }
    const auto assigned = pg::WorkerTable::assign(database_, known.target, known.order);
    switch (assigned.assignment) {
        case pg::WorkerTable::Assignment::handed:
            return Handed::yes;
        case pg::WorkerTable::Assignment::waiting:
        case pg::WorkerTable::Assignment::full:
            return Handed::no_room;
        case pg::WorkerTable::Assignment::reserved:
            break;
    }
    if (auto launched = pg::launch_job_worker(assigned.slot, assigned.generation)) {
        pending_.push_back({assigned.slot, assigned.generation, std::move(*launched), known.order});
        pause_ = core::Duration(0);
        slots_are_out_ = false;
        return Handed::yes;
    }
    pg::WorkerTable::release_reserved(assigned.slot, assigned.generation);
    pg::WorkerTable::make_room();
    slots_are_out(monotonic_now);
    return Handed::not_now;
}

bool Dispatcher::pack_for_elsewhere(const pg::runs::RunRow& row, pg::RunOrder& order) {
    pg::ExtensionTransaction transaction(pg::Tables::cron);
    const pg::runs::Task task = pg::runs::start_elsewhere(row);
    transaction.commit_asynchronously();
    if (!task.wanted) return false;
    order.parcel = pg::runs::send_parcel(task);
    return true;
}

// One line in the log for each time that they are out, not one for each try.
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
    Known known;
    known.order = returned.order;
    known.target = returned.target;
    if (run != nullptr) {
        known.row.run = run->run;
        known.row.occurrence = run->occurrence;
        known.row.role = returned.target.role;
        known.row.logged = run->logged;
    }
    const auto [place, is_new] = known_.insert_or_assign(key_of(returned.order).second, known);
    make_ready(place->second, monotonic_now);
}

void Dispatcher::ended(const pg::RunOrder& order) {
    if (order.parcel != 0) pg::runs::drop_parcel(order.parcel);
}

std::vector<pg::WorkerReport> Dispatcher::follow_launches() {
    std::vector<pg::WorkerReport> failures;
    std::erase_if(pending_, [&failures](const Pending& pending) {
        const auto state = pending.launched.state();
        if (state == pg::Launched::State::starting) return false;
        // A worker that took its slot reports by itself, however it ends.
        if (state == pg::Launched::State::ended &&
            pg::WorkerTable::release_reserved(pending.slot, pending.generation)) {
            failures.push_back(std::visit(
                [](const auto& order) -> pg::WorkerReport {
                    return refusal(order, worker_did_not_start());
                },
                pending.order));
        }
        return true;
    });
    return failures;
}

std::optional<core::Instant> Dispatcher::oldest_wait() const {
    std::optional<core::Instant> oldest;
    for (const auto& [target, queue] : ready_) {
        const core::Instant first = queue.begin()->first;
        if (!oldest || first < *oldest) oldest = first;
    }
    return oldest;
}

std::vector<core::ExplainWait> Dispatcher::explain_waits(core::Duration since,
                                                         core::Duration monotonic_now) {
    std::vector<core::ExplainWait> waits;
    const std::string reason =
        monotonic_now < try_at_ || slots_are_out_
            ? "waiting for a worker: all worker slots of the server are in use"
            : "waiting for a worker: cron.max_running_jobs (" +
                  std::to_string(pg::settings().max_running_jobs) + ") is reached";
    for (const auto& [target, queue] : ready_) {
        for (const auto& [scheduled_at, item] : queue) {
            if (waits.size() == kExplainAtOnce) return waits;
            const auto* run = std::get_if<core::RunId>(&item);
            if (run == nullptr) continue;
            Known& known = known_.at(item);
            if (known.explained || known.ready_at > since) continue;
            known.explained = true;
            waits.push_back({*run, reason});
        }
    }
    return waits;
}

std::optional<core::Duration> Dispatcher::next_try(core::Duration monotonic_now) const {
    std::optional<core::Duration> next;
    if (ready_count_ > 0 && try_at_ > monotonic_now) next = try_at_ - monotonic_now;
    // The postmaster tells of a worker that did not live by the latch alone.
    if (!pending_.empty()) next = (std::min)(next.value_or(kFollowPause), kFollowPause);
    return next;
}

}  // namespace securatlas::app
