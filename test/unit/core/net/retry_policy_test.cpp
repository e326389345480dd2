#include "securatlas/core/net/retry_policy.hpp"

#include <gtest/gtest.h>

#include <array>

#include "securatlas/core/backoff.hpp"

namespace securatlas::core {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""us;

constexpr std::array kAllModes = {RetryMode::never, RetryMode::unsent, RetryMode::idempotent,
                                  RetryMode::always};
constexpr std::array kAllMethods = {Method::get,   Method::head, Method::post,   Method::put,
                                    Method::patch, Method::del,  Method::options};

TEST(OutcomeOfStatus, SortsStatusCodes) {
    for (const int status : {200, 204, 301, 304, 400, 401, 404, 409, 422}) {
        EXPECT_EQ(outcome_of_status(status, false), Outcome::answered) << status;
        EXPECT_EQ(outcome_of_status(status, true), Outcome::answered) << status;
    }
    for (const int status : {408, 425, 500, 502, 503, 504, 599}) {
        EXPECT_EQ(outcome_of_status(status, false), Outcome::unsettled) << status;
    }
    EXPECT_EQ(outcome_of_status(429, false), Outcome::throttled);
    EXPECT_EQ(outcome_of_status(503, true), Outcome::throttled);
    EXPECT_EQ(outcome_of_status(500, true), Outcome::unsettled);
}

TEST(ShouldRetry, AFinalOutcomeIsFinalInEveryMode) {
    for (const RetryMode mode : kAllModes) {
        for (const Method method : kAllMethods) {
            EXPECT_FALSE(should_retry(mode, Outcome::answered, method, true));
            EXPECT_FALSE(should_retry(mode, Outcome::invalid, method, true));
        }
    }
}

TEST(ShouldRetry, WhatWasNotProcessedIsRetriedInEveryModeButNever) {
    for (const Outcome outcome : {Outcome::unsent, Outcome::throttled}) {
        EXPECT_FALSE(should_retry(RetryMode::never, outcome, Method::get, true));
        EXPECT_TRUE(should_retry(RetryMode::unsent, outcome, Method::post, false));
        EXPECT_TRUE(should_retry(RetryMode::idempotent, outcome, Method::post, false));
        EXPECT_TRUE(should_retry(RetryMode::always, outcome, Method::post, false));
    }
}

TEST(ShouldRetry, WhatMayHaveBeenProcessedDependsOnTheModeAndTheMethod) {
    for (const Outcome outcome : {Outcome::timed_out, Outcome::broken, Outcome::unsettled}) {
        for (const Method method : kAllMethods) {
            EXPECT_FALSE(should_retry(RetryMode::never, outcome, method, true));
            EXPECT_FALSE(should_retry(RetryMode::unsent, outcome, method, true));
            EXPECT_TRUE(should_retry(RetryMode::idempotent, outcome, method, true));
            EXPECT_TRUE(should_retry(RetryMode::always, outcome, method, false));
            const bool repeats_safely = method != Method::post && method != Method::patch;
            EXPECT_EQ(should_retry(RetryMode::idempotent, outcome, method, false), repeats_safely)
                << method_name(method);
        }
    }
}

TEST(RetryMode, NamesAndBack) {
    for (const RetryMode mode : kAllModes) {
        EXPECT_EQ(parse_retry_mode(retry_mode_name(mode)), mode);
    }
    EXPECT_EQ(parse_retry_mode("idempotent"), RetryMode::idempotent);
    EXPECT_EQ(parse_retry_mode("Always"), std::nullopt);
    EXPECT_EQ(parse_retry_mode(""), std::nullopt);
}

TEST(Method, NamesAndBack) {
    for (const Method method : kAllMethods) EXPECT_EQ(parse_method(method_name(method)), method);
    EXPECT_EQ(parse_method("delete"), Method::del);
    EXPECT_EQ(parse_method("CONNECT"), std::nullopt);
    EXPECT_EQ(parse_method("GET "), std::nullopt);
    EXPECT_EQ(parse_method(""), std::nullopt);
}

// 1994-11-06 08:49:37 UTC, the example of RFC 9110.
constexpr Instant kExample =
    std::chrono::sys_days(std::chrono::year(1994) / 11 / 6) + 8h + 49min + 37s;

TEST(RetryAfter, Seconds) {
    EXPECT_EQ(parse_retry_after("0", kExample), 0s);
    EXPECT_EQ(parse_retry_after("120", kExample), 120s);
    EXPECT_EQ(parse_retry_after(" \t7 ", kExample), 7s);
    EXPECT_EQ(parse_retry_after("3600", kExample), 1h);
}

TEST(RetryAfter, IsAnHourAtTheMost) {
    EXPECT_EQ(parse_retry_after("3601", kExample), 1h);
    EXPECT_EQ(parse_retry_after("99999999999999999999999999", kExample), 1h);
    EXPECT_EQ(parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", kExample), 1h);
    EXPECT_EQ(parse_retry_after("Fri, 31 Dec 9999 23:59:59 GMT", kLongAgo), 1h);
}

TEST(RetryAfter, TheThreeFormsOfADate) {
    const Instant now = kExample - 90s;
    EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), 90s);
    EXPECT_EQ(parse_retry_after("Sunday, 06-Nov-94 08:49:37 GMT", now), 90s);
    EXPECT_EQ(parse_retry_after("Sun Nov  6 08:49:37 1994", now), 90s);
    EXPECT_EQ(parse_retry_after("Wed Nov 16 08:49:37 1994", kExample + 240h - 1us), 1us);
}

TEST(RetryAfter, APastDateMeansNow) {
    EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", kExample), 0s);
    EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", kExample + 1us), 0s);
    EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", kNever), 0s);
}

TEST(RetryAfter, TwoDigitsOfAYearAreTheNearestCentury) {
    const auto new_year = [](int year) {
        return Instant(std::chrono::sys_days(std::chrono::year(year) / 1 / 1));
    };
    EXPECT_EQ(parse_retry_after("Friday, 01-Jan-27 00:00:00 GMT", new_year(2027) - 5s), 5s);
    EXPECT_EQ(parse_retry_after("Wednesday, 01-Jan-76 00:00:00 GMT", new_year(2026)), 1h);
    EXPECT_EQ(parse_retry_after("Saturday, 01-Jan-77 00:00:00 GMT", new_year(2026)), 0s);
}

TEST(RetryAfter, AnythingElseIsNothing) {
    for (const char* text : {"",
                             " ",
                             "-1",
                             "+1",
                             "1.5",
                             "1 2",
                             "1s",
                             "soon",
                             "Sun, 06 Nov 1994 08:49:37",
                             "Sun, 06 Nov 1994 08:49:37 UTC",
                             "Sun, 06 Nov 1994 08:49:37 GMT+1",
                             "Sun, 31 Feb 1994 08:49:37 GMT",
                             "Sun, 06 Nov 1994 24:00:00 GMT",
                             "Sun, 06 Nov 1994 08:60:00 GMT",
                             "Sun, 6 Nov 1994 08:49:37 GMT",
                             "Sun, 06 nov 1994 08:49:37 GMT",
                             "Xxx, 06 Nov 1994 08:49:37 GMT",
                             "Sun",
                             "Sunday, 06-Nov-1994 08:49:37 GMT",
                             "Sun Nov 6 08:49:37 1994",
                             "Sun, 00 Nov 1994 08:49"}) {
        EXPECT_EQ(parse_retry_after(text, kExample), std::nullopt) << text;
    }
}

}  // namespace
}  // namespace securatlas::core
