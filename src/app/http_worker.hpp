// The process that sends the requests of one database.
#pragma once

#include <deque>
#include <optional>
#include <random>
#include <unordered_map>
#include <vector>

#include "http_attempt.hpp"
#include "securatlas/http/engine.hpp"
#include "securatlas/pg/error.hpp"
#include "securatlas/pg/requests.hpp"
#include "securatlas/pg/shared_state.hpp"

namespace securatlas::app {

class HttpWorker {
  public:
    explicit HttpWorker(pg::DatabaseOid database);

    // Returns when there has been nothing to do for a while, or the extension is gone.
    void run();

  private:
    // What a transaction has read.
    struct Reading {
        std::vector<pg::requests::QueuedRequest> rows;
        bool from_start = false;
        bool is_last = false;                     // there are no more
        std::optional<core::Instant> next_ready;  // if is_last
    };

    // False: leave.
    bool turn();
    void take_completed();
    void take(Verdict verdict);
    void look_for_work();

    bool wants_to_read() const;
    std::optional<core::Duration> next_transaction() const;
    void exchange_with_tables();
    Reading read_queue(core::Duration monotonic);
    void take_over(Reading reading, core::Duration monotonic);
    void expect(core::Instant ready_at);

    void start_waiting();
    void start(pg::requests::QueuedRequest row);

    void note_error(const pg::Error& error);
    bool has_results() const { return !responses_.empty() || !retries_.empty(); }
    bool is_idle() const;
    bool may_leave();
    core::Duration sleep_time() const;

    pg::DatabaseOid database_;
    http::Engine engine_;
    std::mt19937_64 random_{std::random_device{}()};

    // A request is read into waiting_, goes to the engine (attempts_) as soon as a slot is free,
    // ends in responses_ or retries_, and is forgotten when that is committed.
    std::deque<pg::requests::QueuedRequest> waiting_;
    std::size_t waiting_bytes_ = 0;  // of their bodies
    std::unordered_map<core::RequestId, Attempt> attempts_;
    std::vector<pg::requests::Response> responses_;
    std::vector<pg::requests::Retry> retries_;
    core::Duration first_result_at_{0};  // of those; monotonic, as all below

    bool more_ = true;  // the queue may hold requests that are ready
    // While a long queue is worked off, it is read on from the last request taken, not each time
    // from its start, where the removed ones are; now and then from its start, for late commits.
    core::Instant read_since_ = core::kLongAgo;
    core::Duration read_from_start_at_{0};
    std::optional<core::Instant> next_ready_;  // of those that are not ready

    core::Duration try_at_{0};  // no transaction before
    core::Duration idle_since_;
    bool check_extension_ = false;
};

}  // namespace securatlas::app
