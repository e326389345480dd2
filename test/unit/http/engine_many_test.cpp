// Many requests at a time, reuse of connections, cancelling, and how the engine behaves
// towards the thread that drives it.
#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>

#include "fixture.hpp"

namespace securatlas::http {
namespace {

using core::Outcome;

using EngineManyTest = EngineTest;

// Opens when so many have arrived.
class Gate {
  public:
    explicit Gate(int expected) : expected_(expected) {}

    // False: the others have not come within 30 seconds.
    bool arrive_and_wait() {
        std::unique_lock lock(mutex_);
        if (++arrived_ == expected_) opened_.notify_all();
        return opened_.wait_for(lock, std::chrono::seconds(30),
                                [this] { return arrived_ >= expected_; });
    }

  private:
    const int expected_;
    int arrived_ = 0;
    std::mutex mutex_;
    std::condition_variable opened_;
};

TEST_F(EngineManyTest, TwoHundredAtATimeOnAsManyConnectionsAndThenOnTheSame) {
    constexpr int kCount = 200;
    Gate gate(kCount);
    const LoopbackServer server([&gate](Connection& connection, const ReceivedRequest& request) {
        if (request.method == "GET" && !gate.arrive_and_wait()) return false;
        connection.answer(request.target + request.body);
        return true;
    });
    for (int i = 1; i <= kCount; ++i) start(request(server.url("/" + std::to_string(i))));
    EXPECT_EQ(engine_->in_flight(), 200U);
    std::set<std::int64_t> seen;
    for (const Completed& completed : complete_all()) {
        const auto id = static_cast<std::int64_t>(completed.id);
        EXPECT_EQ(completed.body, "/" + std::to_string(id));
        seen.insert(id);
    }
    EXPECT_EQ(seen.size(), 200U);
    EXPECT_EQ(server.connections(), 200U);

    for (int i = 0; i < kCount; ++i) {
        Request post = request(server.url("/"));
        post.method = core::Method::post;
        post.body = std::to_string(last_id_);
        start(std::move(post));
    }
    const std::vector<Completed> again = complete_all();
    EXPECT_EQ(again.size(), 200U);
    for (const Completed& completed : again) {
        EXPECT_EQ(completed.body, "/" + std::to_string(static_cast<std::int64_t>(completed.id)));
    }
    EXPECT_EQ(server.connections(), 200U);
}

TEST_F(EngineManyTest, OneAfterAnotherOnOneConnection) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.answer("ok");
        return true;
    });
    for (int i = 0; i < 50; ++i) EXPECT_EQ(get(server.url("/")).body, "ok");
    EXPECT_EQ(server.connections(), 1U);
}

TEST_F(EngineManyTest, ASlowRequestDoesNotHoldTheOthers) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest& request) {
        if (request.target == "/slow") {
            connection.wait_for_close();
            return false;
        }
        connection.answer("ok");
        return true;
    });
    start(request(server.url("/slow")));
    start(request(server.url("/quick")));
    EXPECT_TRUE(turn_until([this] { return engine_->in_flight() == 1; }));
    const std::vector<Completed> completed = take_completed();
    ASSERT_EQ(completed.size(), 1U);
    EXPECT_EQ(completed.front().id, core::RequestId{2});
    EXPECT_TRUE(take_completed().empty());
}

TEST_F(EngineManyTest, ACancelledRequestClosesItsConnectionAndIsForgotten) {
    std::atomic<bool> arrived = false;
    std::atomic<bool> closed = false;
    const LoopbackServer server([&](Connection& connection, const ReceivedRequest& request) {
        if (request.target == "/other") {
            connection.answer("other");
            return true;
        }
        arrived = true;
        connection.wait_for_close();
        closed = true;
        return false;
    });
    Request slow = request(server.url("/slow"));
    const core::RequestId id = slow.id;
    start(std::move(slow));
    ASSERT_TRUE(turn_until([&] { return arrived.load(); }));
    EXPECT_TRUE(engine_->cancel(id));
    EXPECT_FALSE(engine_->cancel(id));
    EXPECT_EQ(engine_->in_flight(), 0U);
    ASSERT_TRUE(turn_until([&] { return closed.load(); }));
    EXPECT_TRUE(take_completed().empty());
    EXPECT_EQ(get(server.url("/other")).body, "other");
}

TEST_F(EngineManyTest, ARequestMayBeCancelledBeforeAnythingHappened) {
    const LoopbackSocket closed;
    start(request(closed.url("/")));
    EXPECT_TRUE(engine_->cancel(core::RequestId{1}));
    EXPECT_TRUE(complete_all().empty());
    EXPECT_FALSE(engine_->cancel(core::RequestId{7}));
}

TEST_F(EngineManyTest, ConnectionsInUseAreClosedWithTheEngine) {
    std::atomic<bool> arrived = false;
    std::atomic<bool> closed = false;
    const LoopbackServer server([&](Connection& connection, const ReceivedRequest&) {
        arrived = true;
        connection.wait_for_close();
        closed = true;
        return false;
    });
    auto engine = make_engine({.user_agent = "x"});
    std::vector<Request> requests{request(server.url("/"))};
    engine->start(std::move(requests));
    ASSERT_TRUE(turn_until([&] {
        engine->drive();
        return arrived.load();
    }));
    engine.reset();
    EXPECT_TRUE(turn_until([&] { return closed.load(); }));
}

TEST_F(EngineManyTest, AnIdleEngineAsksForNothing) {
    EXPECT_EQ(engine_->deadline(), std::nullopt);
    engine_->drive();
    EXPECT_EQ(engine_->deadline(), std::nullopt);
    EXPECT_TRUE(take_completed().empty());

    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.answer("");
        return true;
    });
    get(server.url("/"));
    // What still comes on a connection that is not used is looked at once.
    EXPECT_TRUE(turn_until([this] {
        pollfd wait{engine_->wait_fd(), POLLIN, 0};
        return !engine_->deadline() && poll(&wait, 1, 0) == 0;
    }));
}

TEST_F(EngineManyTest, TheThreadsSignalMaskIsAsBefore) {
    sigset_t chosen;
    sigemptyset(&chosen);
    sigaddset(&chosen, SIGUSR2);
    sigset_t before;
    pthread_sigmask(SIG_SETMASK, &chosen, &before);
    const LoopbackSocket closed;
    get(closed.url("/"));
    sigset_t after;
    pthread_sigmask(SIG_SETMASK, &before, &after);
    EXPECT_EQ(sigismember(&after, SIGUSR2), 1);
    EXPECT_EQ(sigismember(&after, SIGTERM), 0);
}

}  // namespace
}  // namespace securatlas::http
