// The http worker: one process for a database, as long as it has requests. Each turn does the same:
// let libcurl do what it can, collect what has ended, and, in one short transaction, record results
// and read more from the queue; then sleep until libcurl's descriptor or the latch is ready. No
// transaction is open while it sleeps. Requests are read ahead, so that a free slot can be filled
// without waiting for a transaction.
//
// The worker changes a row of the queue only when an attempt has ended. If the process dies,
// everything that it had in memory is still in the queue, and is sent again. If a transaction fails
// or the tables are locked, results stay in memory and are written after a pause, while transfers
// go on.
#include "net/http_worker.hpp"

#include <algorithm>
#include <new>
#include <utility>
#include <variant>

#include "securatlas/app/processes.hpp"
#include "securatlas/http/engine_library.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/net/settings.hpp"
#include "securatlas/pg/shared/installed_extension.hpp"
#include "securatlas/pg/shared/names.hpp"

namespace securatlas::app {
namespace {

// Results wait this long for others to be recorded with, unless no requests are in flight.
constexpr core::Duration kGroupTime = std::chrono::milliseconds(5);
// If commits are slow, results wait longer, so that commits use at most a tenth of the time.
constexpr core::Duration kLongestGroupTime = std::chrono::milliseconds(50);
constexpr int kBusyTurns = 32;
constexpr std::size_t kMaxGroup = 1000;
constexpr std::size_t kMaxGroupBytes = 8 * 1024 * 1024;
constexpr core::Duration kPauseAfterError = std::chrono::milliseconds(500);
constexpr core::Duration kIdleTime = std::chrono::seconds(5);
// A host that cannot start anything for longer than this has no rows in memory.
constexpr core::Duration kWorthWaiting = std::chrono::milliseconds(500);

// How long until drive() has to be called.
core::Duration time_left(std::chrono::steady_clock::time_point deadline) {
    return std::chrono::duration_cast<core::Duration>(deadline - std::chrono::steady_clock::now());
}

bool extension_is_here() {
    pg::Transaction transaction;
    const pg::InstalledExtension found = pg::installed_extension();
    transaction.commit();
    return found.state == pg::InstalledExtension::State::matching && found.net != 0;
}

http::EngineOptions engine_options(std::size_t slots) {
    const pg::NetSettings settings = pg::net_settings();
    http::EngineOptions options;
    options.user_agent = "securatlas_sched";
    options.max_idle_connections = static_cast<int>(slots);
    options.follow_redirects = settings.follow_redirects;
    options.ca_file = settings.ca_file;
    options.egress = pg::egress_policy();
    return options;
}

std::unique_ptr<http::Engine> make_engine(std::size_t slots) {
    void* const function = pg::load_function(http::kEngineLibrary, http::kMakeEngine);
    if (function == nullptr) {
        throw pg::Error("55000",
                        std::string("library ") + http::kEngineLibrary +
                            " is of another version than the one that the server has loaded",
                        "", "Restart the server.");
    }
    http::EngineOptions options = engine_options(slots);
    return std::unique_ptr<http::Engine>(reinterpret_cast<http::MakeEngine>(function)(&options));
}

core::HostLimitsOptions limits_options(std::size_t slots) {
    const pg::NetSettings settings = pg::net_settings();
    return {.max_total = slots,
            .max_per_host = static_cast<std::size_t>(settings.max_connections_per_host),
            .requests_per_second = static_cast<double>(settings.requests_per_second_per_host)};
}

// How many of the configured connections the process may have open.
std::size_t acquire_slots() {
    return static_cast<std::size_t>(
        std::max(1, pg::acquire_descriptors(pg::net_settings().max_connections)));
}

}  // namespace

HttpWorker::HttpWorker(pg::DatabaseOid database)
    : database_(database),
      slots_(acquire_slots()),
      engine_(make_engine(slots_)),
      limits_(limits_options(slots_)),
      queues_(slots_),
      sends_(pg::net_settings().send_requests),
      idle_since_(pg::monotonic_now()) {
    pg::wait_also_for(engine_->wait_fd());
}

void HttpWorker::run() {
    while (true) {
        try {
            if (!turn()) return;
        } catch (const pg::Error& error) {
            note_error(error);
            busy_turns_ = 0;
        }
        // While transfers are busy, skip the sleep; every 32nd turn go through it, to notice the
        // latch and the postmaster's death.
        if (busy_turns_ % kBusyTurns != 0) {
            pg::heed_signals();
        } else {
            pg::wait(pg::Wait::http_worker, sleep_time());
        }
    }
}

bool HttpWorker::turn() {
    apply_settings();
    busy_turns_ = engine_->drive() ? busy_turns_ + 1 : 0;
    take_completed();
    look_for_work();
    start_waiting();
    if (std::exchange(check_extension_, false) && !extension_is_here()) return false;
    const auto at = next_transaction();
    if (at && *at <= pg::monotonic_now()) {
        exchange_with_tables();
        start_waiting();
    }
    publish(false);
    report_activity();
    return !may_leave();
}

void HttpWorker::report_activity() {
    const bool active = !attempts_.empty() || has_results();
    if (std::exchange(is_active_, active) == active) return;
    if (active) {
        pg::report_active("sending HTTP requests");
    } else {
        pg::report_idle();
    }
}

void HttpWorker::apply_settings() {
    const unsigned version = pg::configuration_version();
    if (std::exchange(configuration_, version) == version) return;
    slots_ = acquire_slots();
    engine_->configure(engine_options(slots_));
    limits_.configure(limits_options(slots_));
    queues_.set_rows(slots_);
    // Rows that must not be sent are not kept in memory; they are read again later.
    if (std::exchange(sends_, pg::net_settings().send_requests) != sends_) queues_.remove_all();
    may_start_ = true;
}

void HttpWorker::take_completed() {
    for (http::Completed& completed : engine_->take_completed()) {
        const auto node = attempts_.extract(completed.id);
        const Attempt& attempt = node.mapped();
        limits_.ended(attempt.host, attempt.is_probe, completed.outcome, completed.duration,
                      completed.error, pg::monotonic_now(), random());
        queues_.ended(attempt.host, attempt.bytes);
        ++shown_.sent;
        if (!completed.error.empty()) {
            ++shown_.failed;
            shown_.last_error = attempt.host + ": " + completed.error;
        }
        may_start_ = true;
        is_shown_ = false;
        add_result(judge(std::move(completed), attempt, pg::now(), random()));
    }
}

void HttpWorker::add_result(Verdict verdict) {
    if (!has_results()) first_result_at_ = pg::monotonic_now();
    if (auto* response = std::get_if<pg::requests::Response>(&verdict)) {
        result_bytes_ += response->body.size();
        responses_.push_back(std::move(*response));
    } else {
        retries_.push_back(std::move(std::get<pg::requests::Retry>(verdict)));
    }
}

void HttpWorker::look_for_work() {
    if (pg::DatabaseTable::take_http_wanted(database_)) queues_.look_at_all();
    take_cancelled();
    if (next_ready_ && *next_ready_ <= pg::now()) {
        next_ready_.reset();
        queues_.look_at_all();
    }
    if (!is_idle()) idle_since_ = pg::monotonic_now();
}

void HttpWorker::take_cancelled() {
    const pg::Cancelled cancelled = pg::HttpTable::take_cancelled(database_);
    for (const std::int64_t id : cancelled.ids) cancel(core::RequestId{id});
    if (!cancelled.overflowed) return;
    queues_.remove_all();
    pg::ExtensionTransaction transaction(pg::Tables::net);
    const auto gone = pg::requests::not_in_queue(ids_in_flight());
    transaction.commit();
    for (const std::int64_t id : gone) cancel(core::RequestId{id});
}

// The row was deleted, so that a result could not be recorded.
void HttpWorker::cancel(core::RequestId id) {
    if (queues_.remove(id) || !engine_->cancel(id)) return;
    const auto node = attempts_.extract(id);
    limits_.given_up(node.mapped().host, node.mapped().is_probe, pg::monotonic_now());
    queues_.ended(node.mapped().host, node.mapped().bytes);
    may_start_ = true;
    is_shown_ = false;
}

// ---- the tables ----------------------------------------------------------------------------

bool HttpWorker::is_group_complete() const {
    return engine_->in_flight() == 0 || responses_.size() + retries_.size() >= kMaxGroup ||
           result_bytes_ >= kMaxGroupBytes;
}

// When the next transaction should start; nullopt: there is nothing to do for one.
std::optional<core::Duration> HttpWorker::next_transaction() const {
    std::optional<core::Duration> next;
    const auto at = [this, &next](core::Duration time) {
        time = std::max(time, try_at_);
        next = next ? std::min(*next, time) : time;
    };
    constexpr core::Duration kNow{0};
    if (sends_ && queues_.wants_to_read(pg::monotonic_now())) {
        at(queues_.empty() ? kNow : read_at_);
    }
    if (has_results()) {
        at(is_group_complete() ? kNow : first_result_at_ + group_time_);
    } else if (const auto time = deferred_.time()) {
        at(*time);
    }
    return next;
}

std::vector<std::int64_t> HttpWorker::ids_in_flight() const {
    std::vector<std::int64_t> ids;
    ids.reserve(attempts_.size());
    for (const auto& [id, attempt] : attempts_) ids.push_back(static_cast<std::int64_t>(id));
    return ids;
}

void HttpWorker::exchange_with_tables() {
    const core::Duration monotonic = pg::monotonic_now();
    try_at_ = monotonic + kPauseAfterError;  // in case of an error
    pg::Transaction transaction;
    if (!pg::try_keep_extension(pg::Tables::net) || !pg::requests::try_lock() ||
        !pg::extension_is_usable()) {
        check_extension_ = true;
        return;
    }
    defer_locked(monotonic);
    const auto roles = pg::requests::record_responses(responses_);
    pg::requests::record_retries(retries_);
    const core::Duration recorded_at = pg::monotonic_now();
    const bool reads = sends_ && (queues_.empty() || read_at_ <= recorded_at) &&
                       queues_.wants_to_read(recorded_at);
    pg::requests::ReadPlan plan;
    pg::requests::Ready ready;
    std::optional<core::Instant> next;
    if (reads) {
        std::vector<std::int64_t> known = ids_in_flight();
        deferred_.add_ids_to(known);
        plan = queues_.plan(pg::now(), monotonic, known);
        ready = pg::requests::read_ready(plan);
        if (!ready.is_cut && plan.after_host.empty()) next = pg::requests::next_ready(plan.now);
        const core::Duration read_until = pg::monotonic_now();
        read_at_ = read_until + 2 * (read_until - recorded_at);
    }
    const core::Duration committing_since = pg::monotonic_now();
    transaction.commit();
    group_time_ =
        std::clamp(9 * (pg::monotonic_now() - committing_since), kGroupTime, kLongestGroupTime);
    try_at_ = core::Duration(0);
    if (!responses_.empty()) pg::HttpTable::notify_recorded();
    if (!roles.empty()) pg::DatabaseTable::notify_callbacks(database_, roles);
    for (const pg::requests::Retry& retry : retries_) expect(retry.ready_at);
    responses_.clear();
    retries_.clear();
    result_bytes_ = 0;
    if (!reads) return;
    may_start_ = may_start_ || !ready.requests.empty();
    is_shown_ = is_shown_ && ready.requests.empty();
    queues_.add(std::move(ready), plan, monotonic);
    if (next) expect(*next);
}

// A session that has cancelled a request and does not end its transaction must not delay other
// results.
void HttpWorker::defer_locked(core::Duration monotonic) {
    deferred_.take_due(responses_, retries_, monotonic);
    std::vector<std::int64_t> ids;
    ids.reserve(responses_.size() + retries_.size());
    for (const auto& response : responses_) ids.push_back(static_cast<std::int64_t>(response.id));
    for (const auto& retry : retries_) ids.push_back(static_cast<std::int64_t>(retry.id));
    deferred_.defer(pg::requests::lock_requests(ids), responses_, retries_, monotonic);
}

void HttpWorker::expect(core::Instant ready_at) {
    next_ready_ = next_ready_ ? std::min(*next_ready_, ready_at) : ready_at;
}

// ---- attempts ------------------------------------------------------------------------------

void HttpWorker::start_waiting() {
    const core::Duration now = pg::monotonic_now();
    if (!may_start_ && !(start_again_at_ && *start_again_at_ <= now)) return;
    may_start_ = false;
    start_again_at_.reset();
    to_close_.clear();
    queues_.offer([this](pg::requests::QueuedRequest& row) { return consider(row); });
    engine_->start(std::exchange(starting_, {}));
    for (const auto& [host, until] : to_close_) queues_.close(host, until);
}

HostQueues::Step HttpWorker::consider(pg::requests::QueuedRequest& row) {
    const core::Instant now = pg::now();
    if (row.expires_at <= now) {
        queues_.ended(row.host, row.body.size());
        add_result(expired_response(row.id, row.attempts));
        return HostQueues::Step::remove;
    }
    const core::Duration monotonic = pg::monotonic_now();
    const core::Duration waiting_since = monotonic - (now - std::min(now, row.ready_at));
    const auto decision = limits_.decide(row.host, waiting_since, monotonic);
    if (const auto* begin = std::get_if<core::StartNow>(&decision)) {
        start(std::move(row), begin->is_probe);
        return HostQueues::Step::remove;
    }
    if (const auto* down = std::get_if<core::HostIsDown>(&decision)) {
        end_unsent(std::move(row), down->error);
        return HostQueues::Step::remove_as_down;
    }
    if (const auto until = std::get<core::WaitFor>(decision).until) {
        if (*until - monotonic > kWorthWaiting) {
            to_close_.emplace_back(row.host, *until);
        } else if (!start_again_at_ || *until < *start_again_at_) {
            start_again_at_ = *until;
        }
    }
    return HostQueues::Step::leave;
}

void HttpWorker::start(pg::requests::QueuedRequest row, bool is_probe) {
    const core::RequestId id = row.id;
    const std::string host = row.host;
    const std::size_t bytes = row.body.size();
    const int ended = row.attempts;
    auto prepared = prepare_attempt(std::move(row), pg::net_settings().max_response_bytes);
    if (!prepared) {
        limits_.given_up(host, is_probe, pg::monotonic_now());
        queues_.ended(host, bytes);
        add_result(failed_response(id, ended, prepared.error()));
        return;
    }
    auto [attempt, request] = std::move(prepared).value();
    attempt.is_probe = is_probe;
    attempts_.emplace(id, std::move(attempt));
    starting_.push_back(std::move(request));
    is_shown_ = false;
}

// The host is down: the attempt counts, but is not made.
void HttpWorker::end_unsent(pg::requests::QueuedRequest row, const std::string& error) {
    const core::RequestId id = row.id;
    const int ended = row.attempts;
    queues_.ended(row.host, row.body.size());
    auto prepared = prepare_attempt(std::move(row), 0);
    if (prepared) {
        add_result(judge(not_sent(id, error), prepared->attempt, pg::now(), random()));
    } else {
        add_result(failed_response(id, ended, prepared.error()));
    }
}

// ---- pauses and the end --------------------------------------------------------------------

void HttpWorker::note_error(const pg::Error& error) {
    if (error.sqlstate() == pg::kExtensionIsLocked) {
        check_extension_ = true;
        return;
    }
    pg::write_log(pg::LogLevel::warning, "securatlas_sched http worker: " + error.message() + " (" +
                                             error.sqlstate() + ")");
    check_extension_ = true;
}

bool HttpWorker::is_idle() const {
    return !queues_.has_more() && !next_ready_ && !has_results() && !deferred_.time() &&
           queues_.empty() && attempts_.empty();
}

bool HttpWorker::may_leave() {
    if (pg::serves_as_pg_net()) return false;
    if (!is_idle() || pg::monotonic_now() < idle_since_ + kIdleTime) return false;
    publish(true);
    if (pg::DatabaseTable::detach_http_worker_if_idle(database_)) return true;
    queues_.look_at_all();
    return false;
}

core::Duration HttpWorker::sleep_time() const {
    const core::Duration now = pg::monotonic_now();
    core::Duration sleep = core::Duration::max();
    const auto not_after = [&sleep](core::Duration time) { sleep = std::min(sleep, time); };
    if (const auto deadline = engine_->deadline()) not_after(time_left(*deadline));
    if (const auto at = next_transaction()) not_after(*at - now);
    if (next_ready_) not_after(*next_ready_ - pg::now());
    if (start_again_at_) not_after(*start_again_at_ - now);
    if (const auto opening = queues_.next_opening(now)) not_after(*opening - now);
    if (!is_shown_) not_after(published_at_ + kPauseBetweenPublishing - now);
    if (is_idle() && !pg::serves_as_pg_net()) not_after(idle_since_ + kIdleTime - now);
    return sleep;
}

void run_http_worker(pg::DatabaseOid database) {
    pg::accept_signals();
    pg::connect_as_superuser(database);
    if (!extension_is_here() || !pg::DatabaseTable::attach_http_worker(database)) return;
    pg::set_application_name("pg_net worker");
    pg::requests::prepare_process();
    pg::report_idle();
    while (true) {
        try {
            HttpWorker(database).run();
            return;
        } catch (const std::bad_alloc&) {
            // The state in memory may be incomplete; the queue has everything. Any other error
            // here, such as an engine of another version, ends the process, and the scheduler
            // starts another one.
            pg::write_log(pg::LogLevel::warning,
                          "securatlas_sched http worker: starts anew: out of memory");
        }
        pg::pause(kPauseAfterError);
    }
}

}  // namespace securatlas::app
