// SQL functions of schema securatlas that read responses of token endpoints.
#include "arguments.hpp"
#include "entry_point.hpp"
#include "securatlas/core/securatlas/token_answer.hpp"

extern "C" {
#include "access/htup_details.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
}

namespace core = securatlas::core;
namespace pg = securatlas::pg;
namespace ext = securatlas::extension;

namespace {

// JSON is in UTF-8; in a SQL_ASCII database the bytes are assumed to be UTF-8.
std::string as_utf8(const std::string& text) {
    if (GetDatabaseEncoding() == PG_SQL_ASCII) return text;
    const int length = static_cast<int>(text.size());
    return pg::call([&] {
        char* converted = pg_server_to_any(text.c_str(), length, PG_UTF8);
        return converted == text.c_str() ? pstrdup(converted) : converted;
    });
}

// C world. The text is ASCII, which is valid in every database encoding.
void set_text(Datum& value, bool& is_null, const char* text) {
    is_null = text == nullptr;
    if (!is_null) value = CStringGetTextDatum(text);
}

// C world.
Datum make_row(FunctionCallInfo fcinfo, const char* access_token, const char* refresh_token,
               std::int64_t microseconds, const char* error) {
    TupleDesc description = nullptr;
    if (get_call_result_type(fcinfo, nullptr, &description) != TYPEFUNC_COMPOSITE) {
        elog(ERROR, "return type must be a row type");
    }
    Datum values[4] = {};
    bool nulls[4] = {};
    auto* lifetime = static_cast<Interval*>(palloc0(sizeof(Interval)));
    lifetime->time = microseconds;
    set_text(values[0], nulls[0], access_token);
    set_text(values[1], nulls[1], refresh_token);
    values[2] = IntervalPGetDatum(lifetime);
    set_text(values[3], nulls[3], error);
    return HeapTupleGetDatum(heap_form_tuple(description, values, nulls));
}

const char* text_or_null(const std::optional<std::string>& text) {
    return text ? text->c_str() : nullptr;
}

Datum token_answer(FunctionCallInfo fcinfo) {
    const std::string content = as_utf8(ext::text_argument(fcinfo, 0).value_or(""));
    const core::TokenAnswer answer = core::read_token_answer(content);
    return pg::call([&] {
        return make_row(fcinfo, text_or_null(answer.access_token),
                        text_or_null(answer.refresh_token), answer.lifetime.count(),
                        answer.error.empty() ? nullptr : answer.error.c_str());
    });
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_token_answer);
PGDLLEXPORT Datum securatlas_token_answer(PG_FUNCTION_ARGS) {
    return ext::entry_point([fcinfo] { return token_answer(fcinfo); });
}

}  // extern "C"
