// SQL functions of schema net that make requests: they convert arguments and results; src/app does
// the rest.
#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/app/net/make_request.hpp"
#include "securatlas/core/net/url.hpp"
#include "securatlas/pg/border/caller.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/json.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/net/await_response.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"
#include "securatlas/pg/shared/shared_state.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/array.h"
}

using securatlas::extension::entry_point;
namespace app = securatlas::app;
namespace core = securatlas::core;
namespace pg = securatlas::pg;
namespace ext = securatlas::extension;

namespace {

app::ObjectArgument object_argument(FunctionCallInfo fcinfo, int index) {
    using State = app::ObjectArgument::State;
    if (PG_ARGISNULL(index)) return {State::null, {}};
    auto members = pg::read_json_object(PG_GETARG_DATUM(index));
    if (!members) return {State::other, {}};
    return {State::object, std::move(*members)};
}

app::BodyArgument json_body(FunctionCallInfo fcinfo, int index) {
    if (PG_ARGISNULL(index)) return {};
    return {app::BodyArgument::Kind::json, pg::json_as_utf8(PG_GETARG_DATUM(index)), {}};
}

app::BodyArgument bytes_body(FunctionCallInfo fcinfo, int index) {
    if (PG_ARGISNULL(index)) return {};
    const bytea* bytes = pg::call([fcinfo, index] { return PG_GETARG_BYTEA_PP(index); });
    return {app::BodyArgument::Kind::bytes,
            std::string(VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes)),
            {}};
}

std::optional<core::Duration> span_argument(FunctionCallInfo fcinfo, int index) {
    if (PG_ARGISNULL(index)) return std::nullopt;
    return pg::to_duration(*PG_GETARG_INTERVAL_P(index));
}

// The arguments after timeout_milliseconds, in the functions that have all options.
void set_options(app::RequestArguments& arguments, FunctionCallInfo fcinfo, int first) {
    arguments.max_attempts = ext::int_argument(fcinfo, first);
    arguments.retry = ext::text_argument(fcinfo, first + 1);
    arguments.idempotency_key = ext::text_argument(fcinfo, first + 2);
    arguments.not_before = ext::instant_argument(fcinfo, first + 3);
    arguments.expires_in = span_argument(fcinfo, first + 4);
    if (!PG_ARGISNULL(first + 5)) arguments.on_response = PG_GETARG_OID(first + 5);
    arguments.store_response = ext::text_argument(fcinfo, first + 6);
}

// For functions with the arguments of net.http_post().
Datum make_json_request(FunctionCallInfo fcinfo, const char* method) {
    return Int64GetDatum(app::make_request({.method = method,
                                            .url = ext::text_argument(fcinfo, 0),
                                            .params = object_argument(fcinfo, 2),
                                            .headers = object_argument(fcinfo, 3),
                                            .body = json_body(fcinfo, 1),
                                            .timeout_milliseconds = ext::int_argument(fcinfo, 4),
                                            .created_by = pg::calling_role(fcinfo)}));
}

app::RequestArguments form_arguments(FunctionCallInfo fcinfo) {
    return {.method = "POST",
            .url = ext::text_argument(fcinfo, 0),
            .params = {app::ObjectArgument::State::object, {}},
            .headers = object_argument(fcinfo, 2),
            .body = {app::BodyArgument::Kind::form, {}, object_argument(fcinfo, 1)},
            .timeout_milliseconds = ext::int_argument(fcinfo, 3),
            .created_by = pg::calling_role(fcinfo)};
}

// The elements that are not NULL.
std::vector<std::string> texts_argument(FunctionCallInfo fcinfo, int index) {
    std::vector<std::string> texts;
    auto elements = ext::texts_argument(fcinfo, index);
    if (!elements) return texts;
    for (auto& text : *elements) {
        if (text) texts.push_back(std::move(*text));
    }
    return texts;
}

Datum text_result(std::string_view text) {
    return pg::call([text] {
        return PointerGetDatum(
            cstring_to_text_with_len(text.data(), static_cast<int>(text.size())));
    });
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_http_get);
PG_FUNCTION_INFO_V1(securatlas_http_post);
PG_FUNCTION_INFO_V1(securatlas_http_put);
PG_FUNCTION_INFO_V1(securatlas_http_patch);
PG_FUNCTION_INFO_V1(securatlas_http_delete);
PG_FUNCTION_INFO_V1(securatlas_http_request);
PG_FUNCTION_INFO_V1(securatlas_http_post_form);
PG_FUNCTION_INFO_V1(securatlas_origin);
PG_FUNCTION_INFO_V1(securatlas_request_inserted);
PG_FUNCTION_INFO_V1(securatlas_net_wake);
PG_FUNCTION_INFO_V1(securatlas_net_worker_restart);
PG_FUNCTION_INFO_V1(securatlas_net_worker_is_up);
PG_FUNCTION_INFO_V1(securatlas_await_response);
PG_FUNCTION_INFO_V1(securatlas_urlencode_string);
PG_FUNCTION_INFO_V1(securatlas_encode_url_with_params_array);

PGDLLEXPORT Datum securatlas_http_get(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        return Int64GetDatum(
            app::make_request({.method = "GET",
                               .url = ext::text_argument(fcinfo, 0),
                               .params = object_argument(fcinfo, 1),
                               .headers = object_argument(fcinfo, 2),
                               .timeout_milliseconds = ext::int_argument(fcinfo, 3),
                               .created_by = pg::calling_role(fcinfo)}));
    });
}

PGDLLEXPORT Datum securatlas_http_post(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return make_json_request(fcinfo, "POST"); });
}

PGDLLEXPORT Datum securatlas_http_put(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return make_json_request(fcinfo, "PUT"); });
}

PGDLLEXPORT Datum securatlas_http_patch(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] { return make_json_request(fcinfo, "PATCH"); });
}

PGDLLEXPORT Datum securatlas_http_delete(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        return Int64GetDatum(
            app::make_request({.method = "DELETE",
                               .url = ext::text_argument(fcinfo, 0),
                               .params = object_argument(fcinfo, 1),
                               .headers = object_argument(fcinfo, 2),
                               .body = json_body(fcinfo, 4),
                               .timeout_milliseconds = ext::int_argument(fcinfo, 3),
                               .created_by = pg::calling_role(fcinfo)}));
    });
}

PGDLLEXPORT Datum securatlas_http_request(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        app::RequestArguments arguments{.method = ext::text_argument(fcinfo, 0),
                                        .url = ext::text_argument(fcinfo, 1),
                                        .params = object_argument(fcinfo, 2),
                                        .headers = object_argument(fcinfo, 3),
                                        .body = bytes_body(fcinfo, 4),
                                        .timeout_milliseconds = ext::int_argument(fcinfo, 5),
                                        .created_by = pg::calling_role(fcinfo)};
        set_options(arguments, fcinfo, 6);
        return Int64GetDatum(app::make_request(std::move(arguments)));
    });
}

PGDLLEXPORT Datum securatlas_http_post_form(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        app::RequestArguments arguments = form_arguments(fcinfo);
        if (PG_NARGS() > 4) set_options(arguments, fcinfo, 4);
        return Int64GetDatum(app::make_request(std::move(arguments)));
    });
}

PGDLLEXPORT Datum securatlas_origin(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        const auto url = core::Url::parse(*ext::text_argument(fcinfo, 0));
        return text_result(url ? url->origin() : std::string("invalid"));
    });
}

PGDLLEXPORT Datum securatlas_request_inserted(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return entry_point([] {
        pg::at_commit::wake_http_worker();
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_net_wake(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return entry_point([] {
        pg::at_commit::wake_http_worker();
        pg::at_commit::notify(pg::Notice::Kind::purge_wanted, 0);
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_net_worker_restart(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return entry_point([] {
        pg::reload_configuration();
        const pg::DatabaseOid database = pg::current_database();
        const bool was_there = pg::DatabaseTable::restart_http_worker(database);
        if (!was_there) pg::DatabaseTable::wake_http_worker(database);
        return BoolGetDatum(was_there);
    });
}

PGDLLEXPORT Datum securatlas_net_worker_is_up(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return entry_point([] {
        const pg::DatabaseOid database = pg::current_database();
        const bool starts_when_wanted = !pg::DatabaseTable::http_worker_is_kept(database) &&
                                        pg::DatabaseTable::scheduler_is_running(database);
        return BoolGetDatum(pg::DatabaseTable::http_worker_pid(database) != 0 ||
                            starts_when_wanted);
    });
}

PGDLLEXPORT Datum securatlas_await_response(PG_FUNCTION_ARGS) {
    return ext::entry_point(
        [fcinfo] { return BoolGetDatum(pg::requests::await_response(PG_GETARG_INT64(0))); });
}

PGDLLEXPORT Datum securatlas_urlencode_string(PG_FUNCTION_ARGS) {
    return entry_point(
        [fcinfo] { return text_result(app::url_encoded(*ext::text_argument(fcinfo, 0))); });
}

PGDLLEXPORT Datum securatlas_encode_url_with_params_array(PG_FUNCTION_ARGS) {
    return entry_point([fcinfo] {
        return text_result(
            app::url_with_parameters(*ext::text_argument(fcinfo, 0), texts_argument(fcinfo, 1)));
    });
}

}  // extern "C"
