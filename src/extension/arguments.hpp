// Converts arguments of SQL functions to C++ values; NULL becomes nullopt.
#pragma once

#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/cron/jobs.hpp"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
}

namespace securatlas::extension {

inline std::optional<std::string> text_argument(FunctionCallInfo fcinfo, int index) {
    if (PG_NARGS() <= index || PG_ARGISNULL(index)) return std::nullopt;
    return pg::call([fcinfo, index] { return text_to_cstring(PG_GETARG_TEXT_PP(index)); });
}

inline std::optional<std::int64_t> bigint_argument(FunctionCallInfo fcinfo, int index) {
    if (PG_NARGS() <= index || PG_ARGISNULL(index)) return std::nullopt;
    return PG_GETARG_INT64(index);
}

inline std::optional<int> int_argument(FunctionCallInfo fcinfo, int index) {
    if (PG_NARGS() <= index || PG_ARGISNULL(index)) return std::nullopt;
    return PG_GETARG_INT32(index);
}

inline std::optional<bool> bool_argument(FunctionCallInfo fcinfo, int index) {
    if (PG_NARGS() <= index || PG_ARGISNULL(index)) return std::nullopt;
    return PG_GETARG_BOOL(index);
}

inline std::optional<core::Instant> instant_argument(FunctionCallInfo fcinfo, int index) {
    if (PG_NARGS() <= index || PG_ARGISNULL(index)) return std::nullopt;
    return pg::to_instant(PG_GETARG_TIMESTAMPTZ(index));
}

// The elements of a text array of any dimensions.
inline std::optional<std::vector<std::optional<std::string>>> texts_argument(
    FunctionCallInfo fcinfo, int index) {
    if (PG_NARGS() <= index || PG_ARGISNULL(index)) return std::nullopt;
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
    std::vector<std::optional<std::string>> texts;
    for (int i = 0; i < elements.count; ++i) {
        if (elements.nulls[i]) {
            texts.emplace_back();
        } else {
            texts.emplace_back(pg::call([&] { return TextDatumGetCString(elements.values[i]); }));
        }
    }
    return texts;
}

// An interval as text that does not depend on the session's settings, and its length.
inline std::optional<pg::jobs::IntervalValue> interval_argument(FunctionCallInfo fcinfo,
                                                                int index) {
    if (PG_NARGS() <= index || PG_ARGISNULL(index)) return std::nullopt;
    const Interval* interval = PG_GETARG_INTERVAL_P(index);
    return pg::jobs::IntervalValue{std::to_string(interval->month) + " months " +
                                       std::to_string(interval->day) + " days " +
                                       std::to_string(interval->time) + " microseconds",
                                   pg::to_duration(*interval)};
}

}  // namespace securatlas::extension
