// What the http workers show of themselves, and what they are told about cancelled requests,
// through shared memory. It has a lock of its own, and nothing of it survives a restart of the
// server.
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

// Of all databases together.
inline constexpr std::size_t kMaxHosts = 1024;
// Requests in flight whose ids are shown.
inline constexpr std::size_t kMaxInFlightShown = 1024;

struct HostStatus {
    std::string host;  // core::Url::origin(); cut after 255 bytes
    int in_flight = 0;
    std::int64_t requests = 0;  // attempts that have ended
    std::int64_t failures = 0;  // those of them that failed
    bool limited = false;       // requests wait for one of its slots, or for its rate
    core::BreakerState breaker = core::BreakerState::closed;
    core::Instant next_try = core::kNever;  // of an open breaker
    std::optional<core::Duration> p50{};    // time that attempts took
    std::optional<core::Duration> p95{};
    std::string last_error;   // cut after 199 bytes
    core::Instant updated{};  // set by publish()
};

struct HttpStatus {
    std::int64_t waiting = 0;             // requests that have been read and are not in flight
    std::int64_t sent = 0;                // attempts that have ended, since this process started
    std::int64_t failed = 0;              // those of them that failed
    std::string last_error;               // cut after 255 bytes
    std::vector<std::int64_t> in_flight;  // ids, all of them
    std::vector<HostStatus> hosts;        // the most interesting first
};

// What is to be seen of a database.
struct HttpWorkerStatus {
    Pid pid = 0;  // 0: there is no worker; `in_flight` and `waiting` are 0 then
    core::Instant started = core::kLongAgo;  // kLongAgo: unknown
    core::Instant updated = core::kLongAgo;  // kLongAgo: no worker has shown anything
    std::int64_t in_flight = 0;
    std::int64_t waiting = 0;
    std::int64_t sent = 0;  // by all workers since the server started
    std::int64_t failed = 0;
    std::string last_error;
};

// Requests that were cancelled and may be in a worker's hands.
struct Cancelled {
    std::vector<std::int64_t> ids;
    bool overflowed = false;  // ids were lost: look into the queue for all that are held
};

class HttpTable {
  public:
    // -- the http worker of this database

    // Replaces what was shown before, by whichever process. Costs microseconds, and some hundred of
    // them with hundreds of hosts: at most every 50 ms. If the pool is full, the last hosts are not
    // shown.
    static void publish(const HttpStatus& status);

    // The ends of requests are committed.
    static void tell_recorded() noexcept;

    // To be asked after each read of the queue and whenever the latch is set: an id that is not
    // held then need not be kept. The rows are gone when their ids come.
    static Cancelled take_cancelled(DatabaseOid database);

    // -- any backend

    // At commit: keeps the ids for the http worker and sets its latch.
    static void tell_cancelled(DatabaseOid database, const std::int64_t* ids, std::size_t count,
                               bool overflowed) noexcept;

    static HttpWorkerStatus worker(DatabaseOid database);
    static std::vector<std::int64_t> in_flight(DatabaseOid database);
    static std::vector<HostStatus> hosts(DatabaseOid database);

    // The database does not hold the extension any more.
    static void forget(DatabaseOid database) noexcept;
};

}  // namespace securatlas::pg
