// SQL functions and aggregates of schema securatlas that work on sets and summaries of controls
// (core::ControlSummary), which are bytea there. The state of an aggregate is changed in place.
#include <cstring>

#include "entry_point.hpp"
#include "securatlas/core/securatlas/control_summary.hpp"
#include "securatlas/core/securatlas/risk_score.hpp"

extern "C" {
#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
}

namespace securatlas {

namespace {

// A summary has numbers of eight bytes, and palloc() returns memory that is aligned for them, but
// the length word of a bytea has only four: as many bytes after it are not used.
constexpr std::size_t kPadding = 8 - VARHDRSZ;

constexpr int kMaxPlaces = 10'000'000;
constexpr int kMaxCategories = 100'000;

core::Bytes content(bytea* value) {
    return {reinterpret_cast<unsigned char*>(VARDATA(value)), VARSIZE(value) - VARHDRSZ};
}

void require_aggregate(FunctionCallInfo fcinfo) {
    if (AggCheckCallContext(fcinfo, nullptr) == 0) {
        throw pg::Error("0A000", "function must be called by its aggregate");
    }
}

int size_argument(FunctionCallInfo fcinfo, int argument, int most) {
    const int value = PG_ARGISNULL(argument) ? -1 : PG_GETARG_INT32(argument);
    if (value < 0 || value > most) {
        throw pg::Error("22023", "number of places or categories is out of range",
                        "It must be between 0 and " + std::to_string(most) + ".");
    }
    return value;
}

std::optional<int> optional_int(FunctionCallInfo fcinfo, int argument) {
    if (PG_ARGISNULL(argument)) return std::nullopt;
    return PG_GETARG_INT32(argument);
}

// A new bytea; its content is not initialized.
bytea* make_bytea(std::size_t size) {
    return pg::call([size] {
        auto* value = static_cast<bytea*>(palloc(VARHDRSZ + size));
        SET_VARSIZE(value, VARHDRSZ + size);
        return value;
    });
}

// A copy of an argument, so that it is aligned and has a length word of four bytes. The first state
// of a combining function is a value as it came from another process, which may have neither.
bytea* aligned_copy(FunctionCallInfo fcinfo, int argument) {
    return pg::call([&] { return PG_GETARG_BYTEA_P_COPY(argument); });
}

core::ControlSummary summary_in(bytea* value) {
    const core::Bytes all = content(value);
    if (all.size() >= kPadding) {
        if (auto summary = core::ControlSummary::at(all.subspan(kPadding))) return *summary;
    }
    throw pg::Error("22023", "value is no summary of controls");
}

core::ControlSummary summary_argument(FunctionCallInfo fcinfo) {
    return summary_in(aligned_copy(fcinfo, 0));
}

std::string_view text_argument(FunctionCallInfo fcinfo, int argument) {
    auto* value = reinterpret_cast<varlena*>(PG_GETARG_POINTER(argument));
    // Only large texts need a call into PostgreSQL, and most are small.
    if (VARATT_IS_EXTERNAL(value) || VARATT_IS_COMPRESSED(value)) {
        value = pg::call([value] { return pg_detoast_datum_packed(value); });
    }
    return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

// ---- aggregates ------------------------------------------------------------------------------

// (state bytea, place int, places int)
Datum add_place(FunctionCallInfo fcinfo) {
    require_aggregate(fcinfo);
    bytea* state = nullptr;
    if (PG_ARGISNULL(0)) {
        const std::size_t size = core::set_size(size_argument(fcinfo, 2, kMaxPlaces));
        state = make_bytea(size);
        std::memset(VARDATA(state), 0, size);
    } else {
        state = reinterpret_cast<bytea*>(PG_GETARG_POINTER(0));
    }
    if (const auto place = optional_int(fcinfo, 1)) core::add_place(content(state), *place);
    PG_RETURN_BYTEA_P(state);
}

// (state bytea, other bytea), strict
Datum add_set(FunctionCallInfo fcinfo) {
    require_aggregate(fcinfo);
    bytea* state = aligned_copy(fcinfo, 0);
    const core::Bytes more = content(aligned_copy(fcinfo, 1));
    if (more.size() != content(state).size()) throw pg::Error("22023", "sets differ in size");
    core::add_set(content(state), more);
    PG_RETURN_BYTEA_P(state);
}

// (state bytea, place int, places int, category int, categories int, status text,
//  maturity float8)
Datum add_control(FunctionCallInfo fcinfo) {
    require_aggregate(fcinfo);
    bytea* state = nullptr;
    if (PG_ARGISNULL(0)) {
        const int places = size_argument(fcinfo, 2, kMaxPlaces);
        const int categories = size_argument(fcinfo, 4, kMaxCategories);
        const std::size_t size = core::ControlSummary::size_of(places, categories);
        state = make_bytea(kPadding + size);
        std::memset(VARDATA(state), 0, kPadding);
        core::ControlSummary::make(content(state).subspan(kPadding), places, categories);
    } else {
        state = reinterpret_cast<bytea*>(PG_GETARG_POINTER(0));
    }
    core::TenantControl control{.place = optional_int(fcinfo, 1),
                                .category = optional_int(fcinfo, 3),
                                .status = std::nullopt,
                                .maturity = std::nullopt};
    if (!PG_ARGISNULL(5)) control.status = core::control_status(text_argument(fcinfo, 5));
    if (!PG_ARGISNULL(6)) control.maturity = DatumGetFloat8(PG_GETARG_DATUM(6));
    summary_in(state).add(control);
    PG_RETURN_BYTEA_P(state);
}

// (state bytea, other bytea), strict
Datum add_controls(FunctionCallInfo fcinfo) {
    require_aggregate(fcinfo);
    auto* state = aligned_copy(fcinfo, 0);
    if (!summary_in(state).add(summary_in(aligned_copy(fcinfo, 1)))) {
        throw pg::Error("22023", "summaries of controls differ in size");
    }
    PG_RETURN_BYTEA_P(state);
}

// ---- what a summary says ---------------------------------------------------------------------

Datum or_null(FunctionCallInfo fcinfo, std::optional<double> value) {
    fcinfo->isnull = !value;
    return Float8GetDatum(value.value_or(0.0));
}

// (summary bytea, requirements bytea), strict
Datum readiness(FunctionCallInfo fcinfo) {
    const core::ControlSummary summary = summary_argument(fcinfo);
    const core::Bytes requirements = content(aligned_copy(fcinfo, 1));
    const std::size_t count = requirements.size() / summary.set_bytes();
    if (count == 0 || requirements.size() % summary.set_bytes() != 0) {
        throw pg::Error("22023", "the sets of the requirements have another size");
    }
    return Float8GetDatum(100.0 * summary.count_met(requirements) / static_cast<double>(count));
}

// (summary bytea, set bytea), strict
Datum share_in(FunctionCallInfo fcinfo) {
    const core::ControlSummary summary = summary_argument(fcinfo);
    return or_null(fcinfo, summary.share_in(content(aligned_copy(fcinfo, 1))));
}

// In C world.
void push_number(pg::JsonbBuilder& json, const char* key, std::size_t size, int number) {
    JsonbValue name;
    name.type = jbvString;
    name.val.string.val = const_cast<char*>(key);
    name.val.string.len = static_cast<int>(size);
    json.push(WJB_KEY, &name);
    JsonbValue value;
    value.type = jbvNumeric;
    value.val.numeric = int64_to_numeric(number);
    json.push(WJB_VALUE, &value);
}

// (summary bytea, categories text[]), strict
Datum breakdown(FunctionCallInfo fcinfo) {
    const core::ControlSummary summary = summary_argument(fcinfo);
    Datum* names = nullptr;
    int count = 0;
    pg::call([&] {
        deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &names,
                          nullptr, &count);
    });
    if (count != summary.categories()) {
        throw pg::Error("22023", "there must be a name for each category");
    }
    pg::JsonbBuilder json;
    pg::call([&] { json.push(WJB_BEGIN_OBJECT); });
    for (int category = 0; category < count; ++category) {
        const auto average = summary.average_maturity(category);
        if (!average) continue;
        const int percent = core::round_half_away(*average * 20.0);
        pg::call([&] {
            const text* name = DatumGetTextPP(names[category]);
            push_number(json, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), percent);
        });
    }
    return pg::call([&] {
        json.push(WJB_END_OBJECT);
        return JsonbPGetDatum(json.finish());
    });
}

}  // namespace

}  // namespace securatlas

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_add_place);
PG_FUNCTION_INFO_V1(securatlas_add_set);
PG_FUNCTION_INFO_V1(securatlas_add_control);
PG_FUNCTION_INFO_V1(securatlas_add_controls);
PG_FUNCTION_INFO_V1(securatlas_average_maturity);
PG_FUNCTION_INFO_V1(securatlas_bad_rows);
PG_FUNCTION_INFO_V1(securatlas_share_in);
PG_FUNCTION_INFO_V1(securatlas_readiness);
PG_FUNCTION_INFO_V1(securatlas_breakdown);

PGDLLEXPORT Datum securatlas_add_place(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::add_place(fcinfo); });
}

PGDLLEXPORT Datum securatlas_add_set(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::add_set(fcinfo); });
}

PGDLLEXPORT Datum securatlas_add_control(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::add_control(fcinfo); });
}

PGDLLEXPORT Datum securatlas_add_controls(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point(
        [fcinfo] { return securatlas::add_controls(fcinfo); });
}

PGDLLEXPORT Datum securatlas_average_maturity(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] {
        return securatlas::or_null(fcinfo, securatlas::summary_argument(fcinfo).average_maturity());
    });
}

PGDLLEXPORT Datum securatlas_bad_rows(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point(
        [fcinfo] { return Int64GetDatum(securatlas::summary_argument(fcinfo).bad_rows()); });
}

PGDLLEXPORT Datum securatlas_share_in(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::share_in(fcinfo); });
}

PGDLLEXPORT Datum securatlas_readiness(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::readiness(fcinfo); });
}

PGDLLEXPORT Datum securatlas_breakdown(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::breakdown(fcinfo); });
}
}
