// What is sent, and what a complete response becomes.
#include "fixture.hpp"

namespace securatlas::http {
namespace {

using core::Header;
using core::Method;
using core::Outcome;

// Answers everything with these bytes and closes.
LoopbackServer::Handler always(std::string bytes) {
    return [bytes = std::move(bytes)](Connection& connection, const ReceivedRequest&) {
        connection.send(bytes);
        return false;
    };
}

// Keeps the last request it got. Read it after the response has come.
class Recorder {
  public:
    LoopbackServer::Handler handler() {
        return [this](Connection& connection, const ReceivedRequest& request) {
            last_ = request;
            connection.answer("");
            return true;
        };
    }
    const ReceivedRequest& last() const { return last_; }

  private:
    ReceivedRequest last_;
};

TEST_F(EngineTest, AResponseWithABody) {
    const LoopbackServer server(always(
        "HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"));
    const Completed completed = get(server.url("/"));
    EXPECT_EQ(completed.id, core::RequestId{1});
    EXPECT_EQ(completed.outcome, Outcome::answered);
    EXPECT_EQ(completed.status_code, 201);
    EXPECT_EQ(completed.content_type, "text/plain");
    EXPECT_EQ(completed.body, "hello");
    EXPECT_FALSE(completed.truncated);
    EXPECT_FALSE(completed.timed_out);
    EXPECT_EQ(completed.error, "");
    EXPECT_GT(completed.duration, core::Duration(0));
    EXPECT_LT(completed.duration, std::chrono::seconds(30));
}

TEST_F(EngineTest, HeadersKeepTheirOrderAndTheirDuplicates) {
    const LoopbackServer server(
        always("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-Empty:\r\nset-cookie:  b=2 \r\n"
               "X-Folded: one\r\n  two\r\nContent-Length: 0\r\n\r\n"));
    EXPECT_EQ(get(server.url("/")).headers, (std::vector<Header>{{"Set-Cookie", "a=1"},
                                                                 {"X-Empty", ""},
                                                                 {"set-cookie", "b=2"},
                                                                 {"X-Folded", "one two"},
                                                                 {"Content-Length", "0"}}));
}

TEST_F(EngineTest, OnlyTheFinalResponseCounts) {
    const LoopbackServer server(
        always("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
               "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!"));
    const Completed completed = get(server.url("/"));
    EXPECT_EQ(completed.status_code, 200);
    EXPECT_EQ(completed.headers, (std::vector<Header>{{"Content-Length", "1"}}));
    EXPECT_EQ(completed.content_type, std::nullopt);
}

TEST_F(EngineTest, AChunkedBodyWithoutItsTrailers) {
    const LoopbackServer server(
        always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
               "4\r\nspam\r\n6\r\n & egg\r\n0\r\nX-Trailer: 1\r\n\r\n"));
    const Completed completed = get(server.url("/"));
    EXPECT_EQ(completed.body, "spam & egg");
    EXPECT_EQ(completed.headers, (std::vector<Header>{{"Transfer-Encoding", "chunked"}}));
}

TEST_F(EngineTest, ABodyThatEndsWithTheConnection) {
    const LoopbackServer server(always("HTTP/1.0 200 OK\r\n\r\nuntil the end"));
    EXPECT_EQ(get(server.url("/")).body, "until the end");
}

TEST_F(EngineTest, NoContent) {
    const LoopbackServer server(always("HTTP/1.1 204 No Content\r\n\r\n"));
    const Completed completed = get(server.url("/"));
    EXPECT_EQ(completed.status_code, 204);
    EXPECT_EQ(completed.body, "");
}

TEST_F(EngineTest, HeadHasHeadersAndNoBody) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest& request) {
        connection.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-Method: " + request.method +
                        "\r\n\r\n");
        return true;
    });
    Request head = request(server.url("/"));
    head.method = Method::head;
    head.body = "not sent";
    const Completed completed = complete(std::move(head));
    EXPECT_EQ(completed.status_code, 200);
    EXPECT_EQ(completed.body, "");
    ASSERT_EQ(completed.headers.size(), 2U);
    EXPECT_EQ(completed.headers[1], (Header{"X-Method", "HEAD"}));
}

TEST_F(EngineTest, StatusCodesBecomeOutcomes) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest& request) {
        connection.send("HTTP/1.1 " + request.target.substr(1) +
                        " x\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
        return true;
    });
    EXPECT_EQ(get(server.url("/404")).outcome, Outcome::answered);
    EXPECT_EQ(get(server.url("/500")).outcome, Outcome::unsettled);
    EXPECT_EQ(get(server.url("/503")).outcome, Outcome::throttled);
}

TEST_F(EngineTest, ARedirectIsNotFollowed) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.send("HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
        return true;
    });
    EXPECT_EQ(get(server.url("/")).status_code, 302);
}

TEST_F(EngineTest, ABodyAboveTheLimitIsCut) {
    const std::string body(100'000, 'x');
    const LoopbackServer server([&body](Connection& connection, const ReceivedRequest&) {
        connection.answer(body);
        return true;
    });
    Request limited = request(server.url("/"));
    limited.max_response_bytes = body.size() - 1;
    const Completed cut = complete(std::move(limited));
    EXPECT_EQ(cut.status_code, 200);
    EXPECT_EQ(cut.error, "");
    EXPECT_TRUE(cut.truncated);
    EXPECT_EQ(cut.body, body.substr(1));

    Request exact = request(server.url("/"));
    exact.max_response_bytes = body.size();
    const Completed whole = complete(std::move(exact));
    EXPECT_FALSE(whole.truncated);
    EXPECT_EQ(whole.body, body);
    // The rest of the first one was not read.
    EXPECT_EQ(server.connections(), 2U);
}

TEST_F(EngineTest, TheLimitAppliesToTheDecodedBody) {
    // 1000 times the letter a.
    constexpr std::string_view kPacked(
        "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x4b\x4c\x1c\x05\xa3\x60\x14\x0c\x77\x00\x00\x03"
        "\xda\x38\x9a\xe8\x03\x00\x00",
        29);
    const LoopbackServer server([&](Connection& connection, const ReceivedRequest& request) {
        const bool is_accepted = request.head.find("\r\nAccept-Encoding: ") != std::string::npos &&
                                 request.head.find("gzip") != std::string::npos;
        connection.answer(is_accepted ? kPacked : "", "Content-Encoding: gzip\r\n");
        return true;
    });
    EXPECT_EQ(get(server.url("/")).body, std::string(1000, 'a'));

    Request limited = request(server.url("/"));
    limited.max_response_bytes = 100;
    const Completed cut = complete(std::move(limited));
    EXPECT_EQ(cut.body, std::string(100, 'a'));
    EXPECT_TRUE(cut.truncated);
}

TEST_F(EngineTest, SendsMethodHeadersAndBody) {
    Recorder recorder;
    const LoopbackServer server(recorder.handler());
    Request post = request(server.url("/path?a=%20b"));
    post.method = Method::post;
    post.headers = {{"Content-Type", "application/json"}, {"X-Empty", ""}, {"X-Blank", " "}};
    post.body = std::string("{\0}", 3);
    EXPECT_EQ(complete(std::move(post)).status_code, 200);

    const ReceivedRequest& seen = recorder.last();
    EXPECT_EQ(seen.method, "POST");
    EXPECT_EQ(seen.target, "/path?a=%20b");
    EXPECT_EQ(seen.body, std::string("{\0}", 3));
    EXPECT_TRUE(seen.has_line("Content-Type: application/json")) << seen.head;
    EXPECT_TRUE(seen.has_line("X-Empty:")) << seen.head;
    EXPECT_TRUE(seen.has_line("X-Blank:")) << seen.head;
    EXPECT_TRUE(seen.has_line("User-Agent: securatlas_sched/1.2.3")) << seen.head;
}

TEST_F(EngineTest, ARequestMayHaveAnAgentOfItsOwn) {
    Recorder recorder;
    const LoopbackServer server(recorder.handler());
    Request own = request(server.url("/"));
    own.headers = {{"user-agent", "mine"}};
    EXPECT_EQ(complete(std::move(own)).status_code, 200);
    EXPECT_TRUE(recorder.last().has_line("user-agent: mine")) << recorder.last().head;
    EXPECT_EQ(recorder.last().head.find("securatlas"), std::string::npos) << recorder.last().head;
}

// One after another on the same handle, which keeps the URL of the previous one.
TEST_F(EngineTest, EachRequestGoesToItsUrl) {
    Recorder recorder;
    const LoopbackServer server(recorder.handler());
    for (const std::string path : {"/a?b=1", "/a?b=1", "/", "/a?b=1", "/a/../c", "/%41"}) {
        EXPECT_EQ(get(server.url(path)).status_code, 200);
        const std::string line = "GET " + (path == "/a/../c" ? "/c" : path) + " HTTP/1.1";
        EXPECT_TRUE(recorder.last().head.starts_with(line)) << recorder.last().head;
    }
}

TEST_F(EngineTest, FramingHeadersAreNotTheCallers) {
    Recorder recorder;
    const LoopbackServer server(recorder.handler());
    Request post = request(server.url("/"));
    post.method = Method::post;
    post.headers = {{"Content-Length", "1"}, {"Expect", "100-continue"}, {"Host", "other"}};
    post.body = std::string(2'000'000, 'x');
    EXPECT_EQ(complete(std::move(post)).status_code, 200);
    EXPECT_EQ(recorder.last().body.size(), 2'000'000U);
    EXPECT_TRUE(recorder.last().has_line("Host: other"));
    EXPECT_EQ(recorder.last().head.find("Expect"), std::string::npos) << recorder.last().head;
    EXPECT_EQ(recorder.last().head.find("Content-Type"), std::string::npos) << recorder.last().head;
}

// One after another on the same handle: none leaves anything for the next.
TEST_F(EngineTest, EveryMethodWithAndWithoutABody) {
    Recorder recorder;
    const LoopbackServer server(recorder.handler());
    for (const Method method : {Method::post, Method::get, Method::put, Method::head, Method::patch,
                                Method::del, Method::options, Method::post, Method::get}) {
        for (const std::string body : {"some bytes", ""}) {
            Request one = request(server.url("/"));
            one.method = method;
            one.body = body;
            EXPECT_EQ(complete(std::move(one)).status_code, 200);
            const ReceivedRequest& seen = recorder.last();
            EXPECT_EQ(seen.method, core::method_name(method));
            EXPECT_EQ(seen.body, method == Method::head ? "" : body) << seen.method;
            const bool tells_length =
                method == Method::post || method == Method::put || method == Method::patch;
            if (body.empty()) {
                EXPECT_EQ(seen.has_line("Content-Length: 0"), tells_length) << seen.head;
            }
        }
    }
}

TEST_F(EngineTest, AHeaderOfOneRequestIsNotSentWithTheNext) {
    Recorder recorder;
    const LoopbackServer server(recorder.handler());
    Request first = request(server.url("/"));
    first.headers = {{"Authorization", "Bearer 1"}};
    complete(std::move(first));
    EXPECT_TRUE(recorder.last().has_line("Authorization: Bearer 1"));
    get(server.url("/"));
    EXPECT_EQ(recorder.last().head.find("Authorization"), std::string::npos);
}

TEST_F(EngineTest, ProxiesOfTheEnvironmentAreIgnored) {
    Recorder recorder;
    const LoopbackServer server(recorder.handler());
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    EXPECT_EQ(get(server.url("/")).status_code, 200);
    unsetenv("http_proxy");
}

}  // namespace
}  // namespace securatlas::http
