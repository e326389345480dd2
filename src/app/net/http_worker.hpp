// The process that sends the requests of one database.
#pragma once

#include <memory>
#include <optional>
#include <random>
#include <unordered_map>
#include <vector>

#include "net/deferred_results.hpp"
#include "net/host_queues.hpp"
#include "net/http_attempt.hpp"
#include "securatlas/core/net/host_limits.hpp"
#include "securatlas/http/engine.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/shared/http_table.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::app {

class HttpWorker {
  public:
    explicit HttpWorker(pg::DatabaseOid database);

    // Returns when there has been nothing to do for a while, or when the extension was dropped.
    void run();

  private:
    // The published figures are at most this old.
    static constexpr core::Duration kPauseBetweenPublishing = std::chrono::milliseconds(50);

    // False: exit.
    bool turn();
    void apply_settings();
    void take_completed();
    void add_result(Verdict verdict);
    void look_for_work();
    void take_cancelled();
    void cancel(core::RequestId id);

    std::optional<core::Duration> next_transaction() const;
    bool is_group_complete() const;
    void exchange_with_tables();
    void defer_locked(core::Duration monotonic);
    void expect(core::Instant ready_at);
    std::vector<std::int64_t> ids_in_flight() const;

    void start_waiting();
    HostQueues::Step consider(pg::requests::QueuedRequest& row);
    void start(pg::requests::QueuedRequest row, bool is_probe);
    void end_unsent(pg::requests::QueuedRequest row, const std::string& error);

    void publish(bool at_once);
    void report_activity();
    void note_error(const pg::Error& error);
    bool has_results() const { return !responses_.empty() || !retries_.empty(); }
    bool is_idle() const;
    bool may_leave();
    core::Duration sleep_time() const;
    double random() { return std::uniform_real_distribution<double>(0.0, 1.0)(random_); }

    pg::DatabaseOid database_;
    std::size_t slots_;  // requests that may be in flight
    std::unique_ptr<http::Engine> engine_;
    core::HostLimits limits_;
    std::mt19937_64 random_{std::random_device{}()};

    // A request is read into queues_, goes to the engine (attempts_) as soon as its host's limits
    // allow, then into responses_ or retries_, and is removed when these are committed.
    HostQueues queues_;
    std::vector<http::Request> starting_;  // within start_waiting()
    std::unordered_map<core::RequestId, Attempt> attempts_;
    std::vector<pg::requests::Response> responses_;
    std::vector<pg::requests::Retry> retries_;
    DeferredResults deferred_;
    std::size_t result_bytes_ = 0;       // of the bodies of responses_
    core::Duration first_result_at_{0};  // of those; monotonic, as all below
    core::Duration group_time_{0};  // how long results wait to be recorded together with others
    int busy_turns_ = 0;            // consecutive turns in which the engine had something to do

    // Whether something has changed since rows were last offered a slot, and when to offer them
    // again even if nothing has.
    bool may_start_ = false;
    std::optional<core::Duration> start_again_at_;
    std::vector<std::pair<std::string, core::Duration>> to_close_;
    std::optional<core::Instant> next_ready_;  // of the next request that is not ready yet

    bool sends_;                  // net.send_requests
    unsigned configuration_ = 0;  // version of the settings in use

    pg::HttpStatus shown_;
    bool is_shown_ = true;    // nothing has changed since the last publish()
    bool is_active_ = false;  // as pg_stat_activity shows it
    core::Duration published_at_{0};

    core::Duration try_at_{0};  // no transaction before this time
    // While rows wait in memory, nothing is read before this time: reading takes long with
    // thousands of hosts in the queue, and must leave most of the time for sending.
    core::Duration read_at_{0};
    core::Duration idle_since_;
    bool check_extension_ = false;
};

}  // namespace securatlas::app
