#include "securatlas/core/securatlas/token_answer.hpp"

#include <gtest/gtest.h>

namespace securatlas::core {
namespace {

using std::chrono::hours;
using std::chrono::seconds;

TEST(TokenAnswer, OfASuccess) {
    const TokenAnswer answer = read_token_answer(
        R"({"access_token": "2YotnFZFEjr1zCsicMWpAA", "token_type": "example", "expires_in": 3600,
            "refresh_token": "tGzv3JOkF0XG5Qx2TlKWIA", "example_parameter": "example_value"})");
    EXPECT_EQ(answer.access_token, "2YotnFZFEjr1zCsicMWpAA");
    EXPECT_EQ(answer.refresh_token, "tGzv3JOkF0XG5Qx2TlKWIA");
    EXPECT_EQ(answer.lifetime, seconds(3600));
    EXPECT_EQ(answer.error, "");
}

TEST(TokenAnswer, NeedsNothingButAnAccessToken) {
    const TokenAnswer answer = read_token_answer(R"({"access_token": "a"})");
    EXPECT_EQ(answer.access_token, "a");
    EXPECT_EQ(answer.refresh_token, std::nullopt);
    EXPECT_EQ(answer.lifetime, hours(1));
    EXPECT_EQ(answer.error, "");
}

TEST(TokenAnswer, OfAnError) {
    const TokenAnswer answer = read_token_answer(
        R"({"error": "invalid_grant", "error_description": "it was revoked", "error_uri": "x"})");
    EXPECT_EQ(answer.access_token, std::nullopt);
    EXPECT_EQ(answer.error, "invalid_grant");
}

TEST(TokenAnswer, RepeatsWellKnownErrorsOnly) {
    EXPECT_EQ(read_token_answer(R"({"error": "access-1-of-tenant"})").error, "an unknown error");
    EXPECT_EQ(read_token_answer(R"({"error": {"code": 7}})").error, "an unknown error");
    EXPECT_EQ(read_token_answer(R"({"error": ["invalid_grant"]})").error, "an unknown error");
    EXPECT_EQ(read_token_answer(R"({"error": null})").error, "an unknown error");
    EXPECT_EQ(read_token_answer(R"({"error": 1})").error, "an unknown error");
    EXPECT_EQ(read_token_answer(R"({"error": ""})").error, "an unknown error");
    EXPECT_EQ(read_token_answer(R"({"error": "Invalid_Grant"})").error, "an unknown error");
}

TEST(TokenAnswer, KeepsATokenThatComesWithAnError) {
    const TokenAnswer answer = read_token_answer(R"({"access_token": "a", "error": "slow_down"})");
    EXPECT_EQ(answer.access_token, "a");
    EXPECT_EQ(answer.error, "slow_down");
}

TEST(TokenAnswer, NoJsonObject) {
    for (const char* body : {"",
                             " ",
                             "null",
                             "true",
                             "1",
                             "\"access_token\"",
                             "[]",
                             R"([{"access_token": "a"}])",
                             "<html><body>Bad gateway</body></html>",
                             R"({"access_token": "a")",
                             "{",
                             R"({"access_token": "a"} x)",
                             R"({"access_token": "a"}{"access_token": "b"})",
                             R"({'access_token': 'a'})",
                             R"({"access_token": "a",})",
                             "access_token=a&expires_in=3600",
                             "{\"access_token\": \"\xff\"}",
                             "{\"access_token\": \"a\nb\"}",
                             R"({"a": 1e999})",
                             R"({"access_token": "\ud800"})",
                             "{\"access_token\": \"a\"}\xff"}) {
        const TokenAnswer answer = read_token_answer(body);
        EXPECT_EQ(answer.error, "no JSON object") << body;
        EXPECT_EQ(answer.access_token, std::nullopt) << body;
        EXPECT_EQ(answer.lifetime, hours(1)) << body;
    }
}

TEST(TokenAnswer, WhatIsNoToken) {
    for (const char* body :
         {R"({})", R"({"access_token": ""})", R"({"access_token": null})", R"({"access_token": 1})",
          R"({"access_token": true})", R"({"access_token": ["a"]})",
          R"({"access_token": {"access_token": "a"}})", R"({"Access_Token": "a"})",
          R"({"access_token": "a\nb"})", R"({"access_token": "a\u0000b"})",
          R"({"access_token": "Zürich"})", R"({"token": {"access_token": "a"}})",
          R"({"refresh_token": "r"})"}) {
        const TokenAnswer answer = read_token_answer(body);
        EXPECT_EQ(answer.access_token, std::nullopt) << body;
        EXPECT_EQ(answer.error, "no access token") << body;
    }
    EXPECT_EQ(
        read_token_answer(R"({"access_token": "a", "refresh_token": "\u00e9"})").refresh_token,
        std::nullopt);
    EXPECT_EQ(read_token_answer(R"({"access_token": " ~", "refresh_token": ""})").access_token,
              " ~");
}

TEST(TokenAnswer, OfMembersThatComeTwiceTheLastCounts) {
    EXPECT_EQ(read_token_answer(R"({"access_token": "a", "access_token": "b"})").access_token, "b");
    EXPECT_EQ(read_token_answer(R"({"access_token": "a", "access_token": 1})").access_token,
              std::nullopt);
    EXPECT_EQ(
        read_token_answer(R"({"access_token": "a", "access_token": {"x": "y"}})").access_token,
        std::nullopt);
    EXPECT_EQ(
        read_token_answer(R"({"access_token": "a", "expires_in": 5, "expires_in": 7})").lifetime,
        seconds(7));
}

std::chrono::microseconds lifetime(const std::string& expires_in) {
    return read_token_answer(R"({"access_token": "a", "expires_in": )" + expires_in + "}").lifetime;
}

TEST(TokenAnswer, Lifetime) {
    EXPECT_EQ(lifetime("1"), seconds(1));
    EXPECT_EQ(lifetime("\"7200\""), seconds(7200));
    EXPECT_EQ(lifetime("3.6e3"), seconds(3600));
    EXPECT_EQ(lifetime("0.5"), std::chrono::milliseconds(500));
    EXPECT_EQ(lifetime("\"0.5\""), std::chrono::milliseconds(500));
    EXPECT_EQ(lifetime("1e-300"), std::chrono::microseconds(1));
    for (const char* none :
         {"0", "-1", "-1e300", "null", "true", "[5]", "{\"expires_in\": 5}", "\"\"", "\"soon\"",
          "\" 5\"", "\"5 \"", "\"-5\"", "\"0x10\"", "\"nan\"", "\"1h\""}) {
        EXPECT_EQ(lifetime(none), hours(1)) << none;
    }
}

TEST(TokenAnswer, TenYearsAreForEver) {
    const auto ten_years = seconds(315'360'000);
    for (const char* huge :
         {"315360000", "315360001", "9223372036854775807", "18446744073709551615",
          "18446744073709551616", "1e308", "\"99999999999999999999999999\"", "\"inf\""}) {
        EXPECT_EQ(lifetime(huge), ten_years) << huge;
    }
    EXPECT_EQ(lifetime("\"" + std::string(400, '9') + "\""), ten_years);
}

std::string nested(int depth) {
    return R"({"access_token": "a", "x": )" + std::string(static_cast<std::size_t>(depth), '[') +
           std::string(static_cast<std::size_t>(depth), ']') + "}";
}

TEST(TokenAnswer, DepthIsBounded) {
    EXPECT_EQ(read_token_answer(nested(31)).access_token, "a");
    EXPECT_EQ(read_token_answer(nested(32)).error, "no JSON object");
    EXPECT_EQ(read_token_answer(nested(1'000'000)).error, "no JSON object");
    EXPECT_EQ(read_token_answer(std::string(1'000'000, '[')).error, "no JSON object");
}

}  // namespace
}  // namespace securatlas::core
