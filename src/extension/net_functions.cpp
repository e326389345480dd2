// SQL functions of schema net. Each enters the C++ world at once.
#include "../pg/json.hpp"
#include "arguments.hpp"
#include "securatlas/app/make_request.hpp"
#include "securatlas/core/url.hpp"
#include "securatlas/pg/commit_actions.hpp"
#include "securatlas/pg/identity.hpp"
#include "securatlas/pg/shared_state.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "utils/array.h"
}

using securatlas::pg::entry;
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

std::optional<std::string> json_argument(FunctionCallInfo fcinfo, int index) {
    if (PG_ARGISNULL(index)) return std::nullopt;
    return pg::json_as_utf8(PG_GETARG_DATUM(index));
}

// Indexes of a function's arguments.
struct Places {
    int params;
    int headers;
    int timeout;
    int body;  // -1: it has none
};

Datum make_request(FunctionCallInfo fcinfo, core::Method method, const Places& at) {
    return Int64GetDatum(
        app::make_request({.method = method,
                           .url = ext::text_argument(fcinfo, 0),
                           .params = object_argument(fcinfo, at.params),
                           .headers = object_argument(fcinfo, at.headers),
                           .body = at.body < 0 ? std::nullopt : json_argument(fcinfo, at.body),
                           .timeout_milliseconds = ext::int_argument(fcinfo, at.timeout)}));
}

// The elements that are not NULL.
std::vector<std::string> texts_argument(FunctionCallInfo fcinfo, int index) {
    struct Elements {
        Datum* values;
        bool* nulls;
        int count;
    };
    const Elements elements = pg::call([fcinfo, index] {
        Elements found{};
        deconstruct_array(PG_GETARG_ARRAYTYPE_P(index), TEXTOID, -1, false, TYPALIGN_INT,
                          &found.values, &found.nulls, &found.count);
        return found;
    });
    std::vector<std::string> texts;
    for (int i = 0; i < elements.count; ++i) {
        if (elements.nulls[i]) continue;
        texts.emplace_back(pg::call([&] { return TextDatumGetCString(elements.values[i]); }));
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
PG_FUNCTION_INFO_V1(securatlas_http_delete);
PG_FUNCTION_INFO_V1(securatlas_request_inserted);
PG_FUNCTION_INFO_V1(securatlas_net_wake);
PG_FUNCTION_INFO_V1(securatlas_net_worker_restart);
PG_FUNCTION_INFO_V1(securatlas_net_worker_is_up);
PG_FUNCTION_INFO_V1(securatlas_urlencode_string);
PG_FUNCTION_INFO_V1(securatlas_encode_url_with_params_array);

PGDLLEXPORT Datum securatlas_http_get(PG_FUNCTION_ARGS) {
    return entry([fcinfo] {
        return make_request(fcinfo, core::Method::get,
                            {.params = 1, .headers = 2, .timeout = 3, .body = -1});
    });
}

PGDLLEXPORT Datum securatlas_http_post(PG_FUNCTION_ARGS) {
    return entry([fcinfo] {
        return make_request(fcinfo, core::Method::post,
                            {.params = 2, .headers = 3, .timeout = 4, .body = 1});
    });
}

PGDLLEXPORT Datum securatlas_http_delete(PG_FUNCTION_ARGS) {
    return entry([fcinfo] {
        return make_request(fcinfo, core::Method::del,
                            {.params = 1, .headers = 2, .timeout = 3, .body = 4});
    });
}

PGDLLEXPORT Datum securatlas_request_inserted(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return entry([] {
        pg::at_commit::wake_http_worker();
        return PointerGetDatum(nullptr);
    });
}

PGDLLEXPORT Datum securatlas_net_wake(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return entry([] {
        pg::at_commit::wake_http_worker();
        return Datum{0};
    });
}

PGDLLEXPORT Datum securatlas_net_worker_restart(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return entry([] {
        return BoolGetDatum(pg::DatabaseTable::restart_http_worker(pg::current_database()));
    });
}

PGDLLEXPORT Datum securatlas_net_worker_is_up(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    return entry([] {
        const pg::DatabaseOid database = pg::current_database();
        return BoolGetDatum(pg::DatabaseTable::http_worker_pid(database) != 0 ||
                            pg::DatabaseTable::scheduler_is_running(database));
    });
}

PGDLLEXPORT Datum securatlas_urlencode_string(PG_FUNCTION_ARGS) {
    return entry(
        [fcinfo] { return text_result(core::percent_encode(*ext::text_argument(fcinfo, 0))); });
}

PGDLLEXPORT Datum securatlas_encode_url_with_params_array(PG_FUNCTION_ARGS) {
    return entry([fcinfo] {
        return text_result(
            app::url_with_parameters(*ext::text_argument(fcinfo, 0), texts_argument(fcinfo, 1)));
    });
}

}  // extern "C"
