#include "securatlas/core/net/host_limits.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace securatlas::core {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class HostLimitsTest : public testing::Test {
  protected:
    HostDecision ask(const std::string& host) { return limits_.decide(host, now_, now_); }
    bool starts(const std::string& host) { return std::holds_alternative<StartNow>(ask(host)); }
    bool probes(const std::string& host) {
        const HostDecision decision = ask(host);
        const auto* start = std::get_if<StartNow>(&decision);
        return start != nullptr && start->is_probe;
    }
    // nullopt: it need not wait, or nobody knows how long.
    std::optional<Duration> wait(const std::string& host) {
        const HostDecision decision = ask(host);
        const auto* wait = std::get_if<WaitFor>(&decision);
        return wait != nullptr ? wait->until : std::nullopt;
    }
    // Starts as many as are allowed now, and returns how many.
    int start_all(const std::string& host) {
        int count = 0;
        while (starts(host)) ++count;
        return count;
    }
    void end(const std::string& host, Outcome outcome = Outcome::answered, bool is_probe = false) {
        const std::string error = outcome == Outcome::answered ? "" : "it is dead";
        limits_.ended(host, is_probe, outcome, milliseconds(20), error, now_, 0.5);
    }
    void open_breaker(const std::string& host) {
        for (int i = 0; i < Breaker::kFailuresToOpen; ++i) {
            ASSERT_TRUE(starts(host));
            end(host, Outcome::unsent);
        }
    }
    HostStatistics statistics(const std::string& host) {
        const auto all = limits_.statistics(now_);
        const auto found = std::ranges::find(all, host, &HostStatistics::host);
        EXPECT_NE(found, all.end()) << host;
        return found == all.end() ? HostStatistics{} : *found;
    }
    void limit_rate(double per_second) {
        limits_.configure(
            {.max_total = 1000, .max_per_host = 500, .requests_per_second = per_second});
    }

    HostLimits limits_{{.max_total = 64, .max_per_host = 10}};
    Duration now_ = seconds(1000);
};

// ---- slots ---------------------------------------------------------------------------------

TEST_F(HostLimitsTest, AHostGetsItsConnectionsAndNoMore) {
    EXPECT_EQ(start_all("a"), 10);
    EXPECT_EQ(wait("a"), std::nullopt);
    end("a");
    EXPECT_EQ(start_all("a"), 1);
    EXPECT_EQ(limits_.in_flight(), 10U);
}

TEST_F(HostLimitsTest, OneHostTakesHalfOfAllSlotsAndTwoAThirdEach) {
    limits_.configure({.max_total = 60, .max_per_host = 60});
    EXPECT_EQ(start_all("a"), 30);
    EXPECT_EQ(start_all("b"), 15);
    // `a` has more than its share by now, and gives it back before it starts more.
    for (int i = 0; i < 30; ++i) {
        end("a");
        while (starts("b")) {
        }
    }
    EXPECT_EQ(start_all("a"), 15);
    EXPECT_EQ(statistics("b").in_flight, 30U);
}

TEST_F(HostLimitsTest, AHostWithoutARequestGetsTheLastSlot) {
    limits_.configure({.max_total = 3, .max_per_host = 3});
    EXPECT_EQ(start_all("a"), 2);
    EXPECT_EQ(start_all("b"), 1);
    EXPECT_EQ(start_all("c"), 0);
    EXPECT_EQ(wait("c"), std::nullopt);
    end("a");
    EXPECT_EQ(start_all("c"), 1);
}

// A host may start another request while it has fewer in flight than there are free slots.
TEST_F(HostLimitsTest, AHostGetsAsManyAsAreFreeBesides) {
    for (const int total : {1, 2, 3, 7, 64}) {
        for (const int per_host : {1, 2, 5, 64}) {
            limits_ = HostLimits({.max_total = static_cast<std::size_t>(total),
                                  .max_per_host = static_cast<std::size_t>(per_host)});
            int free = total;
            for (const std::string host : {"a", "b", "c", "d"}) {
                const int started = start_all(host);
                EXPECT_EQ(started, std::min((free + 1) / 2, per_host)) << total << per_host << host;
                free -= started;
            }
        }
    }
}

TEST_F(HostLimitsTest, LimitsMayChangeWhileRequestsAreInFlight) {
    EXPECT_EQ(start_all("a"), 10);
    limits_.configure({.max_total = 4, .max_per_host = 2});
    EXPECT_EQ(start_all("b"), 0);
    for (int i = 0; i < 9; ++i) end("a");
    EXPECT_EQ(start_all("a"), 1);
    EXPECT_EQ(start_all("b"), 1);
    limits_.configure({.max_total = 0, .max_per_host = 0});
    EXPECT_EQ(start_all("b"), 0);
    end("a");
    end("a");
    end("b");
    EXPECT_EQ(start_all("b"), 1);
}

// ---- rate ----------------------------------------------------------------------------------

TEST_F(HostLimitsTest, ALowRateSpacesRequestsEvenly) {
    limit_rate(4);
    EXPECT_EQ(start_all("a"), 1);
    EXPECT_EQ(wait("a"), now_ + milliseconds(250));
    EXPECT_EQ(statistics("a").try_at, now_ + milliseconds(250));
    now_ += milliseconds(249);
    EXPECT_EQ(start_all("a"), 0);
    now_ += milliseconds(1);
    EXPECT_EQ(statistics("a").try_at, std::nullopt);
    EXPECT_EQ(start_all("a"), 1);
    EXPECT_EQ(start_all("b"), 1);
}

TEST_F(HostLimitsTest, AHighRateAllowsABurstOfATenthOfASecond) {
    limit_rate(100);
    EXPECT_EQ(start_all("a"), 10);
    EXPECT_EQ(wait("a"), now_ + milliseconds(10));
    now_ += milliseconds(35);
    EXPECT_EQ(start_all("a"), 3);
    now_ += seconds(100);
    EXPECT_EQ(start_all("a"), 10);
}

// However often and whenever the limiter is asked.
TEST_F(HostLimitsTest, TheRateHoldsOverAnyLongerTime) {
    for (const double rate : {3.0, 7.7, 60.0, 999.0}) {
        HostLimits limits({.max_total = 10, .max_per_host = 5, .requests_per_second = rate});
        int started = 0;
        Duration at = now_;
        for (int step = 0; at < now_ + seconds(20); ++step) {
            while (std::holds_alternative<StartNow>(limits.decide("a", at, at))) {
                ++started;
                limits.ended("a", false, Outcome::answered, Duration(1), "", at, 0.5);
            }
            at += Duration(1 + step * 7919 % 5000);
        }
        EXPECT_GE(started, static_cast<int>(19 * rate));
        EXPECT_LE(started, static_cast<int>(20.1 * rate) + 2);
    }
}

TEST_F(HostLimitsTest, ARaisedRateCountsAtOnce) {
    limit_rate(0.001);
    EXPECT_EQ(start_all("a"), 1);
    EXPECT_EQ(wait("a"), now_ + seconds(1000));
    limit_rate(10);
    EXPECT_EQ(wait("a"), now_ + milliseconds(100));
    limit_rate(0);
    EXPECT_TRUE(starts("a"));
}

TEST_F(HostLimitsTest, NoRateIsLowerThanOneAnHour) {
    limit_rate(1e-300);
    EXPECT_EQ(start_all("a"), 1);
    EXPECT_EQ(wait("a"), now_ + std::chrono::hours(1));
}

// ---- breaker -------------------------------------------------------------------------------

TEST_F(HostLimitsTest, AHostThatIsDownIsProbedOnce) {
    open_breaker("a");
    const Duration probe_at = now_ + seconds(1);
    EXPECT_EQ(wait("a"), probe_at);
    EXPECT_EQ(statistics("a").breaker, BreakerState::open);
    EXPECT_EQ(statistics("a").try_at, probe_at);
    EXPECT_TRUE(starts("b"));

    now_ = probe_at;
    EXPECT_TRUE(probes("a"));
    EXPECT_EQ(statistics("a").breaker, BreakerState::half_open);
    EXPECT_EQ(start_all("a"), 0);
    EXPECT_EQ(wait("a"), std::nullopt);
    end("a", Outcome::throttled, true);
    EXPECT_EQ(start_all("a"), 10);
}

TEST_F(HostLimitsTest, EveryKindOfFailureCountsAndNothingElse) {
    for (const Outcome failure : {Outcome::unsent, Outcome::timed_out, Outcome::broken}) {
        for (const Outcome other : {Outcome::answered, Outcome::throttled, Outcome::unsettled}) {
            for (int i = 0; i < 4; ++i) {
                ASSERT_TRUE(starts("a"));
                end("a", failure);
            }
            ASSERT_TRUE(starts("a"));
            end("a", other);
        }
    }
    EXPECT_EQ(statistics("a").breaker, BreakerState::closed);
    EXPECT_EQ(statistics("a").failures, 36);
    EXPECT_EQ(statistics("a").requests, 45);
    open_breaker("a");
    EXPECT_EQ(statistics("a").breaker, BreakerState::open);
}

TEST_F(HostLimitsTest, ARequestThatCannotBeSentSaysNothingAboutItsHost) {
    for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(starts("a"));
        end("a", Outcome::unsent);
    }
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(starts("a"));
        end("a", Outcome::invalid);
    }
    EXPECT_EQ(statistics("a").breaker, BreakerState::closed);
    EXPECT_EQ(statistics("a").requests, 4);
    ASSERT_TRUE(starts("a"));
    end("a", Outcome::unsent);
    EXPECT_EQ(statistics("a").breaker, BreakerState::open);
    now_ += seconds(1);
    EXPECT_TRUE(probes("a"));
    end("a", Outcome::invalid, true);
    EXPECT_TRUE(probes("a"));
}

TEST_F(HostLimitsTest, AFailedProbeFailsWhatHasWaitedSinceBefore) {
    open_breaker("a");
    const Duration before = now_;
    now_ += seconds(1);
    EXPECT_TRUE(std::holds_alternative<WaitFor>(limits_.decide("a", before, before)));
    ASSERT_TRUE(probes("a"));
    now_ += seconds(5);
    end("a", Outcome::timed_out, true);
    const HostDecision failed = limits_.decide("a", before, now_);
    ASSERT_TRUE(std::holds_alternative<HostIsDown>(failed));
    EXPECT_EQ(std::get<HostIsDown>(failed).error, "it is dead");
    // Those that come later wait for the next one.
    EXPECT_EQ(wait("a"), now_ + seconds(2));
    EXPECT_TRUE(std::holds_alternative<WaitFor>(limits_.decide("a", now_, now_)));

    const Duration between = now_;
    now_ += seconds(2);
    ASSERT_TRUE(probes("a"));
    EXPECT_TRUE(std::holds_alternative<WaitFor>(limits_.decide("a", between, now_)));
    EXPECT_TRUE(std::holds_alternative<HostIsDown>(limits_.decide("a", before, now_)));
    end("a", Outcome::answered, true);
    EXPECT_TRUE(std::holds_alternative<StartNow>(limits_.decide("a", before, now_)));
}

TEST_F(HostLimitsTest, AProbeThatWasGivenUpLetsTheNextOneProbe) {
    open_breaker("a");
    now_ += seconds(1);
    ASSERT_TRUE(probes("a"));
    limits_.given_up("a", true, now_);
    EXPECT_EQ(limits_.in_flight(), 0U);
    EXPECT_TRUE(probes("a"));
    EXPECT_FALSE(starts("a"));
}

TEST_F(HostLimitsTest, AProbeWaitsForItsSlotAndKeepsToTheRate) {
    limits_.configure({.max_total = 2, .max_per_host = 2, .requests_per_second = 0.2});
    ASSERT_TRUE(starts("a"));
    for (int i = 0; i < 5; ++i) {
        now_ += seconds(5);
        ASSERT_TRUE(starts("b"));
        end("b", Outcome::broken);
    }
    EXPECT_EQ(wait("b"), now_ + seconds(5));
    now_ += seconds(5);
    ASSERT_TRUE(starts("c"));
    EXPECT_FALSE(starts("b"));
    EXPECT_EQ(statistics("b").breaker, BreakerState::open);
    end("c");
    EXPECT_TRUE(probes("b"));
}

// ---- statistics and memory -----------------------------------------------------------------

TEST_F(HostLimitsTest, CountsAndKeepsTheLastDurations) {
    const auto run = [this](Duration duration) {
        ASSERT_TRUE(starts("a"));
        limits_.ended("a", false, Outcome::answered, duration, "", now_, 0.5);
    };
    ASSERT_TRUE(starts("a"));
    EXPECT_EQ(statistics("a").in_flight, 1U);
    EXPECT_EQ(statistics("a").p50, std::nullopt);
    end("a");
    EXPECT_EQ(statistics("a").in_flight, 0U);
    EXPECT_EQ(statistics("a").p50, milliseconds(20));
    EXPECT_EQ(statistics("a").last_error, "");
    for (int i = 0; i < 300; ++i) run(seconds(1000));
    for (int i = 100; i >= 1; --i) run(milliseconds(i));
    EXPECT_EQ(statistics("a").p95, seconds(1000));
    for (int i = 0; i < 28; ++i) run(milliseconds(1));
    EXPECT_EQ(statistics("a").p50, milliseconds(36));
    EXPECT_EQ(statistics("a").p95, milliseconds(94));
    EXPECT_EQ(statistics("a").requests, 429);
    ASSERT_TRUE(starts("a"));
    end("a", Outcome::broken);
    run(seconds(1));
    EXPECT_EQ(statistics("a").last_error, "it is dead");
    EXPECT_EQ(statistics("a").failures, 1);
}

TEST_F(HostLimitsTest, ForgetsTheHostsThatWereIdleForTheLongest) {
    limits_.configure({.max_total = 64, .max_per_host = 10});
    ASSERT_TRUE(starts("busy"));
    open_breaker("down");
    const auto run = [this](int from, int to) {
        for (int i = from; i < to; ++i) {
            ASSERT_TRUE(starts(std::to_string(i)));
            end(std::to_string(i));
        }
    };
    run(0, 9998);
    EXPECT_EQ(limits_.statistics(now_).size(), HostLimits::kMaxHosts);
    // Hosts with requests or an open breaker are listed first.
    const auto few = limits_.statistics(now_, 3);
    ASSERT_EQ(few.size(), 3U);
    for (const auto* host : {"busy", "down"}) {
        EXPECT_TRUE(few[0].host == host || few[1].host == host) << host;
    }
    run(0, 1);
    now_ += milliseconds(500);
    run(9998, 10'000);
    EXPECT_EQ(statistics("down").breaker, BreakerState::open);
    // The breaker's pause is over.
    now_ += milliseconds(500);
    run(10'000, 10'001);
    const auto all = limits_.statistics(now_);
    EXPECT_EQ(all.size(), HostLimits::kMaxHosts);
    const auto is_known = [&all](std::string_view host) {
        return std::ranges::find(all, host, &HostStatistics::host) != all.end();
    };
    EXPECT_TRUE(is_known("busy"));
    EXPECT_FALSE(is_known("down"));
    EXPECT_TRUE(is_known("0"));
    EXPECT_FALSE(is_known("1"));
    EXPECT_FALSE(is_known("2"));
    EXPECT_TRUE(is_known("3"));
    end("busy");
}

}  // namespace
}  // namespace securatlas::core
