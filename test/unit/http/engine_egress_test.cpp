// Addresses and hosts that no request may reach.
#include <atomic>

#include "fixture.hpp"

namespace securatlas::http {
namespace {

using core::EgressPolicy;
using core::Outcome;

class EngineEgressTest : public EngineTest {
  protected:
    void restrict(std::string_view blocked, std::string_view allowed) {
        engine_->configure(
            {.user_agent = "x",
             .egress = std::make_shared<EgressPolicy>(core::parse_networks(blocked).value(),
                                                      core::parse_host_patterns(allowed).value()),
             .follow_redirects = core::FollowRedirects::any});
    }
    void expect_blocked(const Completed& completed, std::string_view address) {
        EXPECT_EQ(completed.outcome, Outcome::invalid);
        EXPECT_EQ(completed.error, "address is blocked by net.blocked_networks");
        EXPECT_EQ(completed.error_detail, address);
        EXPECT_EQ(completed.status_code, std::nullopt);
        EXPECT_FALSE(completed.timed_out);
    }
    void expect_not_allowed(const Completed& completed, std::string_view host) {
        EXPECT_EQ(completed.outcome, Outcome::invalid);
        EXPECT_EQ(completed.error,
                  "requests to host \"" + std::string(host) + "\" are not allowed");
        EXPECT_EQ(completed.error_detail, "The host is not in net.allowed_hosts.");
    }
};

std::string port_of(const LoopbackServer& server) {
    const std::string url = server.url("");
    return url.substr(url.rfind(':') + 1);
}

LoopbackServer::Handler answer_ok() {
    return [](Connection& connection, const ReceivedRequest&) {
        connection.answer("ok");
        return true;
    };
}

TEST_F(EngineEgressTest, ABlockedAddressIsNotConnectedTo) {
    const LoopbackServer server(answer_ok());
    restrict("127.0.0.0/8", "*");
    expect_blocked(get(server.url("/")), "127.0.0.1");
    EXPECT_EQ(server.connections(), 0U);
    restrict("126.0.0.0/8", "*");
    EXPECT_EQ(get(server.url("/")).status_code, 200);
}

TEST_F(EngineEgressTest, NorUnderAnyOtherNameOrForm) {
    const LoopbackServer server(answer_ok());
    restrict("127.0.0.0/8, ::1", "*");
    for (const auto* host : {"localhost", "127.1", "2130706433", "0x7f000001", "017700000001"}) {
        const Completed completed = get("http://" + std::string(host) + ":" + port_of(server));
        EXPECT_EQ(completed.outcome, Outcome::invalid) << host << completed.error_detail;
        EXPECT_EQ(completed.error, "address is blocked by net.blocked_networks") << host;
    }
    expect_blocked(get("http://[::ffff:127.0.0.1]:" + port_of(server)), "::ffff:127.0.0.1");
    expect_blocked(get("http://[64:ff9b::7f00:1]:" + port_of(server)), "64:ff9b::7f00:1");
    EXPECT_EQ(server.connections(), 0U);
}

TEST_F(EngineEgressTest, AConnectionThatWasKeptIsCheckedAgain) {
    const LoopbackServer server(answer_ok());
    EXPECT_EQ(get(server.url("/")).status_code, 200);
    restrict("127.0.0.1", "*");
    expect_blocked(get(server.url("/")), "127.0.0.1");
    restrict("", "*");
    EXPECT_EQ(get(server.url("/")).status_code, 200);
}

// Nothing listens there: a refused connection may pass, and nothing was sent.
TEST_F(EngineEgressTest, AnAddressThatIsNotBlockedIsStillUnsent) {
    restrict("10.0.0.0/8", "*");
    const LoopbackSocket closed;
    EXPECT_EQ(get(closed.url("/")).outcome, Outcome::unsent);
}

TEST_F(EngineEgressTest, HostsAreCheckedByNameAndPort) {
    const LoopbackServer server(answer_ok());
    restrict("", "example.com");
    expect_not_allowed(get(server.url("/")), "127.0.0.1");
    EXPECT_EQ(server.connections(), 0U);
    restrict("", "example.com, 127.0.0.1:" + port_of(server));
    EXPECT_EQ(get(server.url("/")).status_code, 200);
    restrict("", "127.0.0.1:1");
    expect_not_allowed(get(server.url("/")), "127.0.0.1");
}

TEST_F(EngineEgressTest, AHostHeaderIsAHostToo) {
    const LoopbackServer server(answer_ok());
    restrict("", "127.0.0.1, good.test");
    Request bad = request(server.url("/"));
    bad.headers = {{"host", "bad.test"}};
    expect_not_allowed(complete(std::move(bad)), "bad.test");
    EXPECT_EQ(server.connections(), 0U);
    Request good = request(server.url("/"));
    good.headers = {{"Host", "good.test:81"}};
    EXPECT_EQ(complete(std::move(good)).status_code, 200);
}

TEST_F(EngineEgressTest, SoIsEveryRedirect) {
    std::atomic<int> arrived = 0;
    const LoopbackServer server([&](Connection& connection, const ReceivedRequest& request) {
        ++arrived;
        connection.send("HTTP/1.1 302 x\r\nLocation: " + request.target.substr(1) +
                        "\r\nContent-Length: 0\r\n\r\n");
        return true;
    });
    restrict("169.254.0.0/16", "127.0.0.1, 169.254.169.254");
    expect_not_allowed(get(server.url("/http://localhost/")), "localhost");
    expect_blocked(get(server.url("/http://169.254.169.254/latest/")), "169.254.169.254");
    EXPECT_EQ(arrived, 2);
}

}  // namespace
}  // namespace securatlas::http
