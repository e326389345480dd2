// Attempts without a complete response: what they are called, and whether anything was sent.
#include <curl/curl.h>

#include <atomic>
#include <cstdio>

#include "fixture.hpp"

namespace securatlas::http {
namespace {

using core::Outcome;

using EngineFailureTest = EngineTest;

struct TimeoutText {
    int timeout = 0;
    double total = 0, dns = 0, handshake = 0, exchange = 0;
};

TimeoutText parse_timeout(const std::string& text) {
    TimeoutText parts;
    int end = 0;
    std::sscanf(text.c_str(),
                "Timeout of %d ms reached. Total time: %lf ms (DNS time: %lf ms, TCP/SSL handshake "
                "time: %lf ms, HTTP Request/Response time: %lf ms)%n",
                &parts.timeout, &parts.total, &parts.dns, &parts.handshake, &parts.exchange, &end);
    EXPECT_EQ(static_cast<std::size_t>(end), text.size()) << text;
    return parts;
}

TEST_F(EngineFailureTest, AServerThatIsTooSlow) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.wait_for_close();
        return false;
    });
    Request slow = request(server.url("/"));
    slow.timeout = std::chrono::milliseconds(80);
    const Completed completed = complete(std::move(slow));
    EXPECT_TRUE(completed.timed_out);
    EXPECT_EQ(completed.outcome, Outcome::timed_out);
    EXPECT_EQ(completed.status_code, std::nullopt);
    EXPECT_GE(completed.duration, std::chrono::milliseconds(80));

    const TimeoutText text = parse_timeout(completed.error);
    EXPECT_EQ(text.timeout, 80);
    EXPECT_GE(text.total, 80.0);
    EXPECT_NEAR(text.dns + text.handshake + text.exchange, text.total, 0.00001);
    EXPECT_GT(text.exchange, text.total / 2);
}

TEST_F(EngineFailureTest, AServerThatStopsInMidBody) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive ");
        connection.wait_for_close();
        return false;
    });
    Request slow = request(server.url("/"));
    slow.timeout = std::chrono::milliseconds(80);
    const Completed completed = complete(std::move(slow));
    EXPECT_EQ(completed.outcome, Outcome::timed_out);
    EXPECT_EQ(completed.status_code, std::nullopt);
    EXPECT_TRUE(completed.headers.empty());
    EXPECT_EQ(completed.body, "");
}

TEST_F(EngineFailureTest, AHandshakeThatDoesNotEnd) {
    // The kernel completes connections to a socket that listens; nobody speaks TLS.
    const LoopbackSocket silent;
    ASSERT_EQ(listen(silent.fd(), 8), 0);
    Request slow = request(silent.url("/", "https"));
    slow.timeout = std::chrono::milliseconds(80);
    const Completed completed = complete(std::move(slow));
    EXPECT_TRUE(completed.timed_out);
    EXPECT_EQ(completed.outcome, Outcome::unsent);
    const TimeoutText text = parse_timeout(completed.error);
    EXPECT_GT(text.handshake, text.total / 2);
    EXPECT_EQ(text.exchange, 0.0);
}

TEST_F(EngineFailureTest, ConnectionRefused) {
    const LoopbackSocket closed;
    const Completed completed = get(closed.url("/"));
    EXPECT_EQ(completed.outcome, Outcome::unsent);
    EXPECT_EQ(completed.error, curl_easy_strerror(CURLE_COULDNT_CONNECT));
    EXPECT_NE(completed.error_detail.find("127.0.0.1"), std::string::npos);
    EXPECT_FALSE(completed.timed_out);
    EXPECT_EQ(completed.status_code, std::nullopt);
}

TEST_F(EngineFailureTest, ANameThatDoesNotExist) {
    const Completed completed = get("http://name.invalid/");
    EXPECT_EQ(completed.outcome, Outcome::unsent);
    EXPECT_EQ(completed.error, curl_easy_strerror(CURLE_COULDNT_RESOLVE_HOST));
}

TEST_F(EngineFailureTest, AServerThatDoesNotSpeakTls) {
    const LoopbackSocket plain;
    ASSERT_EQ(listen(plain.fd(), 8), 0);
    std::thread speaker([&plain] {
        Connection connection(accept4(plain.fd(), nullptr, nullptr, SOCK_CLOEXEC));
        connection.send("HTTP/1.1 400 Bad Request\r\n\r\n");
        connection.wait_for_close();
    });
    const Completed completed = get(plain.url("/", "https"));
    speaker.join();
    EXPECT_EQ(completed.outcome, Outcome::unsent);
    EXPECT_EQ(completed.error, curl_easy_strerror(CURLE_SSL_CONNECT_ERROR));
}

TEST_F(EngineFailureTest, ResetInMidBody) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive ");
        connection.reset_on_close();
        return false;
    });
    const Completed completed = get(server.url("/"));
    EXPECT_EQ(completed.outcome, Outcome::broken);
    EXPECT_NE(completed.error, "");
    EXPECT_EQ(completed.status_code, std::nullopt);
    EXPECT_EQ(completed.body, "");
}

TEST_F(EngineFailureTest, ABodyThatIsTooShort) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfive ");
        return false;
    });
    const Completed completed = get(server.url("/"));
    EXPECT_EQ(completed.outcome, Outcome::broken);
    EXPECT_EQ(completed.error, curl_easy_strerror(CURLE_PARTIAL_FILE));
}

TEST_F(EngineFailureTest, NoAnswer) {
    const LoopbackServer server([](Connection&, const ReceivedRequest&) { return false; });
    const Completed completed = get(server.url("/"));
    EXPECT_EQ(completed.outcome, Outcome::broken);
    EXPECT_EQ(completed.error, curl_easy_strerror(CURLE_GOT_NOTHING));
}

TEST_F(EngineFailureTest, GarbageInsteadOfAStatusLine) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.send("220 mail.example.com ESMTP\r\n");
        return false;
    });
    const Completed completed = get(server.url("/"));
    EXPECT_EQ(completed.outcome, Outcome::broken);
    EXPECT_NE(completed.error, "");
    EXPECT_EQ(completed.status_code, std::nullopt);
}

TEST_F(EngineFailureTest, HeadersWithoutEnd) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.send("HTTP/1.1 200 OK\r\n");
        const std::string line = "X-Long: " + std::string(1000, 'x') + "\r\n";
        for (int i = 0; i < 300; ++i) connection.send(line);
        connection.wait_for_close();
        return false;
    });
    const Completed completed = get(server.url("/"));
    EXPECT_EQ(completed.outcome, Outcome::broken);
    EXPECT_EQ(completed.error, "Response headers are too large");
}

TEST_F(EngineFailureTest, APackedBodyThatIsNoneOrEndsTooEarly) {
    const std::string whole = gzip("some text that is packed");
    std::string damaged = whole;
    damaged[whole.size() - 6] ^= 1;
    for (const std::string& body : {std::string("plain"), damaged, whole.substr(0, 20)}) {
        const LoopbackServer server([&](Connection& connection, const ReceivedRequest&) {
            connection.answer(body, "Content-Encoding: gzip\r\n");
            return true;
        });
        const Completed completed = get(server.url("/"));
        EXPECT_EQ(completed.outcome, Outcome::broken);
        EXPECT_EQ(completed.error, curl_easy_strerror(CURLE_BAD_CONTENT_ENCODING));
        EXPECT_EQ(completed.status_code, std::nullopt);
        EXPECT_EQ(completed.body, "");
        EXPECT_EQ(engine_->buffered_bytes(), 0U);
    }
}

// Answers the first request on each connection, and closes at the second without a word.
class EngineDeadConnectionTest : public EngineTest {
  protected:
    Completed second_attempt(bool may_resend) {
        const LoopbackServer server([this](Connection& connection, const ReceivedRequest& request) {
            ++received_;
            if (request.target == "/again" && !std::exchange(is_fresh_, true)) return false;
            connection.answer(request.body);
            return true;
        });
        EXPECT_EQ(get(server.url("/")).status_code, 200);
        Request again = request(server.url("/again"));
        again.method = core::Method::post;
        again.body = "payload";
        again.may_resend = may_resend;
        return complete(std::move(again));
    }

    std::atomic<int> received_ = 0;

  private:
    bool is_fresh_ = false;  // the connections' threads take turns
};

TEST_F(EngineDeadConnectionTest, TheRequestIsNotSentTwiceUnasked) {
    const Completed completed = second_attempt(false);
    EXPECT_EQ(completed.outcome, Outcome::broken);
    EXPECT_EQ(completed.error, curl_easy_strerror(CURLE_GOT_NOTHING));
    EXPECT_EQ(received_, 2);
}

TEST_F(EngineDeadConnectionTest, TheRequestIsSentAgainIfItMayBe) {
    const Completed completed = second_attempt(true);
    EXPECT_EQ(completed.outcome, Outcome::answered);
    EXPECT_EQ(completed.body, "payload");
    EXPECT_EQ(received_, 3);
}

}  // namespace
}  // namespace securatlas::http
