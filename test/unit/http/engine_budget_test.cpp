// The bytes of all bodies together.
#include "fixture.hpp"

namespace securatlas::http {
namespace {

using core::Outcome;

constexpr std::size_t kMegabyte = 1'000'000;

class EngineBudgetTest : public EngineTest {
  protected:
    void limit(std::size_t bytes) {
        engine_->configure({.user_agent = "x", .max_buffered_bytes = bytes});
    }
    Request big_request(const std::string& url, std::size_t max = 10 * kMegabyte) {
        Request one = request(url);
        one.max_response_bytes = max;
        one.timeout = std::chrono::minutes(2);
        return one;
    }
    // Turns and takes what has ended, as a worker would.
    void turn_and_take() {
        turn();
        most_held_ = std::max(most_held_, engine_->buffered_bytes());
        for (Completed& one : take_completed()) completed_.push_back(std::move(one));
    }
    bool take_until(std::size_t count) {
        const auto give_up = Clock::now() + std::chrono::minutes(2);
        while (completed_.size() < count && Clock::now() < give_up) turn_and_take();
        return completed_.size() == count;
    }
    // Turns until nothing more is taken in.
    void turn_until_full(std::size_t bytes) {
        EXPECT_TRUE(turn_until([&] { return engine_->buffered_bytes() >= bytes; }));
    }

    std::size_t most_held_ = 0;
    std::vector<Completed> completed_;
};

// Bodies of this size, each of which begins with the target of its request.
class BigBodies {
  public:
    explicit BigBodies(std::size_t size) : filler_(size, '.') {}

    LoopbackServer::Handler handler() const {
        return [this](Connection& connection, const ReceivedRequest& request) {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(filler_.size()) +
                            "\r\n\r\n");
            connection.send(request.target);
            connection.send(std::string_view(filler_).substr(request.target.size()));
            return true;
        };
    }
    bool is_body_of(std::string_view target, std::string_view body) const {
        return body.size() == filler_.size() && body.starts_with(target) &&
               body.substr(target.size()) == std::string_view(filler_).substr(target.size());
    }

  private:
    std::string filler_;
};

TEST_F(EngineBudgetTest, SixtyFourBigBodiesEndWithinIt) {
    limit(16 * kMegabyte);
    const BigBodies bodies(10 * kMegabyte);
    const LoopbackServer server(bodies.handler());
    for (int i = 1; i <= 64; ++i) start(big_request(server.url("/" + std::to_string(i))));
    std::size_t ended = 0;
    while (ended < 64) {
        ASSERT_TRUE(take_until(1));
        for (const Completed& completed : completed_) {
            ASSERT_EQ(completed.error, "");
            EXPECT_FALSE(completed.truncated);
            const auto id = static_cast<std::int64_t>(completed.id);
            EXPECT_TRUE(bodies.is_body_of("/" + std::to_string(id), completed.body)) << id;
            ++ended;
        }
        completed_.clear();
    }
    EXPECT_LE(most_held_, 26 * kMegabyte);
    EXPECT_GT(most_held_, 15 * kMegabyte);
    EXPECT_EQ(engine_->buffered_bytes(), 0U);
}

// How many of them end before they are released depends on the order in which they are read, and so
// does by how much the oldest one exceeds the budget before the first one ends.
TEST_F(EngineBudgetTest, BodiesCountUntilTheyAreReleased) {
    limit(2 * kMegabyte);
    const BigBodies bodies(kMegabyte);
    const LoopbackServer server(bodies.handler());
    for (int i = 0; i < 4; ++i) start(big_request(server.url("/")));
    ASSERT_TRUE(turn_until([this] { return engine_->in_flight() < 4; }));
    const std::size_t held_at_first_end = engine_->buffered_bytes();
    EXPECT_LE(held_at_first_end, 3 * kMegabyte);
    turn_until_full(2 * kMegabyte - CURL_MAX_WRITE_SIZE);
    for (int i = 0; i < 20; ++i) turn();
    const std::size_t held = engine_->buffered_bytes();
    EXPECT_LE(held, std::max(held_at_first_end, 2 * kMegabyte));
    const std::size_t ended = 4 - engine_->in_flight();
    ASSERT_GE(held, ended * kMegabyte);
    const auto completed = engine_->take_completed();
    EXPECT_EQ(completed.size(), ended);
    EXPECT_EQ(engine_->buffered_bytes(), held);
    for (const Completed& one : completed) engine_->release(one.body.size());
    // Those that waited have gone on with what libcurl had kept for them.
    EXPECT_LE(engine_->buffered_bytes(), held - ended * kMegabyte + 4 * CURL_MAX_WRITE_SIZE);
    ASSERT_TRUE(take_until(4 - ended));
}

TEST_F(EngineBudgetTest, OneBodyMayExceedIt) {
    limit(1);
    const BigBodies bodies(kMegabyte);
    const LoopbackServer server(bodies.handler());
    for (int i = 0; i < 5; ++i) start(big_request(server.url("/")));
    ASSERT_TRUE(take_until(5));
    EXPECT_LE(most_held_, kMegabyte + 1);
    for (const Completed& completed : completed_) EXPECT_EQ(completed.body.size(), kMegabyte);
}

// What is dropped takes no room.
TEST_F(EngineBudgetTest, ABodyThatIsCutDoesNotWaitForTheRestOfIt) {
    limit(kMegabyte);
    const BigBodies bodies(kMegabyte);
    const LoopbackServer server(bodies.handler());
    for (int i = 0; i < 8; ++i) start(big_request(server.url("/"), kMegabyte / 8));
    ASSERT_TRUE(turn_until([this] { return engine_->in_flight() == 0; }));
    EXPECT_EQ(engine_->buffered_bytes(), kMegabyte);
    EXPECT_EQ(take_completed().size(), 8U);
    EXPECT_EQ(engine_->buffered_bytes(), 0U);
}

TEST_F(EngineBudgetTest, WhoeverIsCancelledMakesRoom) {
    limit(kMegabyte);
    const LoopbackServer server([](Connection& connection, const ReceivedRequest& request) {
        if (request.target == "/endless") {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n");
            connection.send(std::string(2 * kMegabyte, 'x'));
            connection.wait_for_close();
            return false;
        }
        connection.answer(std::string(kMegabyte, 'y'));
        return true;
    });
    start(big_request(server.url("/endless")));
    turn_until_full(2 * kMegabyte);
    start(big_request(server.url("/")));
    for (int i = 0; i < 20; ++i) turn();
    EXPECT_EQ(engine_->in_flight(), 2U);
    EXPECT_TRUE(engine_->cancel(core::RequestId{1}));
    ASSERT_TRUE(take_until(1));
    EXPECT_EQ(completed_.front().id, core::RequestId{2});
    EXPECT_EQ(completed_.front().body.size(), kMegabyte);
}

TEST_F(EngineBudgetTest, WhoWaitsCanBeCancelledAndTimesOut) {
    limit(kMegabyte);
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n");
        connection.send(std::string(2 * kMegabyte, 'x'));
        connection.wait_for_close();
        return false;
    });
    start(big_request(server.url("/")));
    turn_until_full(2 * kMegabyte);
    start(big_request(server.url("/")));
    for (int i = 0; i < 20; ++i) turn();
    EXPECT_TRUE(engine_->cancel(core::RequestId{2}));
    Request hasty = big_request(server.url("/"));
    hasty.timeout = std::chrono::milliseconds(150);
    start(std::move(hasty));
    ASSERT_TRUE(take_until(1));
    EXPECT_EQ(completed_.front().outcome, Outcome::timed_out);
    EXPECT_EQ(engine_->buffered_bytes(), 2 * kMegabyte);
}

TEST_F(EngineBudgetTest, AHigherLimitCountsAtOnce) {
    limit(kMegabyte);
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n");
        connection.send(std::string(2 * kMegabyte, 'x'));
        connection.wait_for_close();
        return false;
    });
    start(big_request(server.url("/")));
    turn_until_full(2 * kMegabyte);
    start(big_request(server.url("/")));
    for (int i = 0; i < 20; ++i) turn();
    EXPECT_EQ(engine_->buffered_bytes(), 2 * kMegabyte);
    limit(4 * kMegabyte);
    turn_until_full(4 * kMegabyte);
}

}  // namespace
}  // namespace securatlas::http
