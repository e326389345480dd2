// Figures that the http workers publish in shared memory, and the ids of cancelled requests that
// are passed to them. It has a lock of its own, and nothing in it survives a restart of the server.
//
//   one entry for each database   its http worker: counts, requests in flight, cancelled requests
//   a pool of kMaxHosts entries   hosts, of all databases
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "securatlas/core/net/breaker.hpp"
#include "securatlas/core/time.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::pg {

// Of all databases together; what does not fit is not shown.
inline constexpr std::size_t kMaxHosts = 1024;
// Requests in flight whose ids are shown.
inline constexpr std::size_t kMaxInFlightShown = 1024;

struct HostStatus {
    std::string host;  // core::Url::origin(); cut after 255 bytes
    int in_flight = 0;
    std::int64_t requests = 0;  // attempts that have ended
    std::int64_t failures = 0;  // those of them that failed
    bool limited = false;       // requests wait for one of its slots or for its rate limit
    core::BreakerState breaker = core::BreakerState::closed;
    core::Instant next_try = core::kNever;  // of an open breaker
    std::optional<core::Duration> p50{};    // of the duration of attempts
    std::optional<core::Duration> p95{};
    std::string last_error;   // cut after 199 bytes
    core::Instant updated{};  // set by publish()
};

struct HttpStatus {
    std::int64_t waiting = 0;  // requests that were read from the queue and are not in flight
    std::int64_t sent = 0;     // attempts that have ended, since this process started
    std::int64_t failed = 0;   // those of them that failed
    std::string last_error;    // cut after 255 bytes
    std::vector<std::int64_t> in_flight;  // all ids
    std::vector<HostStatus> hosts;        // most important first
};

// What the views show of a database.
struct HttpWorkerStatus {
    Pid pid = 0;  // 0: no worker is running; `in_flight` and `waiting` are 0 then
    core::Instant started = core::kLongAgo;  // kLongAgo: unknown
    core::Instant updated = core::kLongAgo;  // kLongAgo: no worker has published anything
    std::int64_t in_flight = 0;
    std::int64_t waiting = 0;
    std::int64_t sent = 0;  // by all workers since the server started
    std::int64_t failed = 0;
    std::string last_error;
};

// Requests that were cancelled, and on which the worker may be working.
struct Cancelled {
    std::vector<std::int64_t> ids;
    bool overflowed = false;  // ids were lost: check the queue for every request in memory
};

class HttpTable {
  public:
    // -- the http worker of this database

    // Replaces what was published before, by this or an earlier process. Takes microseconds, or
    // some hundred with hundreds of hosts: do not call it more often than every 50 ms. If the pool
    // is full, the last hosts are left out.
    static void publish(const HttpStatus& status);

    // Ends of requests were committed: wakes sessions that wait for responses.
    static void notify_recorded() noexcept;

    // Returns the ids and forgets them. To be called after each read of the queue and whenever the
    // latch is set: their rows are gone by then, so that ids of requests that are not in memory can
    // be ignored.
    static Cancelled take_cancelled(DatabaseOid database);

    // -- any backend

    // At commit: stores the ids for the http worker and wakes it.
    static void notify_cancelled(DatabaseOid database, const std::int64_t* ids, std::size_t count,
                                 bool overflowed) noexcept;

    static HttpWorkerStatus worker(DatabaseOid database);
    static std::vector<std::int64_t> in_flight(DatabaseOid database);
    static std::vector<HostStatus> hosts(DatabaseOid database);

    // The database does not have the extension any more.
    static void forget(DatabaseOid database) noexcept;
};

}  // namespace securatlas::pg
