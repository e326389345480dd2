// Which redirects are followed, and what goes along.
#include <atomic>

#include "fixture.hpp"

namespace securatlas::http {
namespace {

using core::Header;
using core::Method;
using core::Outcome;

class EngineRedirectTest : public EngineTest {
  protected:
    void follow(core::FollowRedirects mode) {
        engine_->configure({.user_agent = "securatlas_sched/1.2.3", .follow_redirects = mode});
    }

    // A request with a body and a credential.
    Request secret_request(const std::string& url, Method method) {
        Request one = request(url);
        one.method = method;
        one.headers = {{"Authorization", "Bearer 1"}, {"X-Own", "2"},
                       {"Accept", "text/plain"},      {"accept-language", "de"},
                       {"User-Agent", "mine"},        {"Content-Type", "application/json"}};
        if (method != Method::get && method != Method::head) one.body = "{}";
        return one;
    }
};

void answer_redirect(Connection& connection, int status, const std::string& location) {
    connection.send("HTTP/1.1 " + std::to_string(status) + " x\r\nLocation: " + location +
                    "\r\nX-Hop: first\r\nContent-Length: 4\r\n\r\nmove");
}

// Redirects "/from/STATUS" to where it is told, and keeps the last other request it got.
class Redirector {
  public:
    explicit Redirector(std::string location) : location_(std::move(location)) {}
    LoopbackServer::Handler handler() {
        return [this](Connection& connection, const ReceivedRequest& request) {
            constexpr std::string_view kFrom = "/from/";
            if (request.target.starts_with(kFrom)) {
                answer_redirect(connection, std::stoi(request.target.substr(kFrom.size())),
                                location_);
                return true;
            }
            last_ = request;
            ++arrived_;
            connection.answer("there", "X-Hop: last\r\n");
            return true;
        };
    }
    const ReceivedRequest& last() const { return last_; }
    int arrived() const { return arrived_; }

  private:
    std::string location_;
    ReceivedRequest last_;
    std::atomic<int> arrived_ = 0;
};

TEST_F(EngineRedirectTest, WithinAnOriginAllHeadersGoAlong) {
    follow(core::FollowRedirects::same_origin);
    Redirector redirector("../to?x=1#part");
    const LoopbackServer server(redirector.handler());
    const Completed completed = complete(secret_request(server.url("/from/302"), Method::get));
    EXPECT_EQ(completed.status_code, 200);
    EXPECT_EQ(completed.body, "there");
    EXPECT_EQ(completed.headers, (std::vector<Header>{{"Content-Length", "5"}, {"X-Hop", "last"}}));
    EXPECT_EQ(redirector.last().target, "/to?x=1");
    EXPECT_TRUE(redirector.last().has_line("Authorization: Bearer 1"));
    EXPECT_TRUE(redirector.last().has_line("User-Agent: mine"));
    EXPECT_EQ(server.connections(), 1U);
    EXPECT_EQ(engine_->buffered_bytes(), 0U);
}

TEST_F(EngineRedirectTest, MethodsAndBodies) {
    follow(core::FollowRedirects::same_origin);
    Redirector redirector("/to");
    const LoopbackServer server(redirector.handler());
    const struct {
        int status;
        Method before;
        Method after;
    } cases[] = {
        {301, Method::post, Method::get},    {302, Method::post, Method::get},
        {303, Method::post, Method::get},    {307, Method::post, Method::post},
        {308, Method::post, Method::post},   {301, Method::put, Method::put},
        {302, Method::patch, Method::patch}, {303, Method::put, Method::get},
        {303, Method::del, Method::get},     {303, Method::head, Method::head},
        {303, Method::get, Method::get},     {307, Method::head, Method::head},
    };
    for (const auto& [status, before, after] : cases) {
        SCOPED_TRACE(std::to_string(status) + " " + std::string(core::method_name(before)));
        const auto completed =
            complete(secret_request(server.url("/from/" + std::to_string(status)), before));
        EXPECT_EQ(completed.status_code, 200);
        const ReceivedRequest& last = redirector.last();
        EXPECT_EQ(last.method, core::method_name(after));
        const bool has_body = after != Method::get && after != Method::head;
        EXPECT_EQ(last.body, has_body ? "{}" : "");
        const bool lost_body = before != after;
        EXPECT_EQ(last.has_line("Content-Type: application/json"), !lost_body);
        EXPECT_EQ(last.has_line("Content-Length: 2"), has_body);
    }
}

TEST_F(EngineRedirectTest, OtherStatusesAreTheResponse) {
    follow(core::FollowRedirects::any);
    Redirector redirector("/to");
    const LoopbackServer server(redirector.handler());
    for (const int status : {300, 304, 305, 201}) {
        EXPECT_EQ(get(server.url("/from/" + std::to_string(status))).status_code, status);
    }
    EXPECT_EQ(redirector.arrived(), 0);
}

TEST_F(EngineRedirectTest, SoAreThoseWithAWrongLocation) {
    follow(core::FollowRedirects::any);
    for (const auto* location : {"ftp://127.0.0.1/", "http://user:word@127.0.0.1/", "http://", "",
                                 "file:///etc/passwd", "http://127.0.0.1:0/"}) {
        const LoopbackServer server([location](Connection& connection, const ReceivedRequest&) {
            answer_redirect(connection, 302, location);
            return false;
        });
        const Completed completed = get(server.url("/"));
        EXPECT_EQ(completed.status_code, 302) << location;
        EXPECT_EQ(completed.body, "move") << location << completed.error;
    }
}

TEST_F(EngineRedirectTest, AnotherOriginIsNotFollowedUnlessAny) {
    Redirector there("");
    const LoopbackServer other(there.handler());
    Redirector here(other.url("/to"));
    const LoopbackServer server(here.handler());
    for (const auto mode : {core::FollowRedirects::none, core::FollowRedirects::same_origin}) {
        follow(mode);
        const Completed completed = get(server.url("/from/302"));
        EXPECT_EQ(completed.status_code, 302);
        EXPECT_EQ(completed.body, "move");
        EXPECT_EQ(completed.outcome, Outcome::answered);
    }
    follow(core::FollowRedirects::any);
    EXPECT_EQ(get(server.url("/from/302")).status_code, 200);
    EXPECT_EQ(there.arrived(), 1);
}

TEST_F(EngineRedirectTest, NoCredentialGoesToAnotherOrigin) {
    follow(core::FollowRedirects::any);
    Redirector there("");
    const LoopbackServer other(there.handler());
    Redirector here(other.url("/to"));
    const LoopbackServer server(here.handler());
    EXPECT_EQ(complete(secret_request(server.url("/from/302"), Method::get)).status_code, 200);
    const ReceivedRequest& last = there.last();
    EXPECT_TRUE(last.has_line("Accept: text/plain")) << last.head;
    EXPECT_TRUE(last.has_line("accept-language: de")) << last.head;
    EXPECT_TRUE(last.has_line("User-Agent: mine")) << last.head;
    EXPECT_EQ(last.head.find("Authorization"), std::string::npos) << last.head;
    EXPECT_EQ(last.head.find("X-Own"), std::string::npos) << last.head;

    // Nor does a body.
    EXPECT_EQ(complete(secret_request(server.url("/from/307"), Method::post)).status_code, 307);
    EXPECT_EQ(complete(secret_request(server.url("/from/302"), Method::put)).status_code, 302);
    EXPECT_EQ(there.arrived(), 1);
    EXPECT_EQ(complete(secret_request(server.url("/from/303"), Method::post)).status_code, 200);
    EXPECT_EQ(there.last().method, "GET");
    EXPECT_EQ(there.last().head.find("Content-Type"), std::string::npos);
}

TEST_F(EngineRedirectTest, TheEleventhIsTheResponse) {
    follow(core::FollowRedirects::same_origin);
    std::atomic<int> arrived = 0;
    const LoopbackServer server([&](Connection& connection, const ReceivedRequest& request) {
        ++arrived;
        answer_redirect(connection, 302, request.target + "x");
        return true;
    });
    EXPECT_EQ(get(server.url("/")).status_code, 302);
    EXPECT_EQ(arrived, 11);
}

TEST_F(EngineRedirectTest, AllHopsShareOneTimeout) {
    follow(core::FollowRedirects::same_origin);
    const LoopbackServer server([](Connection& connection, const ReceivedRequest& request) {
        if (request.target == "/first") {
            pollfd client{connection.fd(), POLLIN, 0};
            EXPECT_EQ(poll(&client, 1, 200), 0);
            answer_redirect(connection, 307, "/second");
            return true;
        }
        connection.wait_for_close();
        return false;
    });
    Request slow = request(server.url("/first"));
    slow.timeout = std::chrono::milliseconds(300);
    const Completed completed = complete(std::move(slow));
    EXPECT_TRUE(completed.timed_out);
    EXPECT_EQ(completed.outcome, Outcome::timed_out);
    EXPECT_TRUE(completed.error.starts_with("Timeout of 300 ms reached. Total time: 3"))
        << completed.error;
    EXPECT_GE(completed.duration, std::chrono::milliseconds(300));
    EXPECT_LT(completed.duration, std::chrono::milliseconds(500));
}

TEST_F(EngineRedirectTest, WhatFailsBehindARedirectWasSent) {
    follow(core::FollowRedirects::any);
    const LoopbackSocket closed;
    Redirector redirector(closed.url("/"));
    const LoopbackServer server(redirector.handler());
    Request post = request(server.url("/from/303"));
    post.method = Method::post;
    const Completed completed = complete(std::move(post));
    EXPECT_EQ(completed.outcome, Outcome::broken);
    EXPECT_EQ(completed.status_code, std::nullopt);
    EXPECT_EQ(completed.error, curl_easy_strerror(CURLE_COULDNT_CONNECT));
}

}  // namespace
}  // namespace securatlas::http
