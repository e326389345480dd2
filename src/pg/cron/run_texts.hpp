// The words in cron.job_run_details for values of the core.
#pragma once

#include <string_view>

#include "securatlas/core/cron/scheduler.hpp"

namespace securatlas::pg::runs {

constexpr std::string_view trigger_text(core::RunTrigger trigger) {
    switch (trigger) {
        case core::RunTrigger::schedule:
            return "schedule";
        case core::RunTrigger::manual:
            return "manual";
        case core::RunTrigger::catchup:
            return "catchup";
        case core::RunTrigger::retry:
            return "retry";
        case core::RunTrigger::once:
            return "once";
    }
    return {};
}

// Unknown words count as `schedule`.
constexpr core::RunTrigger trigger_of(std::string_view text) {
    using enum core::RunTrigger;
    for (const core::RunTrigger trigger : {manual, catchup, retry, once}) {
        if (text == trigger_text(trigger)) return trigger;
    }
    return schedule;
}

constexpr std::string_view outcome_text(core::RunOutcome outcome) {
    return outcome == core::RunOutcome::succeeded ? "succeeded" : "failed";
}

}  // namespace securatlas::pg::runs
