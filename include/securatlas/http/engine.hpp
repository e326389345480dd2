// Sends any number of HTTP requests at a time through one libcurl multi handle, in one thread, and
// never blocks. The owner waits for wait_fd() to be readable, until deadline(), and then calls
// drive():
//
//     engine.start(request);
//     wait(engine.wait_fd(), engine.deadline());
//     engine.drive();
//     for (Completed& completed : engine.take_completed()) ...
//
// The owner calls curl_global_init before, and ignores SIGPIPE. All signals are blocked while
// libcurl works, so that the threads of its resolver get none. Not for use by several threads.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "securatlas/core/net/egress_policy.hpp"
#include "securatlas/http/exchange.hpp"

namespace securatlas::http {

// Redirects within one origin (scheme, host and port), or to any. Ten at most are followed, in the
// request's timeout. What is not followed is the response.
enum class FollowRedirects { none, same_origin, any };

struct EngineOptions {
    std::string user_agent = {};  // a request's own User-Agent goes first
    // Connections kept open for reuse. How many requests run at a time is up to the owner.
    int max_idle_connections = 256;
    // Asked for the host of each request and redirect, for the address of each connection before
    // it is made, and again before each request on it. nullptr: everything is allowed.
    std::shared_ptr<const core::EgressPolicy> egress = nullptr;
    FollowRedirects follow_redirects = FollowRedirects::none;
    // PEM certificates of authorities that are trusted besides those in the system's directory.
    // Empty: the system's only.
    std::string ca_file = {};
    // Bytes of response bodies that are held together, in flight or not yet taken. More wait at
    // their servers; but one body always goes on, and may exceed it.
    std::size_t max_bytes_held = 40 * 1024 * 1024;
};

// Every member function may throw std::bad_alloc; the constructor also std::runtime_error.
class Engine {
  public:
    explicit Engine(EngineOptions options);
    ~Engine();  // requests in flight are given up
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // At any time. Requests in flight go on with the user agent and the certificates they were
    // started with; the rest counts for them at once.
    void configure(EngineOptions options);

    // A descriptor that is readable while drive() has work; the same for the engine's life.
    int wait_fd() const;

    // When drive() is to be called though wait_fd() is not readable. nullopt: not before it is.
    std::optional<std::chrono::steady_clock::time_point> deadline() const;

    // The request's id is not in flight (assert). What comes of it is in take_completed(), once,
    // unless it is cancelled.
    void start(Request request);
    // The same for many, which costs less than one by one.
    void start(std::vector<Request> requests);

    // Does what can be done without waiting. False: there was nothing to do.
    bool drive();

    // What has ended since the last call, in that order. To be called after each drive(): bodies
    // that are not taken keep others waiting.
    std::vector<Completed> take_completed();

    // Requests that were started and have neither ended nor been cancelled.
    std::size_t in_flight() const;

    // Bytes of the bodies in flight or not yet taken.
    std::size_t bytes_held() const;

    // Gives a request up; its connection is closed. False: it is not in flight.
    bool cancel(core::RequestId id);

  private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace securatlas::http
