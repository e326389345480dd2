// Sends any number of HTTP requests concurrently through one libcurl multi handle, in one thread,
// and never blocks. The owner waits until wait_fd() is readable or deadline() is reached, and then
// calls drive():
//
//     engine.start(request);
//     wait(engine.wait_fd(), engine.deadline());
//     engine.drive();
//     for (Completed& completed : engine.take_completed()) ...; engine.release(...)
//
// The owner must ignore SIGPIPE. All signals are blocked while libcurl works, so that the threads
// of its resolver get none. An engine must be used by one thread only.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "securatlas/core/net/egress_policy.hpp"
#include "securatlas/core/net/request.hpp"
#include "securatlas/http/exchange.hpp"

namespace securatlas::http {

struct EngineOptions {
    std::string user_agent = {};  // unless a request has a User-Agent of its own
    // Idle connections kept open for reuse. How many requests are in flight is up to the owner.
    int max_idle_connections = 256;
    // Checked for the host of each request and redirect, for the address of each connection before
    // it is opened, and again before each request on it. nullptr: everything is allowed.
    std::shared_ptr<const core::EgressPolicy> egress = nullptr;
    core::FollowRedirects follow_redirects = core::FollowRedirects::none;
    // File of PEM certificates of authorities that are trusted in addition to the system's. Empty:
    // the system's only.
    std::string ca_file = {};
    // Maximal number of bytes of response bodies in memory, in flight or not yet released. Further
    // data waits at the servers, except that one body always goes on and may exceed the limit.
    std::size_t max_buffered_bytes = 40 * 1024 * 1024;
};

// Every member function may throw std::bad_alloc.
class Engine {
  public:
    virtual ~Engine() = default;  // requests in flight are aborted

    // May be called at any time. Requests in flight keep the user agent and certificates that they
    // were started with; the other options apply to them at once.
    virtual void configure(EngineOptions options) = 0;

    // A descriptor that is readable while drive() has work; it stays the same for the engine's
    // life.
    virtual int wait_fd() const = 0;

    // When drive() must be called even if wait_fd() is not readable. nullopt: not before it is.
    virtual std::optional<std::chrono::steady_clock::time_point> deadline() const = 0;

    // The ids must not be in flight (assert). The result of each request is returned by
    // take_completed() once, unless it is cancelled.
    virtual void start(std::vector<Request> requests) = 0;

    // Does what can be done without waiting; of a fast body it receives only a limited share per
    // call. False: there was nothing to do.
    virtual bool drive() = 0;

    // Returns the requests that have ended since the last call, in that order. Their bodies count
    // for max_buffered_bytes until they are released.
    virtual std::vector<Completed> take_completed() = 0;

    // So many bytes of bodies of take_completed() do not count any more.
    virtual void release(std::size_t bytes) = 0;

    // Requests that were started and have neither ended nor been cancelled.
    virtual std::size_t in_flight() const = 0;

    // Bytes of the bodies in flight or not yet released.
    virtual std::size_t buffered_bytes() const = 0;

    // Aborts a request; its connection is closed. False: it is not in flight.
    virtual bool cancel(core::RequestId id) = 0;
};

// The first call must come before the process has threads. Throws std::bad_alloc or
// std::runtime_error.
std::unique_ptr<Engine> make_engine(EngineOptions options);

}  // namespace securatlas::http
