#include "securatlas/core/net/url.hpp"

#include <gtest/gtest.h>

namespace securatlas::core {
namespace {

Url parsed(std::string_view text) { return Url::parse(text).value(); }

// The part that is wrong, or nothing if nothing is.
std::optional<UrlPart> wrong_part(std::string_view text) {
    const auto url = Url::parse(text);
    if (url) return std::nullopt;
    EXPECT_FALSE(url.error().message.empty());
    EXPECT_TRUE(url.error().detail.ends_with('.')) << url.error().detail;
    return url.error().part;
}

TEST(Url, SplitsSchemeHostAndPort) {
    const Url url = parsed("https://api.example.com:8443/v1/items?limit=5");
    EXPECT_EQ(url.scheme(), UrlScheme::https);
    EXPECT_EQ(url.host(), "api.example.com");
    EXPECT_EQ(url.port(), 8443);
    EXPECT_EQ(url.text(), "https://api.example.com:8443/v1/items?limit=5");
    EXPECT_EQ(url.origin(), "https://api.example.com:8443");
}

TEST(Url, HasThePortOfItsScheme) {
    EXPECT_EQ(parsed("http://h/").port(), 80);
    EXPECT_EQ(parsed("https://h/").port(), 443);
    EXPECT_EQ(parsed("https://h:/").port(), 443);
    EXPECT_EQ(parsed("https://h:/").text(), "https://h/");
}

TEST(Url, WritesSchemeAndHostInLowerCaseAndNothingElse) {
    const Url url = parsed("HTTPS://Api.Example.COM/Path?Q=A");
    EXPECT_EQ(url.text(), "https://api.example.com/Path?Q=A");
    EXPECT_EQ(url.origin(), parsed("https://api.example.com:443/other").origin());
    EXPECT_NE(url.origin(), parsed("http://api.example.com:443/").origin());
}

TEST(Url, AlwaysHasAPathAndNeverAFragment) {
    EXPECT_EQ(parsed("http://h").text(), "http://h/");
    EXPECT_EQ(parsed("http://h?q").text(), "http://h/?q");
    EXPECT_EQ(parsed("http://h#f").text(), "http://h/");
    EXPECT_EQ(parsed("http://h/p?q#f?x").text(), "http://h/p?q");
    EXPECT_EQ(parsed("http://h/a:b@c").text(), "http://h/a:b@c");
}

TEST(Url, AddressesAreHosts) {
    EXPECT_EQ(parsed("http://127.0.0.1:8080/").host(), "127.0.0.1");
    const Url v6 = parsed("http://[2001:DB8::1]:8080/x");
    EXPECT_EQ(v6.host(), "2001:db8::1");
    EXPECT_EQ(v6.port(), 8080);
    EXPECT_EQ(v6.text(), "http://[2001:db8::1]:8080/x");
    EXPECT_EQ(v6.origin(), "http://[2001:db8::1]:8080");
    EXPECT_EQ(parsed("http://[::1]").port(), 80);
}

TEST(Url, Ipv6Forms) {
    for (const char* good :
         {"::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "fe80::1:2",
          "::ffff:10.0.0.1", "1:2:3:4:5:6:255.0.0.9", "abcd::EF01"}) {
        EXPECT_EQ(wrong_part("http://[" + std::string(good) + "]/"), std::nullopt) << good;
    }
    for (const char* bad :
         {"", ":", ":::", "1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1::",
          "12345::", "g::", "fe80::1%25eth0", "::1.2.3", "::1.2.3.256", "::1.2.3.04",
          "1.2.3.4::", "1:2:3:4:5:6:7:1.2.3.4", "1::2:3:4:5:6:7:8", ":1:2:3:4:5:6:7", "::1:"}) {
        EXPECT_EQ(wrong_part("http://[" + std::string(bad) + "]/"), UrlPart::host) << bad;
    }
    EXPECT_EQ(wrong_part("http://[::1/"), UrlPart::host);
    EXPECT_EQ(wrong_part("http://[::1]x/"), UrlPart::host);
    EXPECT_EQ(wrong_part("http://::1/"), UrlPart::host);
}

TEST(Url, OnlyHttpAndHttps) {
    EXPECT_EQ(wrong_part("ftp://h/"), UrlPart::scheme);
    EXPECT_EQ(wrong_part("file:///etc/passwd"), UrlPart::scheme);
    EXPECT_EQ(wrong_part("://h/"), UrlPart::scheme);
    EXPECT_EQ(wrong_part("h/path"), UrlPart::scheme);
    EXPECT_EQ(wrong_part("http:/h/"), UrlPart::scheme);
    EXPECT_EQ(wrong_part("//h/"), UrlPart::scheme);
    EXPECT_EQ(wrong_part(""), UrlPart::scheme);
    EXPECT_EQ(Url::parse("gopher://h/").error().detail,
              "The scheme is \"gopher\". Only http and https are supported.");
}

TEST(Url, WhatHasNoSchemeIsShownWithoutWhatMayBeSecret) {
    const auto message = [](const std::string& text) { return Url::parse(text).error().message; };
    const auto shows = [](const std::string& shown) {
        return "invalid URL \"" + shown + "\": Unsupported URL scheme";
    };
    EXPECT_EQ(message("/path"), shows("/path"));
    EXPECT_EQ(message("h:80"), shows("h:80"));
    EXPECT_EQ(message(""), shows(""));
    EXPECT_EQ(message("ftp://h/"), shows("ftp://h/"));
    EXPECT_EQ(message("h/?key=hunter2"), shows("h/..."));
    EXPECT_EQ(message("h/#hunter2"), shows("h/..."));
    EXPECT_EQ(message("user:hunter2@h"), shows("..."));
    EXPECT_EQ(message("ftp://user:hunter2@h/"), shows("..."));
    EXPECT_EQ(message("h\xC3\xA9"), shows("h??"));
    EXPECT_EQ(message(std::string(64, 'x')), shows(std::string(64, 'x')));
    EXPECT_EQ(message(std::string(65, 'x')), shows(std::string(64, 'x') + "..."));
}

TEST(Url, NoCredentialsAndNotAWordOfThemInTheError) {
    for (const char* text : {"http://user:hunter2@h/", "http://hunter2@h/", "http://@h/",
                             "http://good\\@hunter2/", "http://a:hunter2@b@c/"}) {
        const auto url = Url::parse(text);
        ASSERT_FALSE(url) << text;
        EXPECT_EQ(url.error().part, UrlPart::credentials) << text;
        EXPECT_EQ(url.error().message, "URL must not contain credentials");
        EXPECT_EQ(url.error().detail.find("hunter2"), std::string::npos);
    }
}

TEST(Url, PortsFrom1To65535) {
    EXPECT_EQ(parsed("http://h:1/").port(), 1);
    EXPECT_EQ(parsed("http://h:65535").port(), 65535);
    for (const char* port : {"0", "65536", "99999", "100000", "4294967376", "-1", "+1", "80a",
                             "8 0", "0x50", "80:80"}) {
        const auto part = wrong_part("http://h:" + std::string(port) + "/");
        ASSERT_TRUE(part.has_value()) << port;
        EXPECT_TRUE(part == UrlPart::port || part == UrlPart::whole) << port;
    }
}

TEST(Url, HostNames) {
    const std::string label(63, 'a');
    const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
    EXPECT_EQ(wrong_part("http://" + longest), std::nullopt);
    EXPECT_EQ(wrong_part("http://my_service.internal./"), std::nullopt);
    EXPECT_EQ(wrong_part("http://xn--bcher-kva.example/"), std::nullopt);
    EXPECT_EQ(wrong_part("http://" + longest + "b"), UrlPart::host);
    EXPECT_EQ(wrong_part("http://" + label + "a.example/"), UrlPart::host);
    for (const char* host : {"", ".", "a..b", ".a", "a..",
                             "b\xc3\xbc"
                             "cher.example",
                             "%6c", "a,b", "a\\b", "*"}) {
        EXPECT_EQ(wrong_part("http://" + std::string(host) + "/"), UrlPart::host) << host;
    }
}

TEST(Url, NoSpacesAndControlCharactersAnywhere) {
    for (const char* text : {"http://h/a b", " http://h/", "http://h/ ", "http://h/\n",
                             "http://h/\x7f", "http://h\r\nX: y/", "http://h/?a\tb"}) {
        EXPECT_EQ(wrong_part(text), UrlPart::whole) << text;
    }
    EXPECT_EQ(wrong_part(std::string_view("http://h/\0", 10)), UrlPart::whole);
    EXPECT_EQ(wrong_part("http://h/\xc3\xbc"), std::nullopt);
}

TEST(Url, HasAMaximalLength) {
    const std::string head = "http://h/";
    EXPECT_EQ(wrong_part(head + std::string(kMaxUrlBytes - head.size(), 'p')), std::nullopt);
    EXPECT_EQ(wrong_part(head + std::string(kMaxUrlBytes - head.size() + 1, 'p')), UrlPart::whole);
}

TEST(Url, ParametersAreEncodedAndAppended) {
    const Url url = parsed("http://h/p#f").with_parameter("a b", "1&2=\xc3\xbc").value();
    EXPECT_EQ(url.text(), "http://h/p?a%20b=1%262%3D%C3%BC");
    EXPECT_EQ(url.with_parameter("x", "").value().text(), "http://h/p?a%20b=1%262%3D%C3%BC&x=");
    EXPECT_EQ(parsed("http://h?").with_parameter("x", "1").value().text(), "http://h/?x=1");
    EXPECT_EQ(parsed("http://h?y=2&").with_parameter("x", "1").value().text(), "http://h/?y=2&x=1");
    EXPECT_EQ(url.host(), "h");
}

TEST(Url, EncodedQueriesAreAppendedAsTheyAre) {
    EXPECT_EQ(parsed("http://h").with_query("a=%20&b").value().text(), "http://h/?a=%20&b");
    EXPECT_EQ(parsed("http://h/?z").with_query("").value().text(), "http://h/?z");
    EXPECT_FALSE(parsed("http://h").with_query("a b"));
    EXPECT_FALSE(parsed("http://h").with_query("a\r\nb"));
    EXPECT_EQ(parsed("http://h").with_query("a#b").error().part, UrlPart::path);
    EXPECT_FALSE(parsed("http://h").with_query(std::string(kMaxUrlBytes, 'a')));
}

TEST(PercentEncode, KeepsTheUnreservedCharactersOnly) {
    EXPECT_EQ(percent_encode("AZaz09-._~"), "AZaz09-._~");
    EXPECT_EQ(percent_encode(" +/?&=%#"), "%20%2B%2F%3F%26%3D%25%23");
    EXPECT_EQ(percent_encode(std::string_view("\0\x7f\xff", 3)), "%00%7F%FF");
    EXPECT_EQ(percent_encode(""), "");
}

}  // namespace
}  // namespace securatlas::core
