#include "securatlas/core/securatlas/risk_score.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace securatlas::core {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

constexpr RiskRule kRule{.weights = {0.35, 0.25, 0.25, 0.15},
                         .penalties = {.critical = 10, .high = 5, .medium = 2, .low = 0.5}};

RiskScore score(const Posture& posture) { return score_risk(kRule, posture); }

TEST(RiskScore, WeighsTheFourCategories) {
    // 0.35 x 68 + 0.25 x 75 + 0.25 x 40 + 0.15 x 77.5 = 64.175
    const RiskScore result = score({.average_maturity = 3.4,
                                    .evidence_share = 0.75,
                                    .framework_readiness = 40,
                                    .open_findings = {1, 2, 1, 1},
                                    .breach_cost = 4'880'000,
                                    .annual_revenue = 10'000'000});
    EXPECT_DOUBLE_EQ(result.values.control_maturity, 68.0);
    EXPECT_DOUBLE_EQ(result.values.evidence_coverage, 75.0);
    EXPECT_DOUBLE_EQ(result.values.framework_compliance, 40.0);
    EXPECT_DOUBLE_EQ(result.values.integration_findings, 77.5);
    EXPECT_EQ(result.score, 64);
    // P = 0.80 - 0.75 x 0.64 = 0.32, of 30 % of the revenue
    EXPECT_DOUBLE_EQ(result.annualized_loss_expectancy.value(), 960'000.0);
}

TEST(RiskScore, TheBestPostureIs100) {
    const RiskScore result = score({.average_maturity = 5,
                                    .evidence_share = 1,
                                    .framework_readiness = 100,
                                    .breach_cost = 1'000'000});
    EXPECT_EQ(result.score, 100);
    EXPECT_NEAR(result.annualized_loss_expectancy.value(), 50'000.0, 1e-6);
}

TEST(RiskScore, TheWorstPostureIs0) {
    const RiskScore result = score({.average_maturity = 0,
                                    .evidence_share = 0,
                                    .framework_readiness = 0,
                                    .open_findings = {.critical = 10},
                                    .breach_cost = 1'000'000});
    EXPECT_EQ(result.score, 0);
    EXPECT_NEAR(result.annualized_loss_expectancy.value(), 800'000.0, 1e-6);
}

TEST(RiskScore, ATenantWithoutDataHasOnlyTheFindingsValue) {
    const RiskScore result = score({});
    EXPECT_EQ(result.values.control_maturity, 0.0);
    EXPECT_EQ(result.values.evidence_coverage, 0.0);
    EXPECT_EQ(result.values.framework_compliance, 0.0);
    EXPECT_EQ(result.values.integration_findings, 100.0);
    EXPECT_EQ(result.score, 15);
}

TEST(RiskScore, EachSeverityHasItsPenalty) {
    const auto value = [](FindingCounts counts) {
        return score({.open_findings = counts}).values.integration_findings;
    };
    EXPECT_DOUBLE_EQ(value({.critical = 3}), 70.0);
    EXPECT_DOUBLE_EQ(value({.high = 3}), 85.0);
    EXPECT_DOUBLE_EQ(value({.medium = 3}), 94.0);
    EXPECT_DOUBLE_EQ(value({.low = 3}), 98.5);
}

TEST(RiskScore, APenaltyAbove100LeavesZero) {
    EXPECT_EQ(score({.open_findings = {.critical = 9, .high = 3}}).values.integration_findings,
              0.0);
    constexpr auto kMany = (std::numeric_limits<std::int64_t>::max)();
    const RiskScore result = score({.average_maturity = 5, .open_findings = {kMany, 0, 0, 0}});
    EXPECT_EQ(result.values.integration_findings, 0.0);
    EXPECT_EQ(result.score, 35);
}

TEST(RiskScore, ValuesOutOfRangeCountAsTheNearestEnd) {
    const RiskScore high =
        score({.average_maturity = 7, .evidence_share = kInfinity, .framework_readiness = 101});
    EXPECT_EQ(high.score, 100);
    const RiskScore low =
        score({.average_maturity = -1, .evidence_share = kNan, .framework_readiness = -kInfinity});
    EXPECT_EQ(low.score, 15);
}

TEST(RiskScore, HalvesRoundUpThoughTheirSumFallsShortInBinary) {
    // 0.35 x 90 = 31.5, as doubles 31.499999999999996
    EXPECT_EQ(score({.average_maturity = 4.5, .open_findings = {.critical = 10}}).score, 32);
    // 0.25 x 50 + 0.15 x 100 = 27.5
    EXPECT_EQ(score({.evidence_share = 0.5}).score, 28);
    // 0.25 x 49 + 0.15 x 100 = 27.25
    EXPECT_EQ(score({.evidence_share = 0.49}).score, 27);
}

TEST(RiskScore, TheLossIsLimitedByCostOrByRevenue) {
    // score 15: P = 0.6875
    const auto loss = [](std::optional<double> cost, std::optional<double> revenue) {
        return score({.breach_cost = cost, .annual_revenue = revenue}).annualized_loss_expectancy;
    };
    EXPECT_DOUBLE_EQ(loss(4'000'000, 1e9).value(), 2'750'000.0);
    EXPECT_DOUBLE_EQ(loss(4'000'000, 1'000'000).value(), 206'250.0);
    EXPECT_DOUBLE_EQ(loss(4'000'000, std::nullopt).value(), 2'750'000.0);
    EXPECT_DOUBLE_EQ(loss(4'000'000, 0).value(), 2'750'000.0);
    EXPECT_DOUBLE_EQ(loss(4'000'000, -5).value(), 2'750'000.0);
    EXPECT_FALSE(loss(std::nullopt, 1'000'000).has_value());
}

TEST(RiskScore, TheLossFollowsTheRoundedScore) {
    // score 27.5 -> 28: P = 0.80 - 0.75 x 0.28 = 0.59
    const RiskScore result = score({.evidence_share = 0.5, .breach_cost = 100});
    EXPECT_DOUBLE_EQ(result.annualized_loss_expectancy.value(), 59.0);
}

TEST(RiskScore, FollowsTheRuleItIsGiven) {
    const RiskRule rule{.weights = {0, 0, 0, 1}, .penalties = {1, 0, 0, 0}};
    EXPECT_EQ(score_risk(rule, {.average_maturity = 5, .open_findings = {7, 7, 7, 7}}).score, 93);
}

TEST(RiskRule, IsSaneWhenWeightsSumToOneAndNothingIsNegative) {
    EXPECT_TRUE(is_sane(kRule));
    EXPECT_FALSE(is_sane({{0.35, 0.25, 0.25, 0.14}, kRule.penalties}));
    EXPECT_FALSE(is_sane({{1.5, -0.5, 0, 0}, kRule.penalties}));
    EXPECT_FALSE(is_sane({{kNan, 0.5, 0.5, 0}, kRule.penalties}));
    EXPECT_FALSE(is_sane({kRule.weights, {10, 5, 2, -0.5}}));
    EXPECT_FALSE(is_sane({kRule.weights, {kInfinity, 5, 2, 0.5}}));
}

TEST(RoundHalfAway, RoundsHalvesAwayFromZero) {
    EXPECT_EQ(round_half_away(0.5), 1);
    EXPECT_EQ(round_half_away(2.5), 3);
    EXPECT_EQ(round_half_away(-2.5), -3);
    EXPECT_EQ(round_half_away(2.4999), 2);
    EXPECT_EQ(round_half_away(31.499999999999996), 32);
}

}  // namespace
}  // namespace securatlas::core
