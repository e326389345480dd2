// The process that sends the requests of one database.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "net/deferred_results.hpp"
#include "securatlas/core/net/outbox.hpp"
#include "securatlas/http/sender.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/shared/http_table.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::app {

class HttpWorker {
  public:
    // For the tables of schema net of this number (see InstalledExtension).
    HttpWorker(pg::DatabaseOid database, std::uint32_t net);
    ~HttpWorker();
    HttpWorker(const HttpWorker&) = delete;
    HttpWorker& operator=(const HttpWorker&) = delete;

    enum class End {
        idle,        // there has been nothing to do for a while
        tables_gone  // the extension was dropped, or has another version
    };
    End run();

  private:
    // The published figures are at most this old.
    static constexpr core::Duration kPauseBetweenPublishing = std::chrono::milliseconds(50);

    std::optional<End> turn();
    void apply_settings();
    void look_for_work();
    void take_cancelled();
    void take_results();
    void notice_clock();

    std::optional<core::Duration> next_transaction() const;
    void exchange_with_tables();
    void count_results() const;
    void expect(core::Instant ready_at);

    void publish(bool at_once);
    void report_activity();
    void note_error(const pg::Error& error);
    bool holds_results() const { return !ended_.empty() || !retried_.empty(); }
    bool is_idle() const;
    bool is_kept() const { return pg::DatabaseTable::http_worker_is_kept(database_); }
    bool may_leave();
    core::Duration sleep_time() const;

    pg::DatabaseOid database_;
    std::uint32_t net_;
    std::size_t slots_;  // requests that may be in flight
    std::unique_ptr<http::Sender> sender_;
    http::SenderState state_;  // of the sender, when this turn looked

    // Results are taken from the sender, and removed when they are committed.
    std::vector<core::EndedRequest> ended_;
    std::vector<core::RetriedRequest> retried_;
    DeferredResults deferred_;
    core::Duration group_time_{0};  // how long results wait to be recorded together with others

    std::optional<core::Instant> next_ready_;  // of the next request that is not ready yet
    // Rows may have times of a clock that was ahead: those from before this process, and those from
    // before the clock went back.
    bool clock_was_ahead_ = true;
    core::Instant monotonic_zero_;  // when the monotonic clock began, by the other one

    bool sends_;                  // net.send_requests
    unsigned configuration_ = 0;  // version of the settings in use

    bool is_active_ = false;  // as pg_stat_activity shows it
    // Since it was last shown as idle, which also reports the statistics of tables.
    bool has_committed_ = false;
    core::Duration published_at_{0};

    core::Duration try_at_{0};  // no transaction before this time
    // While rows wait in memory, nothing is read before this time: reading takes long with
    // thousands of hosts in the queue, and must leave time for recording.
    core::Duration read_at_{0};
    core::Duration idle_since_;
    bool check_extension_ = false;
};

}  // namespace securatlas::app
