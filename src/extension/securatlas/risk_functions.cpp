// SQL functions of schema securatlas.
#include <cstring>

#include "entry_point.hpp"
#include "securatlas/core/securatlas/risk_score.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "utils/array.h"
}

namespace securatlas {

namespace {

std::optional<double> optional_number(FunctionCallInfo fcinfo, int argument) {
    if (PG_ARGISNULL(argument)) return std::nullopt;
    return DatumGetFloat8(PG_GETARG_DATUM(argument));
}

std::int64_t count(FunctionCallInfo fcinfo, int argument) {
    return PG_ARGISNULL(argument) ? 0 : DatumGetInt64(PG_GETARG_DATUM(argument));
}

// Reads a float8[4] without NULLs into a struct of four doubles.
template <class Four>
Four four_numbers(FunctionCallInfo fcinfo, int argument, const char* name) {
    static_assert(sizeof(Four) == 4 * sizeof(double));
    const ArrayType* array = nullptr;
    if (!PG_ARGISNULL(argument)) {
        array = pg::call([&] { return DatumGetArrayTypeP(PG_GETARG_DATUM(argument)); });
    }
    if (array == nullptr || ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] != 4 || ARR_HASNULL(array)) {
        throw pg::Error("22023", std::string(name) + " must be an array of four numbers");
    }
    Four result;
    std::memcpy(&result, ARR_DATA_PTR(array), sizeof result);
    return result;
}

// In C world.
Datum make_row(FunctionCallInfo fcinfo, Datum* values, bool* nulls) {
    TupleDesc descriptor;
    if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE) {
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("function returning record called in context that cannot accept "
                               "type record")));
    }
    return HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
}

Datum risk_score(FunctionCallInfo fcinfo) {
    const core::RiskRule rule{
        .weights = four_numbers<core::PerCategory>(fcinfo, 9, "weights"),
        .penalties = four_numbers<core::FindingPenalties>(fcinfo, 10, "penalties"),
    };
    if (!core::is_sane(rule)) {
        throw pg::Error("22023",
                        "weights and penalties must not be negative, and the weights "
                        "must sum to 1");
    }
    const core::Posture posture{
        .average_maturity = optional_number(fcinfo, 0),
        .evidence_share = optional_number(fcinfo, 1),
        .framework_readiness = optional_number(fcinfo, 2),
        .open_findings = {count(fcinfo, 3), count(fcinfo, 4), count(fcinfo, 5), count(fcinfo, 6)},
        .breach_cost = optional_number(fcinfo, 7),
        .annual_revenue = optional_number(fcinfo, 8),
    };
    const core::RiskScore result = core::score_risk(rule, posture);
    const auto rounded = [](double value) { return Int32GetDatum(core::round_half_away(value)); };
    Datum values[] = {
        Int32GetDatum(result.score),
        rounded(result.values.control_maturity),
        rounded(result.values.evidence_coverage),
        rounded(result.values.framework_compliance),
        rounded(result.values.integration_findings),
        Float8GetDatum(result.annualized_loss_expectancy.value_or(0.0)),
    };
    bool nulls[] = {false, false, false, false, false, !result.annualized_loss_expectancy};
    return pg::call([&] { return make_row(fcinfo, values, nulls); });
}

}  // namespace

}  // namespace securatlas

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_risk_score);
PGDLLEXPORT Datum securatlas_risk_score(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([&] { return securatlas::risk_score(fcinfo); });
}
}
