#include "securatlas/app/cron/manage_alerts.hpp"

#include "securatlas/app/net/make_request.hpp"
#include "securatlas/core/cron/alert.hpp"
#include "securatlas/core/net/header_rules.hpp"
#include "securatlas/core/net/secret_reference.hpp"
#include "securatlas/core/net/url.hpp"
#include "securatlas/core/text.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/net/secrets.hpp"
#include "securatlas/pg/net/settings.hpp"

namespace securatlas::app {
namespace {

constexpr const char* kNull = "22004";      // null_value_not_allowed
constexpr const char* kInvalid = "22023";   // invalid_parameter_value
constexpr std::size_t kLongestName = 1000;  // bytes
constexpr std::size_t kLongestChannel = 63;
constexpr core::Duration kLongestTime = std::chrono::days(366);

template <class T>
const T& required(const std::optional<T>& argument, const char* name) {
    if (!argument) throw pg::Error(kNull, std::string(name) + " cannot be NULL");
    return *argument;
}

const std::string& checked_name(const std::optional<std::string>& argument) {
    const std::string& name = required(argument, "alert_name");
    if (name.empty()) throw pg::Error(kInvalid, "alert_name cannot be empty");
    if (name.size() > kLongestName) {
        throw pg::Error(kInvalid, "alert_name is too long", "It must have at most 1000 bytes.");
    }
    return name;
}

std::vector<std::string> checked_events(const AlertRequest& request) {
    std::vector<std::string> events;
    for (const auto& event : required(request.events, "events")) {
        const std::string& name = required(event, "an event");
        if (!core::parse_alert_event(name)) {
            throw pg::Error(kInvalid, "unknown event: \"" + name + "\"", "",
                            "Use one of failed, missed, late, overran, paused, recovered, "
                            "succeeded, request_failed, scheduler_restarted.");
        }
        events.push_back(name);
    }
    if (events.empty()) throw pg::Error(kInvalid, "events cannot be empty");
    return events;
}

// A pattern that LIKE raises an error for would make the runs of all jobs fail whose names are
// compared with it.
const std::string& checked_pattern(const std::optional<std::string>& argument) {
    const std::string& pattern = required(argument, "jobs");
    if (pattern.size() > kLongestName) {
        throw pg::Error(kInvalid, "jobs is too long", "It must have at most 1000 bytes.");
    }
    const std::size_t end = pattern.find_last_not_of('\\') + 1;
    if ((pattern.size() - end) % 2 != 0) {
        throw pg::Error("22025", "jobs must not end with an escape character", "",
                        "Write a backslash as two of them.");
    }
    return pattern;
}

pg::jobs::IntervalValue checked_time(const std::optional<pg::jobs::IntervalValue>& argument,
                                     const char* name) {
    const pg::jobs::IntervalValue& value = required(argument, name);
    if (value.length < core::Duration(0) || value.length > kLongestTime) {
        throw pg::Error(kInvalid, std::string(name) + " is out of range",
                        "It must be from 0 to a year.");
    }
    return value;
}

void check_channel(const std::string& channel) {
    if (channel.empty()) throw pg::Error(kInvalid, "channel cannot be empty");
    if (channel.size() > kLongestChannel) {
        throw pg::Error(kInvalid, "channel is too long", "It must have at most 63 bytes.");
    }
}

// The headers stay in a table that is dumped, so that credentials have to be secrets.
std::vector<core::Header> checked_headers(const AlertRequest& request) {
    if (!request.headers) throw pg::Error(kInvalid, "headers must be a JSON object");
    std::vector<core::Header> headers;
    for (const pg::JsonMember& member : *request.headers) {
        core::Header header{member.name, member.value};
        if (const auto error = core::check_header(header)) {
            throw pg::Error(kInvalid, error->message, error->detail);
        }
        check_signature(header);
        if (core::is_sensitive_header(header.name) && core::secret_names(header.value).empty()) {
            throw pg::Error(kInvalid,
                            "HTTP header \"" + header.name + "\" of an alert must be a secret",
                            "Everybody who sees the alert, and its dump, sees its headers.",
                            "Store it with net.set_secret(), and refer to it as {{secret:name}}.");
        }
        headers.push_back(std::move(header));
    }
    return headers;
}

// Checked again with each request that is made.
void check_url(const AlertRequest& request) {
    const auto url = core::Url::parse(*request.url);
    if (!url) throw pg::Error(kInvalid, url.error().message, url.error().detail);
    const std::vector<core::Header> headers = checked_headers(request);
    if (const auto refusal = pg::egress_policy()->check(url.value(), headers)) {
        const bool is_malformed = refusal->reason == core::Refusal::Reason::malformed;
        throw pg::Error(is_malformed ? kInvalid : "42501", refusal->message, refusal->detail);
    }
    std::vector<std::string> secrets;
    for (const core::Header& header : headers) {
        for (std::string& name : core::secret_names(header.value)) secrets.push_back(name);
    }
    if (!secrets.empty()) pg::secrets::check_usable(secrets, pg::current_role());
}

void check_targets(const AlertRequest& request) {
    if (!request.channel && !request.function && !request.url) {
        throw pg::Error(kInvalid, "an alert needs somebody to tell", "",
                        "Give it a channel, a function or a url.");
    }
    if (request.channel) check_channel(*request.channel);
    const std::string& format = required(request.format, "format");
    if (format != "cloudevents" && format != "text") {
        throw pg::Error(kInvalid, "invalid format: \"" + format + "\"", "",
                        "Use one of cloudevents, text.");
    }
    if (request.url) check_url(request);
}

// The targets of an alert as one text, whose form shows what it is.
void set_target(AlertRequest& request, const std::string& target, const std::string& argument) {
    const std::string_view text = core::trim(target);
    constexpr std::string_view kNotify = "NOTIFY ";
    if (core::equal_ignoring_case(text.substr(0, kNotify.size()), kNotify)) {
        request.channel = pg::parse_identifier(text.substr(kNotify.size()));
    } else if (text.find("://") != std::string_view::npos) {
        request.url = text;
    } else if (text.ends_with(')')) {
        request.function = pg::find_function(text);
    }
    if (!request.channel && !request.url && !request.function) {
        throw pg::Error(kInvalid, "invalid " + argument + ": \"" + target + "\"", "",
                        "Use a function such as note(jsonb), a URL, or NOTIFY and a channel.");
    }
}

std::string name_of(JobAlert alert) {
    return alert == JobAlert::on_failure ? "on_failure" : "on_success";
}

void set_targets(pg::alerts::Definition& definition, const AlertRequest& request) {
    // A process of this role has to be able to tell it.
    (void)pg::resolve_target(pg::current_database_name(), definition.role, definition.username);
    if (request.function) {
        const auto function = pg::check_alert_function(*request.function, definition.role);
        definition.function = function.signature;
        definition.function_owner = function.owner;
    }
    definition.channel = request.channel;
    definition.url = request.url;
    definition.format = *request.format;
    definition.headers = request.headers_text;
}

}  // namespace

std::int64_t add_alert(const AlertRequest& request) {
    pg::alerts::Definition definition;
    definition.name = checked_name(request.name);
    definition.events = checked_events(request);
    definition.jobs = checked_pattern(request.jobs);
    check_targets(request);
    definition.remind_after = checked_time(request.remind_after, "remind_after");
    definition.late_after = checked_time(request.late_after, "late_after");
    definition.active = required(request.active, "active");
    definition.role = pg::current_role();
    definition.username = pg::current_user_name();
    set_targets(definition, request);
    return pg::alerts::upsert(definition);
}

void set_job_alert(const pg::jobs::Found& job, JobAlert alert, const std::string& target) {
    const std::string name = name_of(alert) + " of job " + std::to_string(job.id);
    if (target.empty()) return pg::alerts::remove_of_job(job.id, name, std::nullopt);
    AlertRequest request;
    request.format = "cloudevents";
    request.headers.emplace();
    request.headers_text = "{}";
    set_target(request, target, name_of(alert));
    check_targets(request);
    pg::alerts::Definition definition;
    definition.name = name;
    definition.role = job.role;
    definition.username = job.username;
    definition.events = {alert == JobAlert::on_failure ? "failed" : "succeeded"};
    definition.jobs = "%";
    definition.job = job.id;
    definition.remind_after = {"0", core::Duration(0)};
    definition.late_after = {"1 minute", std::chrono::minutes(1)};
    set_targets(definition, request);
    // The job may have belonged to another role when its alert was made.
    pg::alerts::remove_of_job(job.id, name, job.role);
    pg::alerts::upsert(definition);
}

void drop_alert(const std::optional<std::string>& name) {
    const std::string& wanted = required(name, "alert_name");
    if (pg::alerts::remove(pg::current_role(), wanted)) return;
    throw pg::Error("42704", "alert \"" + wanted + "\" does not exist",
                    "You have no alert of this name.",
                    "See cron.alerts for the alerts that you see.");
}

}  // namespace securatlas::app
