#include "securatlas/core/net/retry_policy.hpp"

#include <gtest/gtest.h>

#include <array>

#include "securatlas/core/backoff.hpp"

namespace securatlas::core {
namespace {

using std::chrono_literals::operator""h;
using std::chrono_literals::operator""s;

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

TEST(RetryAfter, IsAnHourAtTheMost) {
    EXPECT_EQ(capped_retry_after(1s), 1s);
    EXPECT_EQ(capped_retry_after(3600s), 1h);
    EXPECT_EQ(capped_retry_after(3601s), 1h);
    EXPECT_EQ(capped_retry_after((std::chrono::seconds::max)()), 1h);
}

TEST(RetryAfter, NoWaitAndOneInThePastAreNone) {
    EXPECT_EQ(capped_retry_after(0s), std::nullopt);
    EXPECT_EQ(capped_retry_after(-1s), std::nullopt);
    EXPECT_EQ(capped_retry_after((std::chrono::seconds::min)()), std::nullopt);
}

}  // namespace
}  // namespace securatlas::core
