// An engine, and the loop around it.
#pragma once

#include <curl/curl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "securatlas/http/engine.hpp"
#include "support/loopback_server.hpp"

namespace securatlas::http {

using test::Connection;
using test::LoopbackServer;
using test::LoopbackSocket;
using test::ReceivedRequest;

class EngineTest : public testing::Test {
  protected:
    using Clock = std::chrono::steady_clock;

    static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }

    // Ids count from 1.
    Request request(const std::string& url) {
        return {.id = core::RequestId{++last_id_},
                .url = core::Url::parse(url).value(),
                .timeout = std::chrono::seconds(30)};
    }

    void start(Request one) {
        std::vector<Request> requests;
        requests.push_back(std::move(one));
        engine_->start(std::move(requests));
    }

    // Waits as a worker would, and drives the engine once.
    void turn() {
        int timeout = 10;
        if (const auto deadline = engine_->deadline()) {
            const auto left =
                std::chrono::ceil<std::chrono::milliseconds>(*deadline - Clock::now());
            timeout = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, timeout));
        }
        pollfd wait{engine_->wait_fd(), POLLIN, 0};
        poll(&wait, 1, timeout);
        engine_->drive();
    }

    // Turns until the condition holds; false: it does not after 30 seconds.
    template <class Condition>
    bool turn_until(Condition condition) {
        const auto give_up = Clock::now() + std::chrono::seconds(30);
        while (!condition()) {
            if (Clock::now() > give_up) return false;
            turn();
        }
        return true;
    }

    static std::string gzip(std::string_view plain) {
        z_stream stream{};
        EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY),
                  Z_OK);
        std::string packed(deflateBound(&stream, plain.size()), '\0');
        stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
        stream.avail_in = static_cast<uInt>(plain.size());
        stream.next_out = reinterpret_cast<Bytef*>(packed.data());
        stream.avail_out = static_cast<uInt>(packed.size());
        EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
        packed.resize(stream.total_out);
        deflateEnd(&stream);
        return packed;
    }

    // What has ended; its bodies do not count any more.
    std::vector<Completed> take_completed() {
        std::vector<Completed> completed = engine_->take_completed();
        for (const Completed& one : completed) engine_->release(one.body.size());
        return completed;
    }

    // All that was started, in the order of its end.
    std::vector<Completed> complete_all() {
        EXPECT_TRUE(turn_until([this] { return engine_->in_flight() == 0; }));
        return take_completed();
    }

    Completed complete(Request one) {
        start(std::move(one));
        std::vector<Completed> completed = complete_all();
        EXPECT_EQ(completed.size(), 1U);
        return completed.empty() ? Completed{} : std::move(completed.front());
    }

    Completed get(const std::string& url) { return complete(request(url)); }

    std::unique_ptr<Engine> engine_ = make_engine({.user_agent = "securatlas_sched/1.2.3"});
    std::int64_t last_id_ = 0;
};

}  // namespace securatlas::http
