// The risk score of a tenant: 0 is the worst posture, 100 the best.
//
//   control_maturity      average maturity / 5 x 100
//   evidence_coverage     share of the controls that have evidence x 100
//   framework_compliance  weighted average readiness of the selected frameworks
//   integration_findings  max(0, 100 - sum of penalty x count)
//
//   score = round(sum of weight x value)
//   P     = 0.80 - 0.75 x score / 100
//   ALE   = P x least(breach cost, 0.30 x annual revenue)
//
// doc/securatlas.md explains the rule and where each input comes from.
#pragma once

#include <cstdint>
#include <optional>

namespace securatlas::core {

struct PerCategory {
    double control_maturity;
    double evidence_coverage;
    double framework_compliance;
    double integration_findings;
};

struct FindingPenalties {
    double critical;
    double high;
    double medium;
    double low;
};

struct FindingCounts {
    std::int64_t critical = 0;
    std::int64_t high = 0;
    std::int64_t medium = 0;
    std::int64_t low = 0;
};

struct RiskRule {
    PerCategory weights;
    FindingPenalties penalties;
};

// True if all numbers are finite and not negative, and the weights sum to 1 (within rounding).
bool is_sane(const RiskRule& rule);

// What is known about a tenant; nullopt means "no data". Values outside their range count as its
// nearest end, NaN as its lower end.
struct Posture {
    std::optional<double> average_maturity = std::nullopt;     // 0 to 5
    std::optional<double> evidence_share = std::nullopt;       // 0 to 1
    std::optional<double> framework_readiness = std::nullopt;  // 0 to 100
    FindingCounts open_findings = {};
    std::optional<double> breach_cost = std::nullopt;
    std::optional<double> annual_revenue = std::nullopt;  // not positive: the same as none
};

struct RiskScore {
    int score;           // 0 to 100
    PerCategory values;  // 0 to 100 each, not rounded
    // In the currency of the inputs; nullopt if there is no breach cost.
    std::optional<double> annualized_loss_expectancy;
};

// A category without data scores 0, except findings: without any it scores 100. `rule` must be sane
// (assert).
RiskScore score_risk(const RiskRule& rule, const Posture& posture);

// Rounds half away from zero. A value within 1e-9 of a half counts as the half: decimal fractions
// such as 0.35 have no exact binary form, so that sums of them may fall just short of it. |value|
// must be below 1e9.
int round_half_away(double value);

}  // namespace securatlas::core
