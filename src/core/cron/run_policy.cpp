#include "securatlas/core/cron/run_policy.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <utility>

#include "securatlas/core/backoff.hpp"
#include "securatlas/core/cron/scheduler.hpp"

namespace securatlas::core {

namespace {

// The instants in (from, until], at most `most` of them.
std::vector<Instant> instants_between(const NextAfter& next_after, Instant from, Instant until,
                                      std::size_t most) {
    std::vector<Instant> found;
    Instant at = from;
    while (found.size() < most) {
        at = next_after(at);
        if (at > until) break;
        found.push_back(at);
    }
    return found;
}

void keep_latest(std::vector<Instant>& instants, std::size_t limit) {
    if (instants.size() <= limit) return;
    instants.erase(instants.begin(), instants.end() - static_cast<std::ptrdiff_t>(limit));
}

// The latest `limit` instants in (from, until], or all if there are fewer.
std::vector<Instant> latest_instants(const NextAfter& next_after, Instant from, Instant until,
                                     std::size_t limit) {
    // Invariant: after `low` there are at least `limit` instants (or `low` is `from`), after `high`
    // there are fewer.
    Instant low = from;
    Instant high = until;
    for (Duration back = std::chrono::seconds(1); back < until - from; back *= 2) {
        if (instants_between(next_after, until - back, until, limit).size() == limit) {
            low = until - back;
            break;
        }
        high = until - back;
    }
    // If there are fewer than `many`, these are all instants after `low`.
    const std::size_t many = 2 * limit;
    std::vector<Instant> latest = instants_between(next_after, low, until, many);
    while (latest.size() == many) {
        low = latest[limit - 1];
        const Instant middle = low + (high - low) / 2;
        std::vector<Instant> found = instants_between(next_after, middle, until, many);
        if (found.size() < limit) {
            high = middle;
        } else {
            latest = std::move(found);
        }
    }
    keep_latest(latest, limit);
    return latest;
}

}  // namespace

OverlapDecision decide_overlap(OverlapPolicy policy, std::size_t unfinished, std::size_t buffered) {
    if (unfinished == 0) return OverlapDecision::start;
    switch (policy) {
        case OverlapPolicy::buffer_one:
            return buffered == 0 ? OverlapDecision::wait : OverlapDecision::skip;
        case OverlapPolicy::buffer_all:
            return buffered < kMaxBuffered ? OverlapDecision::wait : OverlapDecision::skip;
        case OverlapPolicy::skip:
            return OverlapDecision::skip;
        case OverlapPolicy::cancel_other:
            return OverlapDecision::replace;
        case OverlapPolicy::allow:
            return OverlapDecision::start;
    }
    return OverlapDecision::skip;
}

MissedInstants find_missed(const NextAfter& next_after, Instant from, Instant until,
                           std::size_t limit, std::size_t most) {
    MissedInstants missed;
    missed.latest = instants_between(next_after, from, until, most + 1);
    missed.counted_all = missed.latest.size() <= most;
    missed.count = std::min(missed.latest.size(), most);
    if (missed.counted_all) {
        keep_latest(missed.latest, limit);
    } else {
        missed.latest = latest_instants(next_after, from, until, limit);
        missed.count = std::max(missed.count, missed.latest.size());
        missed.counted_all = missed.latest.size() < limit;
    }
    return missed;
}

std::size_t missed_limit(MissedPolicy policy) {
    switch (policy) {
        case MissedPolicy::skip:
            return 1;
        case MissedPolicy::once:
            return 2;
        case MissedPolicy::all:
            return kMaxBuffered + 1;
    }
    return 1;
}

std::size_t missed_to_run(MissedPolicy policy, Duration window, Instant now,
                          std::span<const MissedOccurrence> candidates) {
    std::size_t most = 0;
    switch (policy) {
        case MissedPolicy::skip:
            return 0;
        case MissedPolicy::once:
            most = 1;
            break;
        case MissedPolicy::all:
            most = kMaxBuffered;
            break;
    }
    const auto oldest =
        std::ranges::lower_bound(candidates, now - window, {}, &MissedOccurrence::at);
    return std::min(most, static_cast<std::size_t>(candidates.end() - oldest));
}

std::optional<Instant> retry_time(const JobRules& rules, int attempt, Instant now,
                                  Instant next_occurrence, double random) {
    if (attempt > rules.max_retries) return std::nullopt;
    const Instant at = now + retry_delay(rules.retry_period, attempt, random);
    if (at >= next_occurrence) return std::nullopt;
    return at;
}

bool is_retryable(std::string_view sqlstate) {
    constexpr std::array<std::string_view, 4> kHopeless = {"42", "28", "3D", "22"};
    return sqlstate.size() != 5 ||
           std::ranges::find(kHopeless, sqlstate.substr(0, 2)) == kHopeless.end();
}

std::string utc_text(Instant instant) {
    const auto day = std::chrono::floor<std::chrono::days>(instant);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss time(std::chrono::floor<std::chrono::seconds>(instant - day));
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%04d-%02u-%02u %02d:%02d:%02d+00",
                  static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                  static_cast<unsigned>(date.day()), static_cast<int>(time.hours().count()),
                  static_cast<int>(time.minutes().count()),
                  static_cast<int>(time.seconds().count()));
    return text.data();
}

}  // namespace securatlas::core
