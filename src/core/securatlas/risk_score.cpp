#include "securatlas/core/securatlas/risk_score.hpp"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <iterator>

namespace securatlas::core {

namespace {

constexpr double kMaxMaturity = 5.0;
// In percent, because these numbers have an exact binary form.
constexpr double kWorstProbability = 80.0;
constexpr double kProbabilityRange = 75.0;
constexpr double kLossShareOfRevenue = 0.30;
constexpr double kRoundingGrain = 1e9;

// Written so that NaN becomes 0.
double to_percentage(double value) { return value > 0.0 ? std::min(value, 100.0) : 0.0; }

bool is_amount(double value) { return std::isfinite(value) && value >= 0.0; }

double weighted_sum(const PerCategory& weights, const PerCategory& values) {
    return weights.control_maturity * values.control_maturity +
           weights.evidence_coverage * values.evidence_coverage +
           weights.framework_compliance * values.framework_compliance +
           weights.integration_findings * values.integration_findings;
}

double total_penalty(const FindingPenalties& penalties, const FindingCounts& counts) {
    return penalties.critical * static_cast<double>(counts.critical) +
           penalties.high * static_cast<double>(counts.high) +
           penalties.medium * static_cast<double>(counts.medium) +
           penalties.low * static_cast<double>(counts.low);
}

std::optional<double> loss_expectancy(int score, const Posture& posture) {
    if (!posture.breach_cost) return std::nullopt;
    const double probability = (kWorstProbability - kProbabilityRange * score / 100.0) / 100.0;
    double loss = *posture.breach_cost;
    if (posture.annual_revenue && *posture.annual_revenue > 0.0) {
        loss = std::min(loss, kLossShareOfRevenue * *posture.annual_revenue);
    }
    return probability * loss;
}

}  // namespace

bool is_sane(const RiskRule& rule) {
    const auto& [maturity, evidence, framework, findings] = rule.weights;
    const auto& [critical, high, medium, low] = rule.penalties;
    const double amounts[] = {maturity, evidence, framework, findings, critical, high, medium, low};
    return std::all_of(std::begin(amounts), std::end(amounts), is_amount) &&
           std::abs(maturity + evidence + framework + findings - 1.0) < 1.0 / kRoundingGrain;
}

RiskScore score_risk(const RiskRule& rule, const Posture& posture) {
    assert(is_sane(rule));
    const PerCategory values{
        .control_maturity =
            to_percentage(posture.average_maturity.value_or(0.0) / kMaxMaturity * 100.0),
        .evidence_coverage = to_percentage(posture.evidence_share.value_or(0.0) * 100.0),
        .framework_compliance = to_percentage(posture.framework_readiness.value_or(0.0)),
        .integration_findings =
            to_percentage(100.0 - total_penalty(rule.penalties, posture.open_findings)),
    };
    const int score = round_half_away(weighted_sum(rule.weights, values));
    return {score, values, loss_expectancy(score, posture)};
}

int round_half_away(double value) {
    return static_cast<int>(std::round(std::round(value * kRoundingGrain) / kRoundingGrain));
}

}  // namespace securatlas::core
