// SQL functions of schema securatlas that compute the risk score.
#include <algorithm>
#include <cstring>
#include <iterator>

#include "securatlas/blocks.hpp"
#include "securatlas/core/securatlas/risk_score.hpp"
#include "securatlas/core/securatlas/tenant_table.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type_d.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"
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

core::RiskRule rule_arguments(FunctionCallInfo fcinfo, int weights, int penalties) {
    const core::RiskRule rule{
        .weights = four_numbers<core::PerCategory>(fcinfo, weights, "weights"),
        .penalties = four_numbers<core::FindingPenalties>(fcinfo, penalties, "penalties"),
    };
    if (!core::is_sane(rule)) {
        throw pg::Error("22023",
                        "weights and penalties must not be negative, and the weights "
                        "must sum to 1");
    }
    return rule;
}

// In C world. The function remembers what its rows look like.
Datum make_row(FunctionCallInfo fcinfo, Datum* values, bool* nulls) {
    auto* descriptor = static_cast<TupleDesc>(fcinfo->flinfo->fn_extra);
    if (descriptor == nullptr) {
        const MemoryContext caller = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
        if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE) {
            ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                            errmsg("function returning record called in context that cannot accept "
                                   "type record")));
        }
        MemoryContextSwitchTo(caller);
        fcinfo->flinfo->fn_extra = descriptor;
    }
    return HeapTupleGetDatum(heap_form_tuple(descriptor, values, nulls));
}

Datum risk_score(FunctionCallInfo fcinfo) {
    const core::RiskRule rule = rule_arguments(fcinfo, 9, 10);
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

// ---- the score of a tenant ---------------------------------------------------------------------

// In C world.
void push_key(pg::JsonbBuilder& json, const char* key, std::size_t size) {
    JsonbValue name;
    name.type = jbvString;
    name.val.string.val = const_cast<char*>(key);
    name.val.string.len = static_cast<int>(size);
    json.push(WJB_KEY, &name);
}

// In C world.
void push_number(pg::JsonbBuilder& json, const char* key, std::size_t size, int number) {
    push_key(json, key, size);
    JsonbValue value;
    value.type = jbvNumeric;
    value.val.numeric = int64_to_numeric(number);
    json.push(WJB_VALUE, &value);
}

Datum breakdown(const core::PerCategory& values, const core::ControlSummary& controls,
                const core::Catalogue& catalogue) {
    struct Part {
        std::string_view name;
        double value;
    };
    const Part parts[] = {{"control_maturity", values.control_maturity},
                          {"evidence_coverage", values.evidence_coverage},
                          {"framework_compliance", values.framework_compliance},
                          {"integration_findings", values.integration_findings}};
    return pg::call([&] {
        constexpr std::string_view kSubcategories = "subcategories";
        pg::JsonbBuilder json;
        json.push(WJB_BEGIN_OBJECT);
        for (const auto& [name, value] : parts) {
            push_number(json, name.data(), name.size(), core::round_half_away(value));
        }
        push_key(json, kSubcategories.data(), kSubcategories.size());
        json.push(WJB_BEGIN_OBJECT);
        for (int category = 0; category < catalogue.categories(); ++category) {
            const auto average = controls.average_maturity(category);
            if (!average) continue;
            const std::string_view name = catalogue.category_name(category);
            push_number(json, name.data(), name.size(), core::round_half_away(*average * 20.0));
        }
        json.push(WJB_END_OBJECT);
        json.push(WJB_END_OBJECT);
        return JsonbPGetDatum(json.finish());
    });
}

struct TenantScore {
    Datum values[5];  // score, breakdown, loss, bad_controls, bad_findings
    bool nulls[5];
};

TenantScore score_of(const core::TenantFacts& facts, const core::Catalogue& catalogue,
                     const core::RiskRule& rule) {
    if (facts.places() != catalogue.places() || facts.categories() != catalogue.categories()) {
        throw pg::Error("22023", "facts of a tenant refer to another catalogue");
    }
    const core::RiskScore result = core::score_risk(rule, facts.posture(catalogue));
    TenantScore score{
        {Int32GetDatum(result.score), breakdown(result.values, facts.controls(), catalogue), 0,
         Int64GetDatum(facts.controls().bad_rows()), Int64GetDatum(facts.bad_findings())},
        {false, false, true, false, false}};
    if (result.annualized_loss_expectancy) {
        score.nulls[2] = false;
        score.values[2] = pg::call([&] {
            return DirectFunctionCall1(float8_numeric,
                                       Float8GetDatum(*result.annualized_loss_expectancy));
        });
    }
    return score;
}

// (facts bytea, catalogue bytea, weights float8[], penalties float8[])
Datum tenant_score(FunctionCallInfo fcinfo) {
    if (PG_ARGISNULL(0)) PG_RETURN_NULL();
    const core::TenantFacts facts = facts_argument(fcinfo, 0);
    const core::Catalogue catalogue = catalogue_argument(fcinfo, 1);
    TenantScore score = score_of(facts, catalogue, rule_arguments(fcinfo, 2, 3));
    return pg::call([&] { return make_row(fcinfo, score.values, score.nulls); });
}

// (facts bytea, catalogue bytea, weights float8[], penalties float8[]), a set
Datum tenant_scores(FunctionCallInfo fcinfo) {
    pg::call([&] { InitMaterializedSRF(fcinfo, 0); });
    if (PG_ARGISNULL(0)) return Datum{0};
    const core::Catalogue catalogue = catalogue_argument(fcinfo, 1);
    const core::RiskRule rule = rule_arguments(fcinfo, 2, 3);
    const core::Bytes all = block_in(aligned_argument(fcinfo, 0));
    const MemoryContext caller = CurrentMemoryContext;
    const MemoryContext memory = pg::call(
        [] { return AllocSetContextCreate(CurrentMemoryContext, "a row", ALLOCSET_SMALL_SIZES); });
    MemoryContextSwitchTo(memory);
    auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    const bool sound = core::TenantTable::for_each(
        all, [&](const core::Id& tenant, const core::TenantFacts& facts) {
            if (!facts.is_wanted()) return;
            const TenantScore score = score_of(facts, catalogue, rule);
            pg_uuid_t id;
            static_assert(sizeof id == sizeof tenant);
            std::memcpy(&id, &tenant, sizeof id);
            Datum values[1 + std::size(score.values)] = {UUIDPGetDatum(&id)};
            bool nulls[1 + std::size(score.nulls)] = {false};
            std::copy(std::begin(score.values), std::end(score.values), values + 1);
            std::copy(std::begin(score.nulls), std::end(score.nulls), nulls + 1);
            pg::call([&] {
                CHECK_FOR_INTERRUPTS();
                tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
                MemoryContextReset(memory);
            });
        });
    MemoryContextSwitchTo(caller);
    if (!sound) throw pg::Error("22023", "value is no collection of facts of tenants");
    return Datum{0};
}

}  // namespace

}  // namespace securatlas

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_risk_score);
PGDLLEXPORT Datum securatlas_risk_score(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([&] { return securatlas::risk_score(fcinfo); });
}

PG_FUNCTION_INFO_V1(securatlas_tenant_score);
PGDLLEXPORT Datum securatlas_tenant_score(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([&] { return securatlas::tenant_score(fcinfo); });
}

PG_FUNCTION_INFO_V1(securatlas_tenant_scores);
PGDLLEXPORT Datum securatlas_tenant_scores(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([&] { return securatlas::tenant_scores(fcinfo); });
}
}
