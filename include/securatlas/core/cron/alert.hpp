// What an alert says, and how often: the decisions about events that happen again and again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "securatlas/core/time.hpp"

namespace securatlas::core {

enum class AlertEvent {
    failed,               // a run failed, and no retry follows
    missed,               // occurrences were missed
    late,                 // a run started late
    overran,              // a run was ended by max_runtime
    paused,               // the scheduler paused a job
    recovered,            // what was told is over: a run on time has succeeded
    succeeded,            // a run succeeded; each of them is told
    request_failed,       // requests to a host failed or expired
    scheduler_restarted,  // the scheduler of the database started again
};

// nullopt: there is no event of this name.
std::optional<AlertEvent> parse_alert_event(std::string_view name);
std::string_view alert_event_name(AlertEvent event);

// The longest pause between two messages about the same incident, unless the first is longer.
inline constexpr Duration kLongestAlertPause = std::chrono::hours(24);

// Whether an event of an incident that was told `told` times, last at `told_at`, is told again at
// `now`. The pauses are remind_after, and then twice as long each time, up to kLongestAlertPause. A
// `told_at` in the future was written by a clock that was ahead, and does not silence the incident.
bool is_told_again(int told, Instant told_at, Duration remind_after, Instant now);

// What happened, as far as it is known.
struct AlertNews {
    AlertEvent event = AlertEvent::failed;
    std::string subject;     // name of the job, host, or database
    std::int64_t job = 0;    // 0: none
    std::int64_t count = 1;  // since the incident began
    Instant since{};         // when it began
    Instant at{};            // when it happened last
    std::optional<std::int64_t> run{};
    std::optional<std::int64_t> request{};
    std::optional<Instant> scheduled_at{};
    std::string sqlstate{};
    std::string detail{};  // error or reason
};

// One sentence or two: what happened, to what, since when, how often, what it means, and a command
// to look further.
std::string alert_text(const AlertNews& news);

}  // namespace securatlas::core
