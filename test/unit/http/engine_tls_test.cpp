// Certificates, HTTP/2, and what is reused of connections and sessions.
#include <fstream>
#include <set>
#include <sstream>

#include "fixture.hpp"
#include "support/tls_server.hpp"

namespace securatlas::http {
namespace {

using core::Outcome;

struct Seen {
    std::string connection, protocol, resumed;
};

Seen seen(const Completed& completed) {
    EXPECT_EQ(completed.status_code, 200) << completed.error << ": " << completed.error_detail;
    Seen parts;
    const std::string* header = core::find_header(completed.headers, "Seen");
    if (header != nullptr)
        std::istringstream(*header) >> parts.connection >> parts.protocol >> parts.resumed;
    return parts;
}

class EngineTlsTest : public EngineTest {
  protected:
    static void SetUpTestSuite() {
        EngineTest::SetUpTestSuite();
        server_ = std::make_unique<test::TlsServer>();
        std::ofstream(server_->files() + "/big") << std::string(kSize, 'x');
    }
    static void TearDownTestSuite() { server_.reset(); }

    void trust(const std::string& ca_file) {
        engine_->configure({.user_agent = "x", .ca_file = ca_file});
    }
    void trust_server() { trust(server_->authority()); }
    // Not sent in one go.
    Request big_request(std::string_view server) {
        Request big = request(std::string(server) + "/files/big");
        big.max_response_bytes = kSize;
        return big;
    }
    void expect_untrusted(const Completed& completed) {
        EXPECT_EQ(completed.outcome, Outcome::unsent);
        EXPECT_EQ(completed.error, curl_easy_strerror(CURLE_PEER_FAILED_VERIFICATION));
        EXPECT_NE(completed.error_detail.find("certificate"), std::string::npos)
            << completed.error_detail;
    }

    static constexpr std::size_t kSize = 2'000'000;
    static std::unique_ptr<test::TlsServer> server_;
};

std::unique_ptr<test::TlsServer> EngineTlsTest::server_;

TEST_F(EngineTlsTest, AnUnknownAuthorityIsNotTrusted) { expect_untrusted(get(server_->url("/"))); }

TEST_F(EngineTlsTest, TheFileOfAuthoritiesMakesItTrusted) {
    expect_untrusted(get(server_->url("/")));
    trust_server();
    seen(get(server_->url("/")));
    // A connection that was made with it is not for those without it.
    trust("");
    expect_untrusted(get(server_->url("/")));
}

TEST_F(EngineTlsTest, AFileThatIsNotThereIsUnsent) {
    trust("/nowhere/ca.pem");
    const Completed completed = get(server_->url("/"));
    EXPECT_EQ(completed.outcome, Outcome::unsent);
    EXPECT_EQ(completed.error, curl_easy_strerror(CURLE_SSL_CACERT_BADFILE));
}

TEST_F(EngineTlsTest, TheNameHasToBeThatOfTheCertificate) {
    trust_server();
    std::string url = server_->url("/");
    url.replace(url.find("127.0.0.1"), 9, "localhost");
    EXPECT_EQ(get(url).outcome, Outcome::unsent);
}

TEST_F(EngineTlsTest, OneAfterAnotherOnOneConnection) {
    trust_server();
    const Seen first = seen(get(server_->url("/")));
    EXPECT_EQ(first.protocol, "HTTP/2.0");
    EXPECT_EQ(seen(get(server_->url("/"))).connection, first.connection);
    const Seen http1 = seen(get(server_->url_of_http1("/")));
    EXPECT_EQ(http1.protocol, "HTTP/1.1");
    EXPECT_EQ(seen(get(server_->url_of_http1("/"))).connection, http1.connection);
}

TEST_F(EngineTlsTest, ManyAtATimeOnOneConnectionOfHttp2) {
    trust_server();
    for (int i = 0; i < 50; ++i) start(request(server_->url("/")));
    std::set<std::string> connections;
    for (const Completed& completed : complete_all()) {
        connections.insert(seen(completed).connection);
    }
    EXPECT_EQ(connections.size(), 1U);
}

TEST_F(EngineTlsTest, SessionsAreResumedByOtherRequests) {
    trust_server();
    const Seen first = seen(get(server_->url_of_http1("/")));
    EXPECT_EQ(first.resumed, ".");
    for (int i = 0; i < 5; ++i) start(big_request(server_->url_of_http1("")));
    std::set<std::string> connections;
    int resumed = 0;
    for (const Completed& completed : complete_all()) {
        const Seen other = seen(completed);
        connections.insert(other.connection);
        if (other.resumed == "r") ++resumed;
    }
    EXPECT_GT(connections.size(), 1U);
    // Not each of them: a newer libcurl uses a ticket of TLS 1.3 once, and a server gives few.
    EXPECT_GT(resumed, 0);
}

TEST_F(EngineTlsTest, ABodyThatIsCutLeavesTheOthersOfItsConnectionAlone) {
    trust_server();
    seen(get(server_->url("/")));
    for (int i = 0; i < 8; ++i) {
        Request one = big_request(server_->url(""));
        if (i % 2 == 0) one.max_response_bytes = 1000;
        start(std::move(one));
    }
    for (const Completed& completed : complete_all()) {
        EXPECT_EQ(completed.error, "");
        EXPECT_EQ(completed.body.size(), completed.truncated ? 1000 : kSize);
    }
    EXPECT_EQ(seen(get(server_->url("/"))).protocol, "HTTP/2.0");
}

// They share a connection, on which one that waits must not hold up the one that may go on.
TEST_F(EngineTlsTest, BigBodiesOfOneConnectionEndWithinTheBudget) {
    engine_->configure(
        {.user_agent = "x", .ca_file = server_->authority(), .max_buffered_bytes = 3'000'000});
    seen(get(server_->url("/")));
    for (int i = 0; i < 16; ++i) start(big_request(server_->url("")));
    std::size_t whole = 0;
    std::size_t most_held = 0;
    EXPECT_TRUE(turn_until([&] {
        most_held = std::max(most_held, engine_->buffered_bytes());
        for (const Completed& completed : take_completed()) {
            EXPECT_EQ(completed.error, "");
            EXPECT_EQ(completed.body, std::string(kSize, 'x'));
            ++whole;
        }
        return whole == 16;
    }));
    EXPECT_LE(most_held, 3'000'000 + kSize);
}

}  // namespace
}  // namespace securatlas::http
