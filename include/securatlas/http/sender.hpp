// Sends the requests of the queue in a thread of its own, so that the network does not wait for the
// tables, nor the tables for the network. The owner, another thread, passes on what it has read
// from the queue, and records how requests have ended:
//
//     wait for wait_fd(), or for what is due in the tables
//     state = look(now)
//     if (state.wants_to_read) { plan = plan_read(); rows = (read the queue); add(rows, plan); }
//     results = take_results(); (record them)
//
// The thread decides which rows are sent and when: it has the hosts' queues, slots, rates and
// breakers (core::HostLimits). It calls nothing but libcurl and the standard library, and has all
// signals blocked. Requests in memory are limited by what plan_read() asks for, results by the
// number of these requests and by EngineOptions::max_buffered_bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "securatlas/core/net/host_limits.hpp"
#include "securatlas/core/net/outbox.hpp"
#include "securatlas/core/time.hpp"
#include "securatlas/http/engine.hpp"

namespace securatlas::http {

// As many results are recorded together, or of so many bytes.
inline constexpr std::size_t kMaxGroup = 1000;
inline constexpr std::size_t kMaxGroupBytes = 8 * 1024 * 1024;

struct SenderOptions {
    EngineOptions engine;
    core::HostLimitsOptions limits;  // max_total: how many may be in flight
    std::size_t max_response_bytes = 1024 * 1024;
};

struct SenderState {
    std::size_t waiting = 0;            // requests that were added and have not been started
    std::size_t in_flight = 0;          // requests that were started and have not ended
    std::size_t results = 0;            // of take_results()
    bool group_is_complete = false;     // results should be recorded without waiting for more
    core::Duration first_result_at{0};  // if there are results; monotonic
    bool wants_to_read = false;         // plan_read() should be followed
    bool has_more = false;  // there may be rows to read, now or later, even without a notification
    // When wants_to_read may become true by the passing of time; monotonic.
    std::optional<core::Duration> next_opening;
    bool figures_changed = false;  // since statistics() was called
};

struct SenderResults {
    std::vector<core::EndedRequest> ended;
    std::vector<core::RetriedRequest> retried;
};

struct SenderStatistics {
    std::int64_t sent = 0;    // attempts that have ended
    std::int64_t failed = 0;  // those of them that failed
    std::string last_error;
    std::size_t waiting = 0;
    std::vector<std::int64_t> in_flight;
    struct Host {
        core::HostStatistics is;
        bool waited_for = false;  // requests, in memory or in the table, cannot be started now
    };
    std::vector<Host> hosts;
};

// All functions but stop() may throw std::bad_alloc. If the thread has ended, for lack of memory or
// by an error, look() and take_results() throw what ended it. They are to be called by one thread.
// Times are monotonic (std::chrono::steady_clock), but for Instants.
class Sender {
  public:
    virtual ~Sender() = default;  // stops

    // Ends the thread; requests in flight are not aborted, but nobody looks at them any more. Waits
    // for the thread, which never waits for a peer. May be called again.
    virtual void stop() noexcept = 0;

    // A descriptor that becomes readable when look() may find results or a wish to read, and stays
    // so until look() is called.
    virtual int wait_fd() const = 0;

    virtual void configure(SenderOptions options) = 0;

    virtual SenderState look(core::Duration now) = 0;

    // The table may have ready rows of any host.
    virtual void look_at_all() = 0;

    // What to read now. Requests that were added and whose results were not taken are excluded.
    virtual core::ReadPlan plan_read(core::Instant wall_clock, core::Duration now) = 0;

    // Adds the rows that were read for the plan.
    virtual void add(core::ReadRequests rows, const core::ReadPlan& plan, core::Duration now) = 0;

    // Drops the rows that have not been started; they have to be read again.
    virtual void drop_waiting() = 0;

    // Drops or aborts a request, of which there will be no result if there is none yet.
    virtual void cancel(core::RequestId id) = 0;

    // Results since the last call, in the order of their ends.
    virtual SenderResults take_results() = 0;

    virtual std::vector<std::int64_t> ids_in_flight() = 0;
    virtual SenderStatistics statistics(core::Duration now, std::size_t most_hosts) = 0;
};

// Starts the thread. The first call must come before the process has other threads. Throws
// std::bad_alloc, std::runtime_error or std::system_error.
std::unique_ptr<Sender> make_sender(SenderOptions options);

}  // namespace securatlas::http
