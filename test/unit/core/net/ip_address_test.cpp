#include "securatlas/core/net/ip_address.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace securatlas::core {
namespace {

IpAddress address(std::string_view text) { return IpAddress::parse(text).value(); }
Network network(std::string_view text) { return Network::parse(text).value(); }

std::vector<std::uint8_t> bytes(std::string_view text) {
    const IpAddress parsed = address(text);
    return {parsed.bytes().begin(), parsed.bytes().end()};
}

TEST(IpAddress, ReadsIpv4) {
    EXPECT_EQ(bytes("192.0.2.255"), (std::vector<std::uint8_t>{192, 0, 2, 255}));
    EXPECT_TRUE(address("0.0.0.0").is_ipv4());
    for (const auto* text : {"", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.04", "1.2.3.",
                             ".1.2.3", "1..2.3", "0x1.2.3.4", "1.2.3.4 ", "1.2.3.-4"}) {
        EXPECT_EQ(IpAddress::parse(text), std::nullopt) << text;
    }
}

TEST(IpAddress, ReadsIpv6) {
    EXPECT_EQ(bytes("2001:DB8::a:1"), (std::vector<std::uint8_t>{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0,
                                                                 0, 0, 0, 0, 0x0a, 0, 1}));
    EXPECT_EQ(address("::"), address("0:0:0:0:0:0:0:0"));
    EXPECT_EQ(address("::ffff:192.0.2.1"), address("::ffff:c000:201"));
    EXPECT_EQ(address("1:2:3:4:5:6:1.2.3.4"), address("1:2:3:4:5:6:102:304"));
    EXPECT_EQ(address("1::"), address("1:0:0:0:0:0:0:0"));
    EXPECT_EQ(address("1:2:3:4:5:6:7::"), address("1:2:3:4:5:6:7:0"));
    for (const auto* text : {":", ":::", "1:::2", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
                             "1:2:3:4:5:6:7:8::", "1:2:3:4:5:6:7:1.2.3.4", "::1:2:3:4:5:6:7:8",
                             "12345::", "g::", "fe80::1%eth0", "1.2.3.4::", "[::1]", "::1.2.3"}) {
        EXPECT_EQ(IpAddress::parse(text), std::nullopt) << text;
    }
}

TEST(IpAddress, IsMadeOfFourOrSixteenBytes) {
    const std::array<std::uint8_t, 16> raw{10, 1, 2, 3};
    EXPECT_EQ(IpAddress::from_bytes(std::span(raw).first(4)), address("10.1.2.3"));
    EXPECT_EQ(IpAddress::from_bytes(raw), address("a01:203::"));
    EXPECT_EQ(IpAddress::from_bytes(std::span(raw).first(5)), std::nullopt);
}

TEST(IpAddress, CarriesIpv4) {
    const std::vector<IpAddress> one{address("10.1.2.3")};
    EXPECT_EQ(address("::ffff:10.1.2.3").carried_ipv4(), one);
    EXPECT_EQ(address("::10.1.2.3").carried_ipv4(), one);
    EXPECT_EQ(address("64:ff9b::10.1.2.3").carried_ipv4(), one);
    EXPECT_EQ(address("2002:a01:203::1").carried_ipv4(), one);
    for (const auto* text : {"10.1.2.3", "2001:db8::a01:203", "::fffe:10.1.2.3", "::1:0:10.1.2.3",
                             "64:ff9b:0:1::10.1.2.3", "64:ff9b:2::10.1.2.3", "2003:a01:203::"}) {
        EXPECT_TRUE(address(text).carried_ipv4().empty()) << text;
    }
}

// The table of RFC 6052, 2.4 with a prefix of RFC 8215.
TEST(IpAddress, CarriesIpv4BehindPrefixesOfAllLengths) {
    for (const auto* text : {"64:ff9b:1:c000:2:2100::", "64:ff9b:1:1c0:0:221::",
                             "64:ff9b:1:122:c0:2:2100::", "64:ff9b:1:122:344::192.0.2.33"}) {
        const auto carried = address(text).carried_ipv4();
        EXPECT_EQ(std::ranges::count(carried, address("192.0.2.33")), 1) << text;
    }
}

TEST(Network, ContainsWhatSharesItsFirstBits) {
    EXPECT_TRUE(network("10.0.0.0/8").contains(address("10.255.0.1")));
    EXPECT_FALSE(network("10.0.0.0/8").contains(address("11.0.0.0")));
    EXPECT_TRUE(network("172.16.0.0/12").contains(address("172.31.255.255")));
    EXPECT_FALSE(network("172.16.0.0/12").contains(address("172.32.0.0")));
    EXPECT_FALSE(network("172.16.0.0/12").contains(address("172.15.255.255")));
    EXPECT_TRUE(network("fe80::/10").contains(address("febf::1")));
    EXPECT_FALSE(network("fe80::/10").contains(address("fec0::1")));
    EXPECT_TRUE(network("0.0.0.0/0").contains(address("255.255.255.255")));
    EXPECT_TRUE(network("128.0.0.0/1").contains(address("200.0.0.1")));
    EXPECT_FALSE(network("128.0.0.0/1").contains(address("127.0.0.1")));
}

TEST(Network, AnAddressAloneIsANetworkOfOne) {
    EXPECT_EQ(network("192.0.2.1"), network("192.0.2.1/32"));
    EXPECT_EQ(network("::1"), network("::1/128"));
    EXPECT_TRUE(network("192.0.2.1").contains(address("192.0.2.1")));
    EXPECT_FALSE(network("192.0.2.1").contains(address("192.0.2.0")));
}

TEST(Network, KeepsTheFamiliesApart) {
    EXPECT_FALSE(network("::/0").contains(address("10.0.0.1")));
    EXPECT_FALSE(network("0.0.0.0/0").contains(address("::1")));
}

TEST(Network, SaysWhatIsWrong) {
    const auto detail = [](std::string_view text) { return Network::parse(text).error().detail; };
    EXPECT_EQ(Network::parse("10.0.0.1/8").error().message, "invalid network \"10.0.0.1/8\"");
    EXPECT_EQ(detail("10.0.0.1/8"), "The address has bits set after the first 8.");
    EXPECT_EQ(detail("0.0.0.1/31"), "The address has bits set after the first 31.");
    EXPECT_EQ(detail("10.0.0.0/33"), "The number of bits must be from 0 to 32.");
    EXPECT_EQ(detail("::/129"), "The number of bits must be from 0 to 128.");
    for (const auto* text : {"::/", "::/08", "::/-1", "::/ 8", "::/8/8"}) {
        EXPECT_EQ(detail(text), "The number of bits must be from 0 to 128.") << text;
    }
    EXPECT_TRUE(detail("localhost").starts_with("A network is")) << detail("localhost");
    EXPECT_TRUE(detail("").starts_with("A network is"));
}

TEST(Network, ListsHaveCommas) {
    EXPECT_EQ(parse_networks(" 10.0.0.0/8 ,\t::1 ").value(),
              (std::vector<Network>{network("10.0.0.0/8"), network("::1")}));
    EXPECT_TRUE(parse_networks("").value().empty());
    EXPECT_TRUE(parse_networks("  ").value().empty());
    EXPECT_EQ(parse_networks("::1,,::2").error().message, "invalid network \"\"");
    EXPECT_FALSE(parse_networks("::1,"));
    EXPECT_FALSE(parse_networks("::1 ::2"));
}

}  // namespace
}  // namespace securatlas::core
