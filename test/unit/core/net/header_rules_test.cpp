#include "securatlas/core/net/header_rules.hpp"

#include <gtest/gtest.h>

#include <array>

namespace securatlas::core {
namespace {

std::optional<HeaderPart> wrong_part(std::string name, std::string value) {
    const auto error = check_header({std::move(name), std::move(value)});
    if (!error) return std::nullopt;
    EXPECT_FALSE(error->message.empty());
    EXPECT_TRUE(error->detail.ends_with('.')) << error->detail;
    return error->part;
}

TEST(CheckHeader, NamesAreTokens) {
    for (const char* name : {"Content-Type", "x", "X_1", "!#$%&'*+-.^_`|~9Az"}) {
        EXPECT_EQ(wrong_part(name, "v"), std::nullopt) << name;
    }
    for (const char* name : {"", " ", "a b", "a:", ":path", "a\r", "a\nb", "a\t", "a/b", "(a)",
                             "a@b", "a\"", "\xc3\xbc", "a\x7f"}) {
        EXPECT_EQ(wrong_part(name, "v"), HeaderPart::name) << name;
    }
    EXPECT_EQ(wrong_part(std::string("a\0b", 3), "v"), HeaderPart::name);
}

TEST(CheckHeader, ValuesHaveNoControlCharactersButTabs) {
    for (const char* value : {"", " ", "text/plain; charset=utf-8", "a\tb", "gr\xc3\xbc\xc3\x9f"}) {
        EXPECT_EQ(wrong_part("X", value), std::nullopt) << value;
    }
    for (const char* value : {"a\r\nEvil: 1", "a\r", "\nb", "a\x01", "a\x7f"}) {
        EXPECT_EQ(wrong_part("X", value), HeaderPart::value) << value;
    }
    EXPECT_EQ(wrong_part("X", std::string("a\0b", 3)), HeaderPart::value);
}

TEST(CheckHeader, LengthsAreLimited) {
    EXPECT_EQ(wrong_part(std::string(kMaxHeaderNameBytes, 'n'), ""), std::nullopt);
    EXPECT_EQ(wrong_part(std::string(kMaxHeaderNameBytes + 1, 'n'), ""), HeaderPart::name);
    EXPECT_EQ(wrong_part("n", std::string(kMaxHeaderValueBytes, 'v')), std::nullopt);
    EXPECT_EQ(wrong_part("n", std::string(kMaxHeaderValueBytes + 1, 'v')), HeaderPart::value);
}

TEST(CheckHeader, TheErrorNamesTheHeaderAndHidesItsValue) {
    const auto error = check_header({"Authorization", "Bearer hunter2\n"});
    ASSERT_TRUE(error.has_value());
    EXPECT_EQ(error->message, "invalid value of HTTP header \"Authorization\"");
    EXPECT_EQ(error->detail.find("hunter2"), std::string::npos);
}

TEST(SensitiveHeader, CredentialsInAnyCase) {
    for (const char* name :
         {"Authorization", "AUTHORIZATION", "Proxy-Authorization", "Cookie", "Set-Cookie", "apikey",
          "X-Api-Key", "api_key", "X-Auth-Token", "PRIVATE-TOKEN", "X-Vault-Token", "X-Auth-Key",
          "Client-Secret", "x-functions-key", "Ocp-Apim-Subscription-Key", "X-Password"}) {
        EXPECT_TRUE(is_sensitive_header(name)) << name;
    }
    for (const char* name : {"Content-Type", "Accept", "User-Agent", "Idempotency-Key",
                             "X-Request-Id", "ETag", "If-None-Match", "X-Auth-Email", "Monkey"}) {
        EXPECT_FALSE(is_sensitive_header(name)) << name;
    }
}

TEST(FramingHeader, IsTheTransportsOwn) {
    for (const char* name :
         {"Content-Length", "transfer-encoding", "CONNECTION", "Expect", "Upgrade"}) {
        EXPECT_TRUE(is_framing_header(name)) << name;
    }
    for (const char* name : {"Content-Type", "Host", "Content-Encoding", "Accept-Encoding", ""}) {
        EXPECT_FALSE(is_framing_header(name)) << name;
    }
}

TEST(FindHeader, TheFirstInAnyCase) {
    const std::array<Header, 3> headers = {
        {{"A", "1"}, {"Retry-After", "2"}, {"retry-after", "3"}}};
    ASSERT_NE(find_header(headers, "RETRY-AFTER"), nullptr);
    EXPECT_EQ(*find_header(headers, "RETRY-AFTER"), "2");
    EXPECT_EQ(find_header(headers, "Retry"), nullptr);
}

TEST(Charset, IsAParameterOfTheContentType) {
    EXPECT_EQ(charset("text/plain; charset=iso-8859-1"), "iso-8859-1");
    EXPECT_EQ(charset("text/html;Charset = \"UTF-8\" ; level=1"), "UTF-8");
    EXPECT_EQ(charset("multipart/x; boundary=a; charset=utf-8"), "utf-8");
    for (const auto* none :
         {"", "text/plain", "text/plain;", "text/plain; charset", "charset=utf-8",
          "text/plain; charset=", "text/plain; charset=\"\"", ";;;", "a; b=c"}) {
        EXPECT_EQ(charset(none), "") << none;
    }
}

}  // namespace
}  // namespace securatlas::core
