// The aggregate that collects what the risk scores need to know of many tenants
// (core::TenantTable), and the one that puts together what several of it have collected. In SQL
// their results are bytea.
#include <memory>
#include <utility>
#include <vector>

#include "securatlas/core/securatlas/tenant_table.hpp"
#include "securatlas/fact_row.hpp"

namespace securatlas {

namespace {

// What the aggregate knows. It ends with the aggregate's memory context, which frees the table.
struct Known {
    core::TenantTable* table;
    core::Bytes written;  // in place of a table: by another process
    MemoryContextCallback end;
};

Known* new_state(MemoryContext memory) {
    const core::Bytes place = allocate(memory, sizeof(Known));
    Known* state = ::new (place.data()) Known{};
    state->end.arg = state;
    state->end.func = [](void* arg) { delete static_cast<Known*>(arg)->table; };
    pg::call([=] { MemoryContextRegisterResetCallback(memory, &state->end); });
    return state;
}

Known* state_argument(FunctionCallInfo fcinfo, int argument) {
    return PG_ARGISNULL(argument) ? nullptr : reinterpret_cast<Known*>(PG_GETARG_POINTER(argument));
}

std::vector<core::Id> ids_argument(FunctionCallInfo fcinfo, int argument) {
    const Elements all = elements(fcinfo, argument, UUIDOID);
    std::vector<core::Id> ids;
    ids.reserve(static_cast<std::size_t>(all.count));
    for (int i = 0; i < all.count; ++i) {
        if (const auto id = all.id(i)) ids.push_back(*id);
    }
    return ids;
}

// (state internal, tenant uuid, kind int, item uuid, control uuid, word text, number float8,
//  other float8, catalogue bytea, tenants uuid[])
Datum add_fact_of(FunctionCallInfo fcinfo) {
    Known* state = state_argument(fcinfo, 0);
    if (state == nullptr) {
        const MemoryContext memory = aggregate_memory(fcinfo);
        const core::Catalogue& catalogue = known_catalogue(fcinfo, 8);
        state = new_state(memory);
        state->table = new core::TenantTable(ids_argument(fcinfo, 9), catalogue.places(),
                                             catalogue.categories());
    }
    if (PG_ARGISNULL(1)) PG_RETURN_POINTER(state);
    if (core::TenantFacts* facts = state->table->find(id_in(PG_GETARG_DATUM(1)))) {
        add_row<2>(fcinfo, known_catalogue(fcinfo, 8), *facts,
                   [state](core::TenantFacts& known) { state->table->make_room(known); });
    }
    PG_RETURN_POINTER(state);
}

// Adds what others have collected to the state of argument 0.
template <class Written>
Datum add_to_state(FunctionCallInfo fcinfo, Written&& written) {
    const MemoryContext memory = aggregate_memory(fcinfo);
    Known* state = state_argument(fcinfo, 0);
    if (PG_ARGISNULL(1)) {
        if (state == nullptr) PG_RETURN_NULL();
        PG_RETURN_POINTER(state);
    }
    const core::Bytes facts = written();
    if (state == nullptr) {
        state = new_state(memory);
        state->table = core::TenantTable::like(facts).release();
    }
    if (state->table == nullptr || !state->table->add(facts)) {
        throw pg::Error("22023", "value is no collection of facts of tenants");
    }
    PG_RETURN_POINTER(state);
}

// (state internal, other internal)
Datum add_read(FunctionCallInfo fcinfo) {
    return add_to_state(fcinfo, [fcinfo] { return state_argument(fcinfo, 1)->written; });
}

// (state internal, facts bytea)
Datum add_written(FunctionCallInfo fcinfo) {
    return add_to_state(fcinfo, [fcinfo] { return block_in(aligned_argument(fcinfo, 1)); });
}

bytea* to_bytea(const core::TenantTable& table) {
    bytea* value = make_value(table.size());
    table.write(block_in(value).data());
    return value;
}

// (state internal) as bytea, strict
Datum write_table(FunctionCallInfo fcinfo) {
    (void)aggregate_memory(fcinfo);
    PG_RETURN_BYTEA_P(to_bytea(*state_argument(fcinfo, 0)->table));
}

// (state internal) as bytea, strict
Datum settle_table(FunctionCallInfo fcinfo) {
    (void)aggregate_memory(fcinfo);
    Known* state = state_argument(fcinfo, 0);
    if (state->table == nullptr) throw pg::Error("0A000", "facts of tenants were used up");
    state->table->settle();
    bytea* result = to_bytea(*state->table);
    delete std::exchange(state->table, nullptr);
    PG_RETURN_BYTEA_P(result);
}

// (written bytea, unused internal), strict
Datum read_table(FunctionCallInfo fcinfo) {
    (void)aggregate_memory(fcinfo);
    const core::Bytes place = allocate(CurrentMemoryContext, sizeof(Known));
    Known* state = ::new (place.data()) Known{};
    state->written = block_in(aligned_argument(fcinfo, 0));
    PG_RETURN_POINTER(state);
}

// (catalogue bytea), strict
Datum facts_size(FunctionCallInfo fcinfo) {
    const core::Catalogue catalogue = catalogue_argument(fcinfo, 0);
    return Int32GetDatum(static_cast<int>(
        core::TenantTable::bytes_of_a_tenant(catalogue.places(), catalogue.categories())));
}

}  // namespace

}  // namespace securatlas

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_add_fact_of);
PG_FUNCTION_INFO_V1(securatlas_add_read);
PG_FUNCTION_INFO_V1(securatlas_add_written);
PG_FUNCTION_INFO_V1(securatlas_write_table);
PG_FUNCTION_INFO_V1(securatlas_read_table);

PG_FUNCTION_INFO_V1(securatlas_settle_table);
PG_FUNCTION_INFO_V1(securatlas_facts_size);

PGDLLEXPORT Datum securatlas_add_fact_of(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::add_fact_of(fcinfo); });
}

PGDLLEXPORT Datum securatlas_add_read(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::add_read(fcinfo); });
}

PGDLLEXPORT Datum securatlas_add_written(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::add_written(fcinfo); });
}

PGDLLEXPORT Datum securatlas_write_table(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::write_table(fcinfo); });
}

PGDLLEXPORT Datum securatlas_read_table(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::read_table(fcinfo); });
}

PGDLLEXPORT Datum securatlas_settle_table(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point(
        [fcinfo] { return securatlas::settle_table(fcinfo); });
}

PGDLLEXPORT Datum securatlas_facts_size(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::facts_size(fcinfo); });
}
}
