#include "securatlas/core/cron/alert.hpp"

#include <algorithm>
#include <array>

#include "securatlas/core/cron/run_policy.hpp"
#include "securatlas/core/text.hpp"

namespace securatlas::core {
namespace {

constexpr std::array<std::pair<AlertEvent, std::string_view>, 9> kNames = {{
    {AlertEvent::failed, "failed"},
    {AlertEvent::missed, "missed"},
    {AlertEvent::late, "late"},
    {AlertEvent::overran, "overran"},
    {AlertEvent::paused, "paused"},
    {AlertEvent::recovered, "recovered"},
    {AlertEvent::succeeded, "succeeded"},
    {AlertEvent::request_failed, "request_failed"},
    {AlertEvent::scheduler_restarted, "scheduler_restarted"},
}};

std::string first_line(std::string_view text) {
    return std::string(trim(text.substr(0, text.find('\n'))));
}

std::string quoted(const std::string& name) { return "'" + name + "'"; }

std::string number_of(std::int64_t count, const char* what) {
    return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// " 3 times since <time>", or " at <time>".
std::string how_often(const AlertNews& news, const char* in_a_row = "") {
    if (news.count <= 1) return " at " + utc_text(news.at);
    return " " + std::to_string(news.count) + " times" + in_a_row + " since " +
           utc_text(news.since);
}

// "run 812, 57014 canceling statement due to max_runtime"
std::string last_run(const AlertNews& news) {
    std::string text;
    if (news.run) text = "run " + std::to_string(*news.run);
    std::string error = first_line(news.detail);
    if (error.starts_with("ERROR:")) error = trim(std::string_view(error).substr(6));
    if (!news.sqlstate.empty()) error = news.sqlstate + " " + error;
    if (!text.empty() && !error.empty()) text += ", ";
    return text + error;
}

std::string last(const AlertNews& news) {
    return (news.count > 1 ? "; last: " : ": ") + last_run(news);
}

std::string see(const std::string& query) { return ". See: " + query; }

std::string see_run(const AlertNews& news) {
    if (!news.run) return "";
    return see("SELECT * FROM cron.job_run_details WHERE runid = " + std::to_string(*news.run));
}

std::string see_runs(const AlertNews& news) {
    return see("SELECT * FROM cron.job_run_details WHERE jobid = " + std::to_string(news.job) +
               " ORDER BY runid DESC LIMIT 10");
}

// A run that is late has a reason as long as it waits.
bool is_waiting(const AlertNews& news) { return !news.detail.empty(); }

std::string lateness(const AlertNews& news) {
    if (!news.scheduled_at) return "";
    const std::string due = ", due at " + utc_text(*news.scheduled_at);
    if (!is_waiting(news)) return due + " and started at " + utc_text(news.at);
    return due + " and not started at " + utc_text(news.at) + ": " + first_line(news.detail);
}

}  // namespace

std::optional<AlertEvent> parse_alert_event(std::string_view name) {
    const auto* found =
        std::ranges::find_if(kNames, [name](const auto& entry) { return entry.second == name; });
    if (found == kNames.end()) return std::nullopt;
    return found->first;
}

std::string_view alert_event_name(AlertEvent event) {
    for (const auto& [known, name] : kNames) {
        if (known == event) return name;
    }
    return {};
}

bool is_told_again(int told, Instant told_at, Duration remind_after, Instant now) {
    if (told <= 0) return true;
    const Duration longest = std::max(remind_after, kLongestAlertPause);
    Duration pause = remind_after;
    for (int i = 1; i < told && pause < longest && pause > Duration(0); ++i) {
        pause = std::min(pause * 2, longest);
    }
    return told_at > now || now - told_at >= pause;
}

std::string alert_text(const AlertNews& news) {
    const std::string job = "job " + quoted(news.subject);
    switch (news.event) {
        case AlertEvent::failed:
            return job + " failed" + how_often(news, " in a row") + last(news) + see_run(news);
        case AlertEvent::missed:
            return job + " missed " + number_of(news.count, "occurrence") + " since " +
                   utc_text(news.since) + "; last: " + first_line(news.detail) +
                   ". Its rule \"missed\" says which are made up for" + see_runs(news);
        case AlertEvent::late:
            return job + (is_waiting(news) ? " is late" : " started late") + how_often(news) +
                   "; last: run " + std::to_string(news.run.value_or(0)) + lateness(news) +
                   ". Its runs wait for other runs or for a worker" +
                   see("SELECT * FROM cron.scheduler_status");
        case AlertEvent::overran:
            return job + " took longer than its max_runtime" + how_often(news) + ", and was ended" +
                   last(news) + see_run(news);
        case AlertEvent::paused:
            return job + " was paused at " + utc_text(news.at) + ": " + first_line(news.detail) +
                   ". It does not run until it is resumed" +
                   see("SELECT * FROM cron.jobs WHERE jobid = " + std::to_string(news.job));
        case AlertEvent::recovered: {
            const std::string since = " since " + utc_text(news.since);
            if (news.job == 0) {
                return "requests to " + news.subject + " succeed again after " +
                       number_of(news.count, "failure") + since;
            }
            return job + " succeeded again at " + utc_text(news.at) + " after " +
                   number_of(news.count, "incident") + since + see_runs(news);
        }
        case AlertEvent::succeeded:
            return job + " succeeded at " + utc_text(news.at) + see_run(news);
        case AlertEvent::request_failed:
            return number_of(news.count, "request") + " to " + news.subject + " failed" +
                   (news.count <= 1 ? " at " + utc_text(news.at)
                                    : " since " + utc_text(news.since)) +
                   "; last: request " + std::to_string(news.request.value_or(0)) + ", " +
                   first_line(news.detail) + ". They are not tried again" +
                   see("SELECT * FROM net.requests WHERE id = " +
                       std::to_string(news.request.value_or(0)));
        case AlertEvent::scheduler_restarted:
            return "the scheduler of database " + quoted(news.subject) + " started again" +
                   how_often(news) + ". " + first_line(news.detail) +
                   see("SELECT * FROM cron.scheduler_status");
    }
    return {};
}

}  // namespace securatlas::core
