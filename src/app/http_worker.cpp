// The http worker: one process a database, while there are requests. Every turn does the same: let
// libcurl do what it can, take what has ended, and, in one short transaction, record that and read
// more from the queue; then sleep on libcurl's descriptor and the latch at once. No transaction is
// open while the network is awaited, and nothing is awaited while a slot could be filled: requests
// are read ahead, so that a free slot waits for no transaction.
//
// The worker changes a row of the queue only when an attempt has ended. Whenever the process dies,
// what it had is still in the queue and is sent again. A transaction that fails, or tables that
// somebody keeps locked, leave everything in memory; it is tried again after a pause, while the
// transfers go on.
#include "http_worker.hpp"

#include <algorithm>
#include <utility>

#include "securatlas/app/processes.hpp"
#include "securatlas/http/library.hpp"
#include "securatlas/pg/identity.hpp"
#include "securatlas/pg/net_settings.hpp"
#include "securatlas/pg/process.hpp"
#include "securatlas/pg/transaction.hpp"

namespace securatlas::app {
namespace {

// Results are recorded together with those that come this much later, unless there are none to
// come.
constexpr core::Duration kGroupTime = std::chrono::milliseconds(5);
constexpr std::size_t kMaxGroup = 1000;
constexpr core::Duration kReadFromStart = std::chrono::seconds(1);
constexpr core::Duration kPauseAfterError = std::chrono::milliseconds(500);
constexpr core::Duration kIdleTime = std::chrono::seconds(5);

std::size_t max_connections() {
    return static_cast<std::size_t>(pg::net_settings().max_connections);
}

// How long until the engine wants to be driven.
core::Duration time_left(std::chrono::steady_clock::time_point deadline) {
    return std::chrono::duration_cast<core::Duration>(deadline - std::chrono::steady_clock::now());
}

bool extension_is_here() {
    pg::Transaction transaction;
    const bool here = pg::has_extension();
    transaction.commit();
    return here;
}

}  // namespace

HttpWorker::HttpWorker(pg::DatabaseOid database)
    : database_(database),
      engine_({.user_agent = "securatlas_sched",
               .max_idle_connections = pg::net_settings().max_connections}),
      idle_since_(pg::monotonic_now()) {}

void HttpWorker::run() {
    while (true) {
        try {
            if (!turn()) return;
        } catch (const pg::Error& error) {
            note_error(error);
        }
        pg::wait(sleep_time(), engine_.wait_fd());
    }
}

bool HttpWorker::turn() {
    engine_.drive();
    take_completed();
    start_waiting();
    look_for_work();
    if (std::exchange(check_extension_, false) && !extension_is_here()) return false;
    const auto at = next_transaction();
    if (at && *at <= pg::monotonic_now()) {
        exchange_with_tables();
        start_waiting();
    }
    return !may_leave();
}

void HttpWorker::take_completed() {
    for (http::Completed& completed : engine_.take_completed()) {
        const auto attempt = attempts_.extract(completed.id);
        const double random = std::uniform_real_distribution<double>(0.0, 1.0)(random_);
        take(judge(std::move(completed), attempt.mapped(), pg::now(), random));
    }
}

void HttpWorker::take(Verdict verdict) {
    if (!has_results()) first_result_at_ = pg::monotonic_now();
    if (auto* response = std::get_if<pg::requests::Response>(&verdict)) {
        responses_.push_back(std::move(*response));
    } else {
        retries_.push_back(std::move(std::get<pg::requests::Retry>(verdict)));
    }
}

void HttpWorker::look_for_work() {
    if (pg::DatabaseTable::take_http_wanted(database_)) more_ = true;
    if (next_ready_ && *next_ready_ <= pg::now()) {
        next_ready_.reset();
        more_ = true;
    }
    if (!is_idle()) idle_since_ = pg::monotonic_now();
}

// ---- the tables ----------------------------------------------------------------------------

// Enough is read ahead that slots are filled at once, and no more than memory is to hold.
bool HttpWorker::wants_to_read() const {
    return waiting_.size() <= max_connections() / 2 &&
           waiting_bytes_ <= pg::requests::kMaxBytesRead / 2;
}

// When the next transaction may or has to be; nullopt: there is nothing for one.
std::optional<core::Duration> HttpWorker::next_transaction() const {
    if (more_ && wants_to_read()) return try_at_;
    if (!has_results()) return std::nullopt;
    const bool is_group_complete =
        engine_.in_flight() == 0 || responses_.size() + retries_.size() >= kMaxGroup;
    return is_group_complete ? try_at_ : std::max(try_at_, first_result_at_ + kGroupTime);
}

void HttpWorker::exchange_with_tables() {
    const core::Duration monotonic = pg::monotonic_now();
    try_at_ = monotonic + kPauseAfterError;  // unless all goes well
    pg::Transaction transaction;
    if (!pg::requests::try_lock()) {
        check_extension_ = true;
        return;
    }
    pg::requests::record_responses(responses_);
    pg::requests::record_retries(retries_);
    const bool reads = more_ && wants_to_read();
    Reading reading = reads ? read_queue(monotonic) : Reading{};
    transaction.commit();
    try_at_ = core::Duration(0);
    for (const pg::requests::Retry& retry : retries_) expect(retry.ready_at);
    responses_.clear();
    retries_.clear();
    if (reads) take_over(std::move(reading), monotonic);
}

HttpWorker::Reading HttpWorker::read_queue(core::Duration monotonic) {
    Reading reading;
    reading.from_start = monotonic >= read_from_start_at_;
    if (reading.from_start) read_since_ = core::kLongAgo;
    const std::size_t most = max_connections();
    const std::size_t room = most - std::min(waiting_.size(), most);
    std::vector<std::int64_t> taken;
    taken.reserve(waiting_.size() + attempts_.size());
    for (const auto& row : waiting_) taken.push_back(static_cast<std::int64_t>(row.id));
    for (const auto& [id, attempt] : attempts_) taken.push_back(static_cast<std::int64_t>(id));
    const core::Instant now = pg::now();
    auto ready = pg::requests::read_ready({read_since_, now}, taken, static_cast<int>(room));
    reading.rows = std::move(ready.requests);
    reading.is_last = ready.is_last;
    if (reading.is_last) reading.next_ready = pg::requests::next_ready(now);
    return reading;
}

void HttpWorker::take_over(Reading reading, core::Duration monotonic) {
    if (!reading.is_last) {
        if (!reading.rows.empty()) read_since_ = reading.rows.back().ready_at;
        if (reading.from_start) read_from_start_at_ = monotonic + kReadFromStart;
    } else {
        // What became ready before read_since_ is still to be looked for.
        more_ = !reading.from_start;
        read_from_start_at_ = core::Duration(0);
        if (reading.next_ready) expect(*reading.next_ready);
    }
    for (pg::requests::QueuedRequest& row : reading.rows) {
        waiting_bytes_ += row.body.size();
        waiting_.push_back(std::move(row));
    }
}

void HttpWorker::expect(core::Instant ready_at) {
    next_ready_ = next_ready_ ? std::min(*next_ready_, ready_at) : ready_at;
}

// ---- attempts ------------------------------------------------------------------------------

void HttpWorker::start_waiting() {
    while (!waiting_.empty() && engine_.in_flight() < max_connections()) {
        pg::requests::QueuedRequest row = std::move(waiting_.front());
        waiting_.pop_front();
        waiting_bytes_ -= row.body.size();
        start(std::move(row));
    }
}

void HttpWorker::start(pg::requests::QueuedRequest row) {
    const core::RequestId id = row.id;
    const int ended = row.attempts;
    if (row.expires_at <= pg::now()) {
        take(failed_response(id, ended, "request expired before it was sent"));
        return;
    }
    auto prepared = prepare_attempt(std::move(row), pg::net_settings().max_response_bytes);
    if (!prepared) {
        take(failed_response(id, ended, prepared.error()));
        return;
    }
    attempts_.emplace(id, prepared->attempt);
    engine_.start(std::move(prepared).value().request);
}

// ---- pauses and the end --------------------------------------------------------------------

void HttpWorker::note_error(const pg::Error& error) {
    pg::write_log(pg::LogLevel::warning, "securatlas_sched http worker: " + error.message() + " (" +
                                             error.sqlstate() + ")");
    check_extension_ = true;
}

bool HttpWorker::is_idle() const {
    return !more_ && !next_ready_ && !has_results() && waiting_.empty() && attempts_.empty();
}

bool HttpWorker::may_leave() {
    if (!is_idle() || pg::monotonic_now() < idle_since_ + kIdleTime) return false;
    if (pg::DatabaseTable::detach_http_worker_if_idle(database_)) return true;
    more_ = true;
    return false;
}

core::Duration HttpWorker::sleep_time() const {
    const core::Duration now = pg::monotonic_now();
    core::Duration sleep = core::Duration::max();
    if (const auto deadline = engine_.deadline()) sleep = time_left(*deadline);
    if (const auto at = next_transaction()) sleep = std::min(sleep, *at - now);
    if (next_ready_) sleep = std::min(sleep, *next_ready_ - pg::now());
    if (is_idle()) sleep = std::min(sleep, idle_since_ + kIdleTime - now);
    return sleep;
}

void run_http_worker(pg::DatabaseOid database) {
    pg::accept_signals();
    pg::connect_as_superuser(database);
    if (!extension_is_here() || !pg::DatabaseTable::attach_http_worker(database)) return;
    pg::requests::prepare_process();
    http::initialize_library();
    HttpWorker(database).run();
}

}  // namespace securatlas::app
