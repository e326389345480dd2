// Sends any number of HTTP requests at a time through one libcurl multi handle, in one thread, and
// never blocks. The owner waits for wait_fd() to be readable, until deadline(), and then calls
// drive():
//
//     engine.start(request);
//     wait(engine.wait_fd(), engine.deadline());
//     engine.drive();
//     for (Completed& completed : engine.take_completed()) ...
//
// The owner ignores SIGPIPE. All signals are blocked while
// libcurl works, so that the threads of its resolver get none. Not for use by several threads.
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
    std::string user_agent = {};  // a request's own User-Agent goes first
    // Connections kept open for reuse. How many requests run at a time is up to the owner.
    int max_idle_connections = 256;
    // Asked for the host of each request and redirect, for the address of each connection before
    // it is made, and again before each request on it. nullptr: everything is allowed.
    std::shared_ptr<const core::EgressPolicy> egress = nullptr;
    core::FollowRedirects follow_redirects = core::FollowRedirects::none;
    // PEM certificates of authorities that are trusted besides those in the system's directory.
    // Empty: the system's only.
    std::string ca_file = {};
    // Bytes of response bodies that are held together, in flight or not yet taken. More wait at
    // their servers; but one body always goes on, and may exceed it.
    std::size_t max_bytes_held = 40 * 1024 * 1024;
};

// Every member function may throw std::bad_alloc.
class Engine {
  public:
    virtual ~Engine() = default;  // requests in flight are given up

    // At any time. Requests in flight go on with the user agent and the certificates they were
    // started with; the rest counts for them at once.
    virtual void configure(EngineOptions options) = 0;

    // A descriptor that is readable while drive() has work; the same for the engine's life.
    virtual int wait_fd() const = 0;

    // When drive() is to be called though wait_fd() is not readable. nullopt: not before it is.
    virtual std::optional<std::chrono::steady_clock::time_point> deadline() const = 0;

    // The requests' ids are not in flight (assert). What comes of each is in take_completed(),
    // once, unless it is cancelled.
    virtual void start(std::vector<Request> requests) = 0;

    // Does what can be done without waiting, and no more than a share of that for a body that comes
    // fast. False: there was nothing to do.
    virtual bool drive() = 0;

    // What has ended since the last call, in that order. To be called after each drive(): bodies
    // that are not taken keep others waiting.
    virtual std::vector<Completed> take_completed() = 0;

    // Requests that were started and have neither ended nor been cancelled.
    virtual std::size_t in_flight() const = 0;

    // Bytes of the bodies in flight or not yet taken.
    virtual std::size_t bytes_held() const = 0;

    // Gives a request up; its connection is closed. False: it is not in flight.
    virtual bool cancel(core::RequestId id) = 0;
};

// The first one before the process has threads. Throws std::bad_alloc or std::runtime_error.
std::unique_ptr<Engine> make_engine(EngineOptions options);

}  // namespace securatlas::http
