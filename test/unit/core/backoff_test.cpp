#include "securatlas/core/backoff.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace securatlas::core {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

constexpr double kMiddle = 0.5;
constexpr double kAlmostOne = 0.9999999999;
constexpr int kMaxInt = (std::numeric_limits<int>::max)();

TEST(RetryDelay, DoublesWithEachAttempt) {
    EXPECT_EQ(retry_delay(minutes(1), 1, kMiddle), minutes(1));
    EXPECT_EQ(retry_delay(minutes(1), 2, kMiddle), minutes(2));
    EXPECT_EQ(retry_delay(minutes(1), 3, kMiddle), minutes(4));
    EXPECT_EQ(retry_delay(minutes(1), 6, kMiddle), minutes(32));
}

TEST(RetryDelay, IsAnHourAtTheMostBeforeJitter) {
    EXPECT_EQ(retry_delay(minutes(1), 7, kMiddle), hours(1));
    EXPECT_EQ(retry_delay(minutes(1), kMaxInt, kMiddle), hours(1));
    EXPECT_EQ(retry_delay(hours(30), 1, kMiddle), hours(1));
    EXPECT_EQ(retry_delay((Duration::max)(), 2, kMiddle), hours(1));
    EXPECT_LE(retry_delay(hours(1), 1, kAlmostOne), minutes(75));
}

TEST(RetryDelay, HasAFactorOfThreeToFiveQuarters) {
    EXPECT_EQ(retry_delay(seconds(100), 1, 0.0), seconds(75));
    EXPECT_EQ(retry_delay(seconds(100), 1, 0.25), milliseconds(87'500));
    EXPECT_GT(retry_delay(seconds(100), 1, kAlmostOne), milliseconds(124'999));
    EXPECT_LE(retry_delay(seconds(100), 1, kAlmostOne), seconds(125));
}

TEST(RetryDelay, TakesWhatIsOutOfRangeAsTheNearestEnd) {
    EXPECT_EQ(retry_delay(seconds(10), 0, kMiddle), seconds(10));
    EXPECT_EQ(retry_delay(seconds(10), -3, kMiddle), seconds(10));
    EXPECT_EQ(retry_delay(seconds(-10), 3, kMiddle), seconds(0));
    EXPECT_EQ(retry_delay(seconds(0), kMaxInt, kMiddle), seconds(0));
    EXPECT_EQ(retry_delay(seconds(100), 1, -1.0), seconds(75));
    EXPECT_EQ(retry_delay(seconds(100), 1, 7.0), seconds(125));
    EXPECT_EQ(retry_delay(seconds(100), 1, std::numeric_limits<double>::quiet_NaN()), seconds(75));
}

TEST(RequestRetryDelay, CoversTheWholeRangeFromZero) {
    EXPECT_EQ(request_retry_delay(1, 0.0), seconds(0));
    EXPECT_EQ(request_retry_delay(1, kMiddle), milliseconds(500));
    EXPECT_EQ(request_retry_delay(3, 0.0), seconds(0));
    EXPECT_EQ(request_retry_delay(3, kMiddle), seconds(2));
    EXPECT_GT(request_retry_delay(3, kAlmostOne), milliseconds(3'999));
    EXPECT_LE(request_retry_delay(3, kAlmostOne), seconds(4));
}

TEST(RequestRetryDelay, IsAnHourAtTheMost) {
    EXPECT_EQ(request_retry_delay(12, kMiddle), seconds(1'024));
    EXPECT_EQ(request_retry_delay(13, kMiddle), minutes(30));
    EXPECT_EQ(request_retry_delay(kMaxInt, kMiddle), minutes(30));
}

}  // namespace
}  // namespace securatlas::core
