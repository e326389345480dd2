// SQL functions of schema securatlas that make a catalogue of controls (core::Catalogue), and the
// aggregate that collects what the risk score needs to know of a tenant (core::TenantFacts). Both
// are bytea there.
#include <algorithm>
#include <new>

#include "securatlas/fact_row.hpp"

extern "C" {
#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/fmgrprotos.h"
#include "utils/uuid.h"
}

namespace securatlas {

namespace {

constexpr std::size_t kMaxPlaces = 10'000'000;

// A UUID of SHA-256, which FIPS allows. In C world.
pg_uuid_t* uuid_of_hash(const unsigned char* data, std::size_t size) {
    bytea* value = reinterpret_cast<bytea*>(palloc(VARHDRSZ + size));
    SET_VARSIZE(value, VARHDRSZ + size);
    std::memcpy(VARDATA(value), data, size);
    const bytea* hash = DatumGetByteaPP(DirectFunctionCall1(sha256_bytea, PointerGetDatum(value)));
    auto* result = static_cast<pg_uuid_t*>(palloc(sizeof(pg_uuid_t)));
    std::memcpy(result->data, VARDATA_ANY(hash), UUID_LEN);
    return result;
}

// (owner uuid, occasion text), strict
Datum snapshot_id(FunctionCallInfo fcinfo) {
    std::string data(reinterpret_cast<const char*>(PG_GETARG_UUID_P(0)->data), UUID_LEN);
    const std::string_view occasion = text_in(PG_GETARG_DATUM(1));
    const auto is_ascii = [](char byte) { return static_cast<unsigned char>(byte) < 0x80; };
    if (std::all_of(occasion.begin(), occasion.end(), is_ascii)) {
        data.append(occasion);
    } else {  // the id does not depend on the encoding of the database
        const bytea* converted = pg::call([&] {
            return DatumGetByteaPP(
                DirectFunctionCall2(pg_convert_to, PG_GETARG_DATUM(1), CStringGetDatum("UTF8")));
        });
        data.append(VARDATA_ANY(converted), VARSIZE_ANY_EXHDR(converted));
    }
    return pg::call([&data] {
        pg_uuid_t* id =
            uuid_of_hash(reinterpret_cast<const unsigned char*>(data.data()), data.size());
        constexpr unsigned char kVersion = 0x80;
        id->data[6] = static_cast<unsigned char>((id->data[6] & 0x0F) | kVersion);
        return UUIDPGetDatum(id);
    });
}

// (id text), strict
Datum key_of_text(FunctionCallInfo fcinfo) {
    const std::string_view text = text_in(PG_GETARG_DATUM(0));
    return pg::call([&] {
        const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
        if (text.size() >= UUID_LEN) {
            pg_uuid_t* hash = uuid_of_hash(bytes, text.size());
            hash->data[0] |= 0x80;
            return UUIDPGetDatum(hash);
        }
        auto* key = static_cast<pg_uuid_t*>(palloc0(sizeof(pg_uuid_t)));
        key->data[0] = static_cast<unsigned char>(text.size());
        std::memcpy(key->data + 1, bytes, text.size());
        return UUIDPGetDatum(key);
    });
}

// ---- the catalogue -----------------------------------------------------------------------------

// (controls uuid[], categories text[], frameworks uuid[], requirements uuid[], asked uuid[])
Datum catalogue(FunctionCallInfo fcinfo) {
    const Elements ids = elements(fcinfo, 0, UUIDOID);
    const Elements categories = elements(fcinfo, 1, TEXTOID);
    const Elements frameworks = elements(fcinfo, 2, UUIDOID);
    const Elements requirements = elements(fcinfo, 3, UUIDOID);
    const Elements asked = elements(fcinfo, 4, UUIDOID);
    if (ids.count != categories.count || frameworks.count != requirements.count ||
        frameworks.count != asked.count) {
        throw pg::Error("22023", "arrays of a catalogue differ in length");
    }
    std::vector<core::Catalogue::Control> controls;
    for (int i = 0; i < ids.count; ++i) {
        const auto id = ids.id(i);
        if (!id || categories.nulls[i]) continue;
        controls.push_back({*id, std::string(text_in(categories.values[i]))});
    }
    std::vector<core::Catalogue::Requirement> rows;
    for (int i = 0; i < frameworks.count; ++i) {
        const auto framework = frameworks.id(i);
        if (!framework) continue;
        rows.push_back({*framework, requirements.id(i).value_or(core::Id{}), asked.id(i)});
    }
    if (controls.size() + rows.size() > kMaxPlaces) {
        throw pg::Error("54000", "there are too many controls and requirements");
    }
    const auto block = core::Catalogue::make(controls, rows);
    bytea* value = make_value(block.size());
    std::copy(block.begin(), block.end(), block_in(value).begin());
    PG_RETURN_BYTEA_P(value);
}

// ---- the aggregate -----------------------------------------------------------------------------

// What the aggregate knows of a tenant, in its memory context. The block of the facts follows it.
struct State {
    core::TenantFacts facts;
};

State* new_state(MemoryContext memory, int places, int categories) {
    const std::size_t size = core::TenantFacts::block_size(places, categories);
    const core::Bytes all = allocate(memory, sizeof(State) + size);
    return ::new (all.data())
        State{core::TenantFacts::make(all.subspan(sizeof(State)), places, categories)};
}

void make_room(MemoryContext memory, core::TenantFacts& facts) {
    // So many fit into 256 bytes; palloc() gives out powers of two.
    constexpr std::size_t kNotes = 11;
    if (!facts.has_room()) facts.add_chunk(allocate(memory, core::TenantFacts::chunk_size(kNotes)));
}

// (state internal, kind int, item uuid, control uuid, word text, number float8, other float8,
//  catalogue bytea)
Datum add_fact(FunctionCallInfo fcinfo) {
    const MemoryContext memory = aggregate_memory(fcinfo);
    const core::Catalogue& catalogue = known_catalogue(fcinfo, 7);
    State* state = PG_ARGISNULL(0) ? new_state(memory, catalogue.places(), catalogue.categories())
                                   : reinterpret_cast<State*>(PG_GETARG_POINTER(0));
    add_row<1>(fcinfo, catalogue, state->facts,
               [memory](core::TenantFacts& facts) { make_room(memory, facts); });
    PG_RETURN_POINTER(state);
}

// (state internal, other internal)
Datum add_facts(FunctionCallInfo fcinfo) {
    const MemoryContext memory = aggregate_memory(fcinfo);
    if (PG_ARGISNULL(1)) {
        if (PG_ARGISNULL(0)) PG_RETURN_NULL();
        PG_RETURN_DATUM(PG_GETARG_DATUM(0));
    }
    const core::TenantFacts& other = reinterpret_cast<State*>(PG_GETARG_POINTER(1))->facts;
    State* state = PG_ARGISNULL(0) ? new_state(memory, other.places(), other.categories())
                                   : reinterpret_cast<State*>(PG_GETARG_POINTER(0));
    if (!state->facts.add(other, allocate(memory, core::TenantFacts::chunk_size(other.notes())))) {
        throw pg::Error("22023", "facts of a tenant refer to different catalogues");
    }
    PG_RETURN_POINTER(state);
}

bytea* to_bytea(const core::TenantFacts& facts) {
    bytea* value = make_value(facts.size());
    facts.write(block_in(value).data());
    return value;
}

// (state internal) as bytea, strict
Datum write_facts(FunctionCallInfo fcinfo) {
    (void)aggregate_memory(fcinfo);
    PG_RETURN_BYTEA_P(to_bytea(reinterpret_cast<State*>(PG_GETARG_POINTER(0))->facts));
}

// (written bytea, unused internal), strict
Datum read_facts(FunctionCallInfo fcinfo) {
    (void)aggregate_memory(fcinfo);
    const core::TenantFacts facts = facts_argument(fcinfo, 0);
    const core::Bytes place = allocate(CurrentMemoryContext, sizeof(State));
    PG_RETURN_POINTER(::new (place.data()) State{facts});
}

// (state internal) as bytea, strict
Datum facts_if_wanted(FunctionCallInfo fcinfo) {
    (void)aggregate_memory(fcinfo);
    const core::TenantFacts& facts = reinterpret_cast<State*>(PG_GETARG_POINTER(0))->facts;
    if (!facts.is_wanted()) PG_RETURN_NULL();
    PG_RETURN_BYTEA_P(to_bytea(facts));
}

}  // namespace

}  // namespace securatlas

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_snapshot_id);
PG_FUNCTION_INFO_V1(securatlas_key_of_text);
PG_FUNCTION_INFO_V1(securatlas_catalogue);
PG_FUNCTION_INFO_V1(securatlas_add_fact);
PG_FUNCTION_INFO_V1(securatlas_add_facts);
PG_FUNCTION_INFO_V1(securatlas_write_facts);
PG_FUNCTION_INFO_V1(securatlas_read_facts);
PG_FUNCTION_INFO_V1(securatlas_facts_if_wanted);

PGDLLEXPORT Datum securatlas_snapshot_id(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::snapshot_id(fcinfo); });
}

PGDLLEXPORT Datum securatlas_key_of_text(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::key_of_text(fcinfo); });
}

PGDLLEXPORT Datum securatlas_catalogue(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::catalogue(fcinfo); });
}

PGDLLEXPORT Datum securatlas_add_fact(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::add_fact(fcinfo); });
}

PGDLLEXPORT Datum securatlas_add_facts(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::add_facts(fcinfo); });
}

PGDLLEXPORT Datum securatlas_write_facts(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::write_facts(fcinfo); });
}

PGDLLEXPORT Datum securatlas_read_facts(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point([fcinfo] { return securatlas::read_facts(fcinfo); });
}

PGDLLEXPORT Datum securatlas_facts_if_wanted(PG_FUNCTION_ARGS) {
    return securatlas::extension::entry_point(
        [fcinfo] { return securatlas::facts_if_wanted(fcinfo); });
}
}
