// The SQL functions cron.add_alert() and cron.drop_alert(). Each throws pg::Error with the text
// that users see.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "securatlas/pg/border/json_member.hpp"
#include "securatlas/pg/cron/jobs.hpp"
#include "securatlas/pg/net/callback_function.hpp"

namespace securatlas::app {

// A NULL argument is nullopt.
struct AlertRequest {
    std::optional<std::string> name;
    std::optional<std::vector<std::optional<std::string>>> events;
    std::optional<std::string> jobs;
    std::optional<std::string> channel;
    std::optional<pg::FunctionOid> function;
    std::optional<std::string> url;
    std::optional<std::string> format;
    std::optional<std::vector<pg::JsonMember>> headers;  // nullopt: it is not an object
    std::string headers_text;                            // the same as JSON
    std::optional<pg::jobs::IntervalValue> remind_after;
    std::optional<pg::jobs::IntervalValue> late_after;
    std::optional<bool> active;
};

// Returns the alert's id.
std::int64_t add_alert(const AlertRequest& request);
void drop_alert(const std::optional<std::string>& name);

// What is told after a run of one job: a function, as note(jsonb), a URL, or NOTIFY and a channel;
// empty: nothing. The alert belongs to the role of the job.
enum class JobAlert { on_failure, on_success };
void set_job_alert(const pg::jobs::Found& job, JobAlert alert, const std::string& target);

}  // namespace securatlas::app
