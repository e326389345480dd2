// The http worker: one process for a database, as long as it has requests; where it stands for
// pg_net's, it stays, even without the extension. A thread (http::Sender) sends them; this one,
// which alone calls PostgreSQL, passes on what it reads from the queue, and records the results,
// both in one short transaction. Requests are read ahead, so that the thread has something to start
// while a transaction lasts. No transaction is open while the process sleeps.
//
// The worker changes a row of the queue only when an attempt has ended. If the process dies,
// everything that it had in memory is still in the queue, and is sent again. If a transaction fails
// or the tables are locked, results stay in memory and are written after a pause, while transfers
// go on.
#include "net/http_worker.hpp"

#include <algorithm>
#include <iterator>
#include <new>
#include <utility>

#include "securatlas/app/processes.hpp"
#include "securatlas/http/engine_library.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/net/settings.hpp"
#include "securatlas/pg/shared/installed_extension.hpp"
#include "securatlas/pg/shared/progress.hpp"
#include "securatlas/pg/shared/statistics.hpp"

namespace securatlas::app {
namespace {

// Results wait this long for others to be recorded with, unless no requests are in flight.
constexpr core::Duration kGroupTime = std::chrono::milliseconds(5);
// If commits are slow, results wait longer, so that commits use at most a tenth of the time.
constexpr core::Duration kLongestGroupTime = std::chrono::milliseconds(50);
constexpr core::Duration kPauseAfterError = std::chrono::milliseconds(500);
constexpr core::Duration kIdleTime = std::chrono::seconds(5);
// By so much the clock is corrected without being noticed.
constexpr core::Duration kClockStep = std::chrono::seconds(1);

// Number of the schema with the tables; 0: they are not there, or of another version.
std::uint32_t usable_schema() {
    pg::Transaction transaction;
    const pg::InstalledExtension found = pg::installed_extension();
    transaction.commit();
    return found.state == pg::InstalledExtension::State::matching ? found.net : 0;
}

// Waits for the tables, if this http worker is kept. 0: exit.
std::uint32_t wait_for_schema(pg::DatabaseOid database) {
    while (true) {
        const std::uint32_t net = usable_schema();
        if (net != 0 || !pg::DatabaseTable::http_worker_is_kept(database)) return net;
        pg::wait(pg::Wait::http_worker, core::Duration::max());
    }
}

http::SenderOptions sender_options(std::size_t slots) {
    const pg::NetSettings settings = pg::net_settings();
    http::SenderOptions options;
    options.engine.user_agent = "securatlas_sched";
    options.engine.max_idle_connections = static_cast<int>(slots);
    options.engine.follow_redirects = settings.follow_redirects;
    options.engine.ca_file = settings.ca_file;
    options.engine.egress = pg::egress_policy();
    options.limits = {
        .max_total = slots,
        .max_per_host = static_cast<std::size_t>(settings.max_connections_per_host),
        .requests_per_second = static_cast<double>(settings.requests_per_second_per_host)};
    options.max_response_bytes = settings.max_response_bytes;
    return options;
}

std::unique_ptr<http::Sender> make_sender(std::size_t slots) {
    void* const function = pg::load_function(http::kEngineLibrary, http::kMakeSender);
    if (function == nullptr) {
        throw pg::Error("55000",
                        std::string("library ") + http::kEngineLibrary +
                            " is of another version than the one that the server has loaded",
                        "", "Restart the server.");
    }
    http::SenderOptions options = sender_options(slots);
    return std::unique_ptr<http::Sender>(reinterpret_cast<http::MakeSender>(function)(&options));
}

// How many of the configured connections the process may have open.
std::size_t acquire_slots() {
    return static_cast<std::size_t>(
        std::max(1, pg::acquire_descriptors(pg::net_settings().max_connections)));
}

std::vector<std::int64_t> ids_of(const std::vector<core::RetriedRequest>& retried) {
    std::vector<std::int64_t> ids;
    ids.reserve(retried.size());
    for (const auto& one : retried) ids.push_back(static_cast<std::int64_t>(one.id));
    return ids;
}

// The sender whose thread has to end before the process exits: what exit() destroys, it may use.
constinit http::Sender* running = nullptr;

void stop_running() noexcept {
    if (running != nullptr) running->stop();
}

}  // namespace

HttpWorker::HttpWorker(pg::DatabaseOid database, std::uint32_t net)
    : database_(database),
      net_(net),
      slots_(acquire_slots()),
      sender_(make_sender(slots_)),
      monotonic_zero_(pg::now() - pg::monotonic_now()),
      sends_(pg::net_settings().send_requests),
      idle_since_(pg::monotonic_now()) {
    pg::wait_also_for(sender_->wait_fd());
    running = sender_.get();
}

HttpWorker::~HttpWorker() { running = nullptr; }

HttpWorker::End HttpWorker::run() {
    while (true) {
        try {
            if (const auto end = turn()) return *end;
        } catch (const pg::Error& error) {
            note_error(error);
        }
        pg::wait(pg::Wait::http_worker, sleep_time());
    }
}

std::optional<HttpWorker::End> HttpWorker::turn() {
    apply_settings();
    look_for_work();
    state_ = sender_->look(pg::monotonic_now());
    if (!is_idle()) idle_since_ = pg::monotonic_now();
    // Even if they cannot be recorded now, their bodies must not hold up others.
    if (state_.group_is_complete) take_results();
    if (std::exchange(check_extension_, false) && usable_schema() != net_) return End::tables_gone;
    const auto at = next_transaction();
    if (at && *at <= pg::monotonic_now()) {
        exchange_with_tables();
        state_ = sender_->look(pg::monotonic_now());
    }
    publish(false);
    report_activity();
    if (may_leave()) return End::idle;
    return std::nullopt;
}

void HttpWorker::report_activity() {
    const bool active = state_.in_flight > 0 || state_.results > 0 || holds_results();
    const bool is_due = active ? !is_active_ : is_active_ || has_committed_;
    if (!is_due) return;
    is_active_ = active;
    has_committed_ = false;
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
    sender_->configure(sender_options(slots_));
    // Rows that must not be sent are not kept in memory; they are read again later.
    if (std::exchange(sends_, pg::net_settings().send_requests) != sends_) sender_->drop_waiting();
}

// If the clock went back, what was ready would wait until it is that time again.
void HttpWorker::notice_clock() {
    const core::Instant zero = pg::now() - pg::monotonic_now();
    if (zero + kClockStep < std::exchange(monotonic_zero_, zero)) {
        clock_was_ahead_ = true;
        sender_->look_at_all();
    }
}

void HttpWorker::look_for_work() {
    notice_clock();
    if (pg::DatabaseTable::take_http_wanted(database_)) sender_->look_at_all();
    take_cancelled();
    if (next_ready_ && *next_ready_ <= pg::now()) {
        next_ready_.reset();
        sender_->look_at_all();
    }
}

// Their rows were deleted, so that results could not be recorded.
void HttpWorker::take_cancelled() {
    const pg::Cancelled cancelled = pg::HttpTable::take_cancelled(database_);
    for (const std::int64_t id : cancelled.ids) sender_->cancel(core::RequestId{id});
    if (!cancelled.overflowed) return;
    sender_->drop_waiting();
    pg::ExtensionTransaction transaction(pg::Tables::net);
    const auto gone = pg::requests::not_in_queue(sender_->ids_in_flight());
    transaction.commit();
    for (const std::int64_t id : gone) sender_->cancel(core::RequestId{id});
}

void HttpWorker::take_results() {
    http::SenderResults results = sender_->take_results();
    std::move(results.ended.begin(), results.ended.end(), std::back_inserter(ended_));
    std::move(results.retried.begin(), results.retried.end(), std::back_inserter(retried_));
    state_.results = 0;
}

// ---- the tables ----------------------------------------------------------------------------

// When the next transaction should start; nullopt: there is nothing to do for one.
std::optional<core::Duration> HttpWorker::next_transaction() const {
    std::optional<core::Duration> next;
    const auto at = [this, &next](core::Duration time) {
        time = std::max(time, try_at_);
        next = next ? std::min(*next, time) : time;
    };
    constexpr core::Duration kNow{0};
    if (sends_ && state_.wants_to_read) at(state_.waiting == 0 ? kNow : read_at_);
    if (holds_results()) {
        at(kNow);
    } else if (state_.results > 0) {
        at(state_.first_result_at + group_time_);
    } else if (const auto time = deferred_.time()) {
        at(*time);
    }
    return next;
}

void HttpWorker::exchange_with_tables() {
    const core::Duration monotonic = pg::monotonic_now();
    try_at_ = monotonic + kPauseAfterError;  // in case of an error
    pg::Transaction transaction;
    // Requests of a schema that was made again have the numbers of former ones.
    if (!pg::try_keep_extension(pg::Tables::net) || pg::schema_of(pg::Tables::net) != net_ ||
        !pg::requests::try_lock() || !pg::extension_is_usable()) {
        check_extension_ = true;
        return;
    }
    take_results();
    deferred_.take_due(ended_, retried_, monotonic);
    // A session that has cancelled a request and does not end its transaction must not delay other
    // results.
    deferred_.defer(pg::requests::lock_requests(ids_of(retried_)), ended_, retried_, monotonic);
    const pg::requests::Recorded recorded = pg::requests::record_responses(ended_);
    deferred_.defer(recorded.locked, ended_, retried_, monotonic);
    pg::requests::record_retries(retried_);
    const core::Duration recorded_at = pg::monotonic_now();
    state_ = sender_->look(recorded_at);
    const bool reads =
        sends_ && state_.wants_to_read && (state_.waiting == 0 || read_at_ <= recorded_at);
    core::ReadPlan plan;
    core::ReadRequests ready;
    std::optional<core::Instant> next;
    bool corrects = false;
    if (reads) {
        plan = sender_->plan_read(pg::now(), monotonic);
        deferred_.add_ids_to(plan.excluded);
        ready = pg::requests::read_ready(plan);
        // New rows, and the passing of such a time, lead to a look at all.
        const bool looked = plan.looks_at_all && plan.after_host.empty() && !ready.is_cut;
        if (looked) next = pg::requests::next_ready(plan);
        corrects = next && clock_was_ahead_;
        if (corrects && pg::requests::correct_future(pg::now()) > 0) next = pg::now();
        const core::Duration read_until = pg::monotonic_now();
        read_at_ = read_until + 2 * (read_until - recorded_at);
    }
    const core::Duration committing_since = pg::monotonic_now();
    transaction.commit();
    group_time_ =
        std::clamp(9 * (pg::monotonic_now() - committing_since), kGroupTime, kLongestGroupTime);
    try_at_ = core::Duration(0);
    has_committed_ = true;
    if (corrects) clock_was_ahead_ = false;
    if (!ended_.empty()) pg::HttpTable::notify_recorded();
    if (!recorded.roles.empty()) {
        pg::DatabaseTable::notify_callbacks(database_, recorded.roles);
    }
    for (const core::RetriedRequest& one : retried_) expect(one.ready_at);
    count_results();
    ended_.clear();
    retried_.clear();
    if (!reads) return;
    sender_->add(std::move(ready), plan, monotonic);
    if (next) expect(*next);
}

void HttpWorker::count_results() const {
    using Result = pg::Statistics::Attempt::Result;
    const auto count = [this](const core::AttemptFigures& of, Result result, int attempts) {
        pg::Statistics::count_attempt(database_,
                                      {.host = of.host,
                                       .duration = of.duration,
                                       .bytes_out = static_cast<std::int64_t>(of.bytes_out),
                                       .bytes_in = static_cast<std::int64_t>(of.bytes_in),
                                       .result = result,
                                       .is_first = attempts == 1});
    };
    for (const core::EndedRequest& one : ended_) {
        const bool good = one.status_code && *one.status_code < 400;
        count(one.figures,
              one.expired ? Result::expired
              : good      ? Result::succeeded
                          : Result::failed,
              one.attempts);
    }
    for (const core::RetriedRequest& one : retried_) {
        count(one.figures, Result::retried, one.attempts);
    }
}

void HttpWorker::expect(core::Instant ready_at) {
    next_ready_ = next_ready_ ? std::min(*next_ready_, ready_at) : ready_at;
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
    return !state_.has_more && !next_ready_ && state_.results == 0 && !holds_results() &&
           !deferred_.time() && state_.waiting == 0 && state_.in_flight == 0;
}

bool HttpWorker::may_leave() {
    if (!is_idle() || pg::monotonic_now() < idle_since_ + kIdleTime) return false;
    pg::progress::forget_requests(
        database_);  // of requests that were deleted, the ends are not known
    if (is_kept()) return false;
    publish(true);
    if (pg::DatabaseTable::detach_http_worker_if_idle(database_)) return true;
    sender_->look_at_all();
    state_ = sender_->look(pg::monotonic_now());
    return false;
}

core::Duration HttpWorker::sleep_time() const {
    const core::Duration now = pg::monotonic_now();
    core::Duration sleep = core::Duration::max();
    const auto not_after = [&sleep](core::Duration time) { sleep = std::min(sleep, time); };
    if (const auto at = next_transaction()) not_after(*at - now);
    if (next_ready_) not_after(*next_ready_ - pg::now());
    if (state_.next_opening) not_after(*state_.next_opening - now);
    if (state_.figures_changed) not_after(published_at_ + kPauseBetweenPublishing - now);
    if (is_idle() && !is_kept()) not_after(idle_since_ + kIdleTime - now);
    return sleep;
}

void run_http_worker(pg::DatabaseOid database) {
    pg::accept_signals();
    if (!pg::DatabaseTable::attach_http_worker(database)) return;
    pg::connect_as_superuser(database);
    const bool has_work = usable_schema() != 0 || pg::DatabaseTable::http_worker_is_kept(database);
    if (!has_work) return pg::DatabaseTable::detach_http_worker(database);
    pg::Statistics::begin(database);
    pg::set_application_name("pg_net worker");
    pg::requests::prepare_process();
    pg::call_before_exit(&stop_running);
    pg::report_idle();
    while (const std::uint32_t net = wait_for_schema(database)) {
        try {
            if (HttpWorker(database, net).run() == HttpWorker::End::idle) return;
            pg::HttpTable::forget(database);
            pg::report_idle();
            continue;
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
