// Bodies that are longer than they may be, and bodies that are packed.
#include <atomic>

#include "fixture.hpp"

namespace securatlas::http {
namespace {

using core::Outcome;

constexpr std::size_t kMegabyte = 1024 * 1024;

class EngineCutTest : public EngineTest {
  protected:
    Request limited(const std::string& url, std::size_t max) {
        Request one = request(url);
        one.max_response_bytes = max;
        one.timeout = std::chrono::minutes(2);
        return one;
    }
};

// The body of what it answers never ends.
LoopbackServer::Handler endless(const std::string& headers, const std::string& bytes) {
    return [=](Connection& connection, const ReceivedRequest&) {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 9000000000\r\n");
        connection.send(headers + "\r\n" + bytes);
        connection.wait_for_close();
        return false;
    };
}

TEST_F(EngineCutTest, ABodyIsNotAwaitedBehindItsLimit) {
    const LoopbackServer server(endless("X-Own: 1\r\n", "four bytes"));
    const Completed completed = complete(limited(server.url("/"), 4));
    EXPECT_EQ(completed.outcome, Outcome::answered);
    EXPECT_EQ(completed.status_code, 200);
    EXPECT_EQ(completed.body, "four");
    EXPECT_TRUE(completed.truncated);
    EXPECT_FALSE(completed.timed_out);
    EXPECT_EQ(completed.error, "");
    EXPECT_EQ(completed.headers.size(), 2U);
    EXPECT_EQ(complete(limited(server.url("/"), 0)).status_code, 200);
    EXPECT_EQ(engine_->buffered_bytes(), 0U);
}

TEST_F(EngineCutTest, NorThatOfARedirectThatIsFollowed) {
    engine_->configure({.follow_redirects = core::FollowRedirects::same_origin});
    const LoopbackServer server([](Connection& connection, const ReceivedRequest& request) {
        if (request.target == "/to") {
            connection.answer("there");
            return true;
        }
        connection.send("HTTP/1.1 302 x\r\nLocation: /to\r\nContent-Length: 9000000000\r\n\r\n");
        connection.send("longer than the limit");
        connection.wait_for_close();
        return false;
    });
    const Completed completed = complete(limited(server.url("/"), 5));
    EXPECT_EQ(completed.body, "there");
    EXPECT_FALSE(completed.truncated);
}

TEST_F(EngineCutTest, APackedBodyInPieces) {
    std::string text;
    for (int i = 0; i < 20'000; ++i) text += std::to_string(i);
    const std::string packed = gzip(text);
    const LoopbackServer server([&](Connection& connection, const ReceivedRequest& request) {
        EXPECT_TRUE(request.has_line("Accept-Encoding: gzip"));
        connection.send("HTTP/1.1 200 OK\r\nContent-Encoding: GZIP\r\nContent-Length: " +
                        std::to_string(packed.size()) + "\r\n\r\n");
        for (std::size_t i = 0; i < packed.size(); i += 777) {
            connection.send(std::string_view(packed).substr(i, 777));
        }
        return true;
    });
    EXPECT_EQ(get(server.url("/")).body, text);
    EXPECT_EQ(complete(limited(server.url("/"), text.size())).truncated, false);
    const Completed cut = complete(limited(server.url("/"), text.size() - 1));
    EXPECT_TRUE(cut.truncated);
    EXPECT_EQ(cut.body, text.substr(0, text.size() - 1));
}

TEST_F(EngineCutTest, AnotherEncodingIsKeptAsItIs) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.answer("packed", "Content-Encoding: br\r\n");
        return true;
    });
    EXPECT_EQ(get(server.url("/")).body, "packed");
}

// 200 MB that have been packed into 200 kB.
class EngineBombTest : public EngineCutTest {
  protected:
    static std::string bomb() { return gzip(std::string(200 * kMegabyte, '\0')); }
};

TEST_F(EngineBombTest, IsNotUnpackedBehindItsLimit) {
    const LoopbackServer server(endless("Content-Encoding: gzip\r\n", bomb()));
    const Completed completed = complete(limited(server.url("/"), 1000));
    EXPECT_TRUE(completed.truncated);
    EXPECT_EQ(completed.body, std::string(1000, '\0'));
    EXPECT_EQ(completed.outcome, Outcome::answered);
}

TEST_F(EngineBombTest, IsNotTakenAsATransferEncoding) {
    const std::string packed = bomb();
    const LoopbackServer server([&](Connection& connection, const ReceivedRequest&) {
        connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" + packed);
        return false;
    });
    const Completed completed = complete(limited(server.url("/"), 100 * kMegabyte));
    EXPECT_EQ(completed.outcome, Outcome::broken);
    EXPECT_EQ(completed.error, curl_easy_strerror(CURLE_BAD_CONTENT_ENCODING));
    EXPECT_EQ(engine_->buffered_bytes(), 0U);
}

TEST_F(EngineBombTest, TakesNoMoreThanItsShareOfATurn) {
    engine_->configure({.max_buffered_bytes = 400 * kMegabyte});
    const std::string packed = bomb();
    const LoopbackServer server([&](Connection& connection, const ReceivedRequest& request) {
        if (request.target == "/bomb") {
            connection.answer(packed, "Content-Encoding: gzip\r\n");
        } else {
            connection.answer("quick");
        }
        return true;
    });
    start(limited(server.url("/bomb"), 100 * kMegabyte));
    std::size_t held = 0;
    int quick = 0;
    std::vector<Completed> completed;
    while (engine_->in_flight() > 0) {
        if (engine_->in_flight() == 1) start(request(server.url("/")));
        turn();
        ASSERT_LE(engine_->buffered_bytes(), held + kMegabyte + CURL_MAX_WRITE_SIZE + 5);
        held = engine_->buffered_bytes();
        for (Completed& one : take_completed()) {
            if (one.id != core::RequestId{1}) {
                ++quick;
                continue;
            }
            EXPECT_TRUE(one.truncated);
            EXPECT_EQ(one.body.size(), 100 * kMegabyte);
            while (engine_->in_flight() > 0) turn();
        }
    }
    EXPECT_GT(quick, 10);
}

// Those that wait for memory have not been unpacked in vain.
TEST_F(EngineBombTest, WaitsPackedWhileMemoryIsShort) {
    engine_->configure({.max_buffered_bytes = kMegabyte});
    const std::string packed = bomb();
    const LoopbackServer server([&](Connection& connection, const ReceivedRequest&) {
        connection.answer(packed, "Content-Encoding: gzip\r\n");
        return true;
    });
    for (int i = 0; i < 20; ++i) start(limited(server.url("/"), 2 * kMegabyte));
    int ended = 0;
    ASSERT_TRUE(turn_until([&] {
        EXPECT_LE(engine_->buffered_bytes(), 3 * kMegabyte);
        for (const Completed& one : take_completed()) {
            EXPECT_EQ(one.body.size(), 2 * kMegabyte);
            ++ended;
        }
        return ended == 20;
    }));
    EXPECT_EQ(engine_->buffered_bytes(), 0U);
}

}  // namespace
}  // namespace securatlas::http
