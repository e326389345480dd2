#include "securatlas/core/net/egress_policy.hpp"

#include <gtest/gtest.h>

namespace securatlas::core {
namespace {

bool blocks(std::string_view networks, std::string_view address) {
    const EgressPolicy policy(parse_networks(networks).value(), {});
    return policy.blocks(IpAddress::parse(address).value());
}

bool allows(std::string_view patterns, std::string_view host, std::uint16_t port = 443) {
    const EgressPolicy policy({}, parse_host_patterns(patterns).value());
    return policy.allows_host(host, port);
}

TEST(EgressPolicy, BlocksAddressesOfItsNetworks) {
    EXPECT_TRUE(blocks("10.0.0.0/8, fe80::/10", "10.1.2.3"));
    EXPECT_TRUE(blocks("10.0.0.0/8, fe80::/10", "fe80::1"));
    EXPECT_FALSE(blocks("10.0.0.0/8, fe80::/10", "11.1.2.3"));
    EXPECT_FALSE(blocks("", "10.1.2.3"));
}

TEST(EgressPolicy, BlocksAnIpv4AddressInsideAnIpv6One) {
    for (const auto* address : {"::ffff:10.1.2.3", "::10.1.2.3", "64:ff9b::10.1.2.3",
                                "64:ff9b:1::10.1.2.3", "64:ff9b:1:a01:2:300::", "2002:a01:203::"}) {
        EXPECT_TRUE(blocks("10.0.0.0/8", address)) << address;
        EXPECT_TRUE(blocks("10.0.0.0/8, ::/0", address)) << address;
        EXPECT_FALSE(blocks("172.16.0.0/12", address)) << address;
    }
    EXPECT_TRUE(blocks("2002::/16", "2002:a01:203::"));
    EXPECT_FALSE(blocks("10.0.0.0/8", "2001:db8::a01:203"));
}

TEST(EgressPolicy, ByDefaultBlocksMetadataServices) {
    for (const auto* address :
         {"169.254.169.254", "fe80::a9fe:a9fe", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200",
          "192.0.0.192", "168.63.129.16", "::ffff:169.254.169.254"}) {
        EXPECT_TRUE(blocks(kDefaultBlockedNetworks, address)) << address;
    }
    for (const auto* address : {"127.0.0.1", "10.0.0.1", "::1", "100.100.100.201", "8.8.8.8"}) {
        EXPECT_FALSE(blocks(kDefaultBlockedNetworks, address)) << address;
    }
}

TEST(EgressPolicy, WithoutArgumentsDoesNotInterfere) {
    EXPECT_FALSE(EgressPolicy().blocks(IpAddress::parse("169.254.169.254").value()));
    EXPECT_TRUE(EgressPolicy().allows_host("example.com", 80));
}

TEST(EgressPolicy, AllowsNamesAsTheyAre) {
    EXPECT_TRUE(allows("example.com", "example.com"));
    EXPECT_TRUE(allows("Example.COM", "eXample.com"));
    EXPECT_TRUE(allows("example.com", "example.com."));
    EXPECT_TRUE(allows("example.com.", "example.com"));
    EXPECT_FALSE(allows("example.com", "www.example.com"));
    EXPECT_FALSE(allows("example.com", "example.com.evil.org"));
    EXPECT_FALSE(allows("", "example.com"));
    EXPECT_TRUE(allows("a.org, b_1.org", "b_1.org"));
}

TEST(EgressPolicy, AllowsNamesBelowADomain) {
    EXPECT_TRUE(allows("*.example.com", "www.example.com"));
    EXPECT_TRUE(allows("*.Example.com", "a.b.EXAMPLE.com."));
    EXPECT_FALSE(allows("*.example.com", "example.com"));
    EXPECT_FALSE(allows("*.example.com", ".example.com"));
    EXPECT_FALSE(allows("*.example.com", "badexample.com"));
    EXPECT_FALSE(allows("*.2.1", "10.0.2.1"));
}

TEST(EgressPolicy, AllowsAll) {
    EXPECT_TRUE(allows("*", "example.com", 8080));
    EXPECT_TRUE(allows("*:443", "::1", 443));
    EXPECT_FALSE(allows("*:443", "::1", 444));
}

TEST(EgressPolicy, AllowsAddressesInAnyForm) {
    EXPECT_TRUE(allows("2001:db8::1", "2001:db8:0:0::1", 8080));
    EXPECT_TRUE(allows("[2001:DB8::1]:8080", "2001:db8::1", 8080));
    EXPECT_FALSE(allows("[2001:db8::1]:8080", "2001:db8::1", 80));
    EXPECT_TRUE(allows("[::1]", "::1"));
    EXPECT_TRUE(allows("192.0.2.1:80", "192.0.2.1", 80));
    EXPECT_FALSE(allows("192.0.2.1", "192.0.2.10"));
    EXPECT_FALSE(allows("192.0.2.1", "example.com"));
}

TEST(EgressPolicy, PortsNarrowThePattern) {
    EXPECT_TRUE(allows("example.com:8443", "example.com", 8443));
    EXPECT_FALSE(allows("example.com:8443", "example.com", 443));
    EXPECT_TRUE(allows("*.example.com:1", "a.example.com", 1));
}

TEST(EgressPolicy, ChecksTheHostHeaderAsWell) {
    const EgressPolicy policy({}, parse_host_patterns("example.com, other.test:443").value());
    const auto refusal = [&policy](std::string_view url, std::vector<Header> headers = {}) {
        const auto found = policy.check(Url::parse(url).value(), headers);
        return found ? found->message : "";
    };
    EXPECT_EQ(refusal("http://example.com/"), "");
    EXPECT_EQ(refusal("http://a.test/"), "requests to host \"a.test\" are not allowed");
    EXPECT_EQ(refusal("http://example.com/", {{"Host", "b.test"}}),
              "requests to host \"b.test\" are not allowed");
    EXPECT_EQ(refusal("http://a.test/", {{"Host", "example.com"}}),
              "requests to host \"a.test\" are not allowed");
    EXPECT_EQ(refusal("https://example.com/", {{"HOST", "Other.test"}}), "");
    EXPECT_EQ(refusal("http://example.com/", {{"host", "other.test"}}),
              "requests to host \"other.test\" are not allowed");
    for (const auto* value : {"", "a b", "example.com/x", "example.com?", "user@example.com",
                              "example.com#", "example.com:0", "example.com, a.test"}) {
        EXPECT_EQ(refusal("http://example.com/", {{"Host", value}}),
                  "invalid value of HTTP header \"Host\"")
            << value;
    }
}

TEST(EgressPolicy, SaysWhichPatternIsWrong) {
    for (const auto* text :
         {"*.", "*.*", "a*", "*a.org", "https://a.org", "a.org/x", "a b", "[a.org]", "[1.2.3.4]",
          "[::1", "[::1]x", "::1]", ".a.org", "a..org", "a@b.org", "%"}) {
        const auto pattern = HostPattern::parse(text);
        ASSERT_FALSE(pattern) << text;
        EXPECT_EQ(pattern.error().message, "invalid host pattern \"" + std::string(text) + "\"");
    }
    for (const auto* text : {"a.org:", "a.org:0", "a.org:65536", "a.org:http", "[::1]:", "*:-1"}) {
        ASSERT_FALSE(HostPattern::parse(text)) << text;
        EXPECT_EQ(HostPattern::parse(text).error().detail, "A port is a number from 1 to 65535.");
    }
    EXPECT_EQ(parse_host_patterns("a.org,,b.org").error().message, "invalid host pattern \"\"");
}

}  // namespace
}  // namespace securatlas::core
