#include "securatlas/core/net/breaker.hpp"

#include <gtest/gtest.h>

namespace securatlas::core {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double kNoJitter = 0.5;

class BreakerTest : public testing::Test {
  protected:
    void apply(BreakerEvent event, double random = kNoJitter) {
        breaker_.apply(event, now_, random);
    }
    void fail(int times) {
        for (int i = 0; i < times; ++i) apply(BreakerEvent::failed);
    }
    // Lets the pause pass, and returns how long it was.
    Duration fail_a_probe() {
        const Duration pause = breaker_.probe_at() - now_;
        now_ = breaker_.probe_at();
        apply(BreakerEvent::probe_started);
        apply(BreakerEvent::probe_failed);
        return pause;
    }

    Breaker breaker_;
    Duration now_ = seconds(1000);
};

TEST_F(BreakerTest, OpensAfterFiveFailuresInARow) {
    fail(4);
    EXPECT_EQ(breaker_.state(), BreakerState::closed);
    apply(BreakerEvent::answered);
    fail(4);
    EXPECT_EQ(breaker_.state(), BreakerState::closed);
    fail(1);
    EXPECT_EQ(breaker_.state(), BreakerState::open);
}

TEST_F(BreakerTest, LetsOneProbeThroughAfterASecond) {
    fail(5);
    EXPECT_EQ(breaker_.probe_at(), now_ + seconds(1));
    EXPECT_FALSE(breaker_.may_probe(now_ + seconds(1) - Duration(1)));
    now_ += seconds(1);
    EXPECT_TRUE(breaker_.may_probe(now_));
    apply(BreakerEvent::probe_started);
    EXPECT_EQ(breaker_.state(), BreakerState::half_open);
    EXPECT_FALSE(breaker_.may_probe(now_ + seconds(100)));
}

TEST_F(BreakerTest, AnAnsweredProbeClosesIt) {
    fail(5);
    fail_a_probe();
    fail_a_probe();
    EXPECT_EQ(breaker_.probe_failed_at(), now_);
    now_ = breaker_.probe_at();
    apply(BreakerEvent::probe_started);
    apply(BreakerEvent::probe_answered);
    EXPECT_EQ(breaker_.state(), BreakerState::closed);
    EXPECT_EQ(breaker_.probe_failed_at(), std::nullopt);
    fail(4);
    EXPECT_EQ(breaker_.state(), BreakerState::closed);
    fail(1);
    EXPECT_EQ(breaker_.probe_at(), now_ + seconds(1));
}

TEST_F(BreakerTest, EachFailedProbeDoublesThePauseUpToAMinute) {
    fail(5);
    for (const int expected : {1, 2, 4, 8, 16, 32, 60, 60, 60}) {
        EXPECT_EQ(fail_a_probe(), seconds(expected));
        EXPECT_EQ(breaker_.probe_failed_at(), now_);
    }
}

TEST_F(BreakerTest, TheJitterIsAQuarterEachWay) {
    fail(4);
    apply(BreakerEvent::failed, 0.0);
    EXPECT_EQ(breaker_.probe_at(), now_ + milliseconds(750));
    now_ = breaker_.probe_at();
    apply(BreakerEvent::probe_started);
    apply(BreakerEvent::probe_failed, 1.0);
    EXPECT_EQ(breaker_.probe_at(), now_ + milliseconds(2500));
}

TEST_F(BreakerTest, AfterAProbeThatWasGivenUpTheNextMayProbeAtOnce) {
    fail(5);
    fail_a_probe();
    const Duration failed_at = now_;
    now_ = breaker_.probe_at();
    apply(BreakerEvent::probe_started);
    now_ += seconds(3);
    apply(BreakerEvent::probe_given_up);
    EXPECT_TRUE(breaker_.may_probe(now_));
    EXPECT_EQ(breaker_.probe_failed_at(), failed_at);
    EXPECT_EQ(fail_a_probe(), seconds(0));
    EXPECT_EQ(breaker_.probe_at(), now_ + seconds(4));
}

TEST_F(BreakerTest, FailuresOfWhatWasSentBeforeDoNotProlongThePause) {
    fail(5);
    const Duration probe_at = breaker_.probe_at();
    now_ += milliseconds(500);
    fail(7);
    EXPECT_EQ(breaker_.probe_at(), probe_at);
    now_ = probe_at;
    apply(BreakerEvent::probe_started);
    fail(7);
    EXPECT_EQ(breaker_.state(), BreakerState::half_open);
}

TEST_F(BreakerTest, AnAnswerToWhatWasSentBeforeClosesIt) {
    fail(5);
    apply(BreakerEvent::answered);
    EXPECT_EQ(breaker_.state(), BreakerState::closed);

    fail(5);
    now_ = breaker_.probe_at();
    apply(BreakerEvent::probe_started);
    apply(BreakerEvent::answered);
    EXPECT_EQ(breaker_.state(), BreakerState::closed);
    apply(BreakerEvent::probe_given_up);
    EXPECT_EQ(breaker_.state(), BreakerState::closed);
    // The probe is a request like the others by now.
    fail(4);
    apply(BreakerEvent::probe_failed);
    EXPECT_EQ(breaker_.state(), BreakerState::open);
    EXPECT_EQ(breaker_.probe_failed_at(), std::nullopt);
}

}  // namespace
}  // namespace securatlas::core
