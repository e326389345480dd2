// Tells what happened, in a job worker of the alert's role. The user's function runs inside one
// call(), as that role.
#include <algorithm>

#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "border/statement_runner.hpp"
#include "border/user_code.hpp"
#include "cron/alert_due.hpp"
#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/cron/alerts.hpp"
#include "securatlas/pg/net/callback_function.hpp"

extern "C" {
#include "access/xact.h"
#include "pgstat.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
}

namespace securatlas::pg::alerts {
namespace {

using callbacks::Step;

constexpr core::Duration kPauseForLocks = std::chrono::seconds(1);
bool is_to_be_told(const Due& due, const Incident& incident) {
    if (!due.is_active || !due.is_wanted) return false;
    if (due.news.event == core::AlertEvent::recovered) return incident.count > 0;
    if (due.news.event == core::AlertEvent::succeeded) return true;
    return core::is_told_again(incident.told, incident.told_at, due.remind_after, now());
}

// C world.
void execute(const char* statement, int count, Oid* types, Datum* values, const char* nulls) {
    if (SPI_connect() != SPI_OK_CONNECT) elog(ERROR, "SPI_connect failed");
    PushActiveSnapshot(GetTransactionSnapshot());
    const int status = SPI_execute_with_args(statement, count, types, values, nulls, false, 0);
    if (status < 0) elog(ERROR, "SPI failed: %s", SPI_result_code_string(status));
    PopActiveSnapshot();
    SPI_finish();
}

void execute_as_role(const std::string& statement, std::initializer_list<Parameter> parameters) {
    call([&] {
        Oid types[8];
        Datum values[8];
        char nulls[8];
        int count = 0;
        for (const Parameter& parameter : parameters) {
            types[count] = parameter.type;
            values[count] = parameter.value;
            nulls[count] = parameter.is_null ? 'n' : ' ';
            ++count;
        }
        arm_statement_timeout();
        execute(statement.c_str(), count, types, values, nulls);
    });
    stop_timeouts();
}

// The event as JSON, in a form that fits into a notification if `is_short`.
std::string json_of(const Due& due, const core::AlertNews& news, bool is_short) {
    static Statement query(R"(
SELECT jsonb_strip_nulls(jsonb_build_object(
           'alert', left($1, 200), 'event', $2, 'database', current_database(),
           'text', CASE WHEN $3 THEN left($4, 500) ELSE $4 END,
           'job', CASE WHEN $5 <> 0 THEN CASE WHEN $3 THEN left($6, 200) ELSE $6 END END,
           'jobid', NULLIF($5, 0), 'host', NULLIF(CASE WHEN $3 THEN left($7, 200) ELSE $7 END, ''), 'runid', $8, 'request_id', $9,
           'scheduled_at', $10, 'sqlstate', $11,
           'error', CASE WHEN $3 THEN left($12, 200) ELSE $12 END,
           'count', $13, 'since', $14, 'at', $15))::text)");
    const auto number = [](const std::optional<std::int64_t>& value) {
        return value ? Parameter::of(*value) : Parameter::null(INT8OID);
    };
    const auto text = [](const std::string& value) {
        return value.empty() ? Parameter::null(TEXTOID) : Parameter::of(value);
    };
    const OwnerScope owner(OwnerScope::Mode::force_writable);
    Spi spi;
    query.execute(
        {Parameter::of(due.name), Parameter::of(due.event), Parameter::of(is_short),
         Parameter::of(core::alert_text(news)), Parameter::of(news.job),
         Parameter::of(news.subject), Parameter::of(due.host), number(news.run),
         number(news.request),
         news.scheduled_at ? Parameter::of(*news.scheduled_at) : Parameter::null(TIMESTAMPTZOID),
         text(news.sqlstate), text(news.detail), Parameter::of(news.count),
         Parameter::of(news.since), Parameter::of(news.at)});
    std::string json;
    Statement::each_row([&json](const Row& row) { json = row.as_text(1); });
    return json;
}

void notify_channel(const std::string& channel, const Due& due, const core::AlertNews& news) {
    constexpr std::size_t kLongestPayload = 7999;
    std::string payload = json_of(due, news, false);
    if (payload.size() > kLongestPayload) payload = json_of(due, news, true);
    execute_as_role("SELECT pg_catalog.pg_notify($1, $2)",
                    {Parameter::of(channel), Parameter::of(payload)});
}

// Puts a request into the queue, whose own rules decide where it may go and which secrets it uses.
// Receivers are told by its idempotency key if they get it twice, so that it is retried after any
// failure, for a day.
void post(const Due& due, const core::AlertNews& news) {
    // The id is another one for each event that is told, wherever: neither ids of events nor names
    // of databases are unique. A source is part of a URI; no attribute has control characters.
    static Statement body_of(R"(
SELECT convert_to((CASE $1 WHEN 'text' THEN jsonb_build_object('text', e ->> 'text')
                           ELSE jsonb_build_object(
                                    'specversion', '1.0', 'id', gen_random_uuid(),
                                    'source', '/securatlas_sched/' || (
                                        SELECT string_agg(CASE WHEN b < 128 AND chr(b) ~ '^[A-Za-z0-9._~-]$'
                                                               THEN chr(b)
                                                               ELSE '%' || upper(lpad(to_hex(b), 2, '0')) END,
                                                          '' ORDER BY i)
                                          FROM convert_to(current_database(), 'UTF8') name,
                                               generate_series(0, octet_length(name) - 1) i, get_byte(name, i) b),
                                    'type', 'securatlas_sched.' || $2, 'time', e -> 'at',
                                    'subject', regexp_replace(left($3, 200), '[[:cntrl:]]', ' ', 'g'),
                                    'datacontenttype', 'application/json', 'data', e) END)::text, 'UTF8'),
       CASE WHEN EXISTS (SELECT FROM jsonb_object_keys(h) k WHERE lower(k) = 'content-type') THEN h
            ELSE h || jsonb_build_object('Content-Type',
                          CASE $1 WHEN 'text' THEN 'application/json'
                                  ELSE 'application/cloudevents+json' END) END
  FROM (SELECT $4::jsonb, $5::jsonb) AS given (e, h))");
    const std::string json = json_of(due, news, false);
    std::string body;
    std::string headers;
    {
        const OwnerScope owner(OwnerScope::Mode::force_writable);
        Spi spi;
        body_of.execute({Parameter::of(due.format), Parameter::of(due.event),
                         Parameter::of(news.subject), Parameter::of(json),
                         Parameter::of(due.headers)});
        Statement::each_row([&](const Row& row) {
            body = row.as_bytes(1);
            headers = row.as_text(2);
        });
    }
    execute_as_role(
        "SELECT net.http_request('POST', $1, headers => $2::pg_catalog.jsonb, body => $3, "
        "retry => 'always', expires_in => '1 day')",
        {Parameter::of(*due.url), Parameter::of(headers), Parameter::of_bytes(body)});
}

// Repeats the checks that were made with the alert.
std::string function_name(const Due& due, RoleOid role) {
    const OwnerScope owner;  // for its search_path
    const Oid function = call([&due] {
        return DatumGetObjectId(
            DirectFunctionCall1(regprocedurein, CStringGetDatum(due.function->c_str())));
    });
    const CallbackFunction found = check_alert_function(function, role);
    const bool may_run =
        found.owner == due.function_owner || found.owner == role || role_is_superuser(found.owner);
    if (!may_run) {
        throw Error("42501",
                    "function " + found.signature + " is not the one that was to be called",
                    "Its owner is another role than when the alert was made.",
                    "Call cron.add_alert() again.");
    }
    return call([function] {
        return quote_qualified_identifier(get_namespace_name(get_func_namespace(function)),
                                          get_func_name(function));
    });
}

// Shows the call in pg_stat_activity and in the server log while it exists.
class Announcement {
  public:
    explicit Announcement(const Due& due) : text_("alert " + due.name + ": " + due.event) {
        call([this, &due] {
            char name[NAMEDATALEN];
            snprintf(name, sizeof name, "cron: alert [%lld]", static_cast<long long>(due.alert));
            SetConfigOption("application_name", name, PGC_USERSET, PGC_S_SESSION);
            debug_query_string = text_.c_str();
            pgstat_report_activity(STATE_RUNNING, text_.c_str());
        });
    }
    ~Announcement() { debug_query_string = nullptr; }
    Announcement(const Announcement&) = delete;
    Announcement& operator=(const Announcement&) = delete;

  private:
    std::string text_;
};

// Tells it to each target, in the current transaction.
void tell(const Due& due, const Incident& incident, RoleOid role) {
    core::AlertNews news = due.news;
    if (news.event == core::AlertEvent::recovered) {
        news.count = incident.count;
        news.since = incident.since;
    } else {
        news.count += incident.count;
        news.since = std::min(news.since, incident.since);
    }
    const Announcement announcement(due);
    if (due.channel) notify_channel(*due.channel, due, news);
    if (due.function) {
        const std::string name = function_name(due, role);
        const std::string json = json_of(due, news, false);
        execute_as_role("SELECT " + name + "($1::pg_catalog.jsonb)", {Parameter::of(json)});
    }
    if (due.url) post(due, news);
}

Step look_later(RoleOid role) {
    const OwnerScope owner(OwnerScope::Mode::force_writable);
    Step step;
    step.next = next_due(role);
    if (step.next && *step.next <= now()) step.next = now() + kPauseForLocks;
    return step;
}

void record_failure(const Due& due, const Error& error) {
    log_failure("alert \"" + due.name + "\" could not tell an event", error);
    Transaction transaction;
    call([] { (void)GetTransactionSnapshot(); });
    note_failure(due, error_text(error), due.attempts + 1 >= kMaxAttempts);
    transaction.commit_asynchronously();
}

}  // namespace

Step tell_next(RoleOid role, double random) {
    std::optional<Due> due;
    try {
        call([] { QueryCancelPending = 0; });  // a cancellation was meant for something earlier
        std::optional<Transaction> transaction(std::in_place);
        if (!try_keep_extension(Tables::cron) || !try_lock()) {
            return {.next = now() + kPauseForLocks};
        }
        due = find(role, std::nullopt);
        if (!due) {
            const Step step = look_later(role);
            transaction->commit_asynchronously();
            return step;
        }
        if (!is_to_be_told(*due, read_incident(*due))) {
            finish(*due, read_incident(*due), false);
            transaction->commit_asynchronously();
            return {.called = true};
        }
        if (!mark_attempt(*due, random)) {
            note_failure(*due, "the process or the server ended while it was told", true);
            transaction->commit_asynchronously();
            return {.called = true};
        }
        const std::int64_t first = due->events.front();
        const int attempts = due->attempts;
        transaction->commit();
        due.reset();
        transaction.emplace();
        if (!try_keep_extension(Tables::cron) || !try_lock()) return {.called = true};
        due = find(role, first);
        if (!due) return {.called = true};
        due->attempts = attempts;
        const Incident incident = read_incident(*due);
        tell(*due, incident, role);
        finish(*due, incident, true);
        transaction->commit_asynchronously();
    } catch (const Error& error) {
        abort_everything();
        if (due) {
            record_failure(*due, error);
        } else if (error.sqlstate() != "57014") {
            throw;
        }
    }
    return {.called = true};
}

}  // namespace securatlas::pg::alerts
