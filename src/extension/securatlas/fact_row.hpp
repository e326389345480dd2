// What the aggregates of facts share: reading their arguments, and adding a row to what is known of
// a tenant.
#pragma once

#include <new>

#include "securatlas/blocks.hpp"

extern "C" {
#include "catalog/pg_type_d.h"
#include "utils/array.h"
#include "utils/uuid.h"
}

namespace securatlas {

inline std::string_view text_in(Datum datum) {
    auto* value = reinterpret_cast<varlena*>(DatumGetPointer(datum));
    // Only large texts need a call into PostgreSQL, and most are small.
    if (VARATT_IS_EXTERNAL(value) || VARATT_IS_COMPRESSED(value)) {
        value = pg::call([value] { return pg_detoast_datum_packed(value); });
    }
    return {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};
}

inline core::Id id_in(Datum datum) { return core::read_id(DatumGetUUIDP(datum)->data); }

// Of an array.
struct Elements {
    Datum* values = nullptr;
    bool* nulls = nullptr;
    int count = 0;

    std::optional<core::Id> id(int index) const {
        return nulls[index] ? std::nullopt : std::optional(id_in(values[index]));
    }
};

// NULL is an empty array.
inline Elements elements(FunctionCallInfo fcinfo, int argument, Oid type) {
    Elements all;
    if (PG_ARGISNULL(argument)) return all;
    const bool is_uuid = type == UUIDOID;
    pg::call([&] {
        deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), type, is_uuid ? UUID_LEN : -1, false,
                          is_uuid ? TYPALIGN_CHAR : TYPALIGN_INT, &all.values, &all.nulls,
                          &all.count);
    });
    return all;
}

inline MemoryContext aggregate_memory(FunctionCallInfo fcinfo) {
    MemoryContext memory = nullptr;
    if (AggCheckCallContext(fcinfo, &memory) == 0) {
        throw pg::Error("0A000", "function must be called by its aggregate");
    }
    return memory;
}

inline core::Bytes allocate(MemoryContext memory, std::size_t size) {
    return pg::call([=] {
        return core::Bytes(static_cast<unsigned char*>(MemoryContextAlloc(memory, size)), size);
    });
}

// The catalogue is the same in each call: the first one copies it.
inline const core::Catalogue& known_catalogue(FunctionCallInfo fcinfo, int argument) {
    auto*& known = fcinfo->flinfo->fn_extra;
    if (known == nullptr) {
        (void)catalogue_argument(fcinfo, argument);
        const MemoryContext memory = fcinfo->flinfo->fn_mcxt;
        bytea* copy = pg::call([&] {
            const MemoryContext caller = MemoryContextSwitchTo(memory);
            bytea* result = PG_GETARG_BYTEA_P_COPY(argument);
            MemoryContextSwitchTo(caller);
            return result;
        });
        const core::Bytes place = allocate(memory, sizeof(core::Catalogue));
        known = ::new (place.data()) core::Catalogue(*core::Catalogue::at(block_in(copy)));
    }
    return *static_cast<const core::Catalogue*>(known);
}

enum class Kind { control = 1, evidence, link, finding, selection, asked, tenant };

// Adds the row of arguments `First` and the following to what is known of its tenant: kind int,
// item uuid, control uuid, word text, number float8, other float8. `make_room` makes it for a note.
template <int First, class MakeRoom>
void add_row(FunctionCallInfo fcinfo, const core::Catalogue& catalogue, core::TenantFacts& facts,
             MakeRoom&& make_room) {
    constexpr int kItem = First + 1;
    constexpr int kControl = First + 2;
    constexpr int kWord = First + 3;
    constexpr int kNumber = First + 4;
    constexpr int kOther = First + 5;
    const auto id = [fcinfo](int argument) {
        return PG_ARGISNULL(argument) ? std::nullopt
                                      : std::optional(id_in(PG_GETARG_DATUM(argument)));
    };
    const auto word = [fcinfo] {
        return PG_ARGISNULL(kWord) ? std::nullopt : std::optional(text_in(PG_GETARG_DATUM(kWord)));
    };
    const auto number = [fcinfo](int argument) {
        return PG_ARGISNULL(argument) ? std::nullopt : std::optional(PG_GETARG_FLOAT8(argument));
    };
    const auto place = [&]() -> std::optional<core::Catalogue::Place> {
        const auto control = id(kControl);
        return control ? catalogue.control(*control) : std::nullopt;
    };
    switch (static_cast<Kind>(PG_ARGISNULL(First) ? 0 : PG_GETARG_INT32(First))) {
        case Kind::control: {
            const auto found = place();
            const auto status = word();
            facts.add_control({.place = found ? std::optional(found->place) : std::nullopt,
                               .category = found ? found->category : std::nullopt,
                               .status = status ? core::control_status(*status) : std::nullopt,
                               .maturity = number(kNumber)});
            break;
        }
        case Kind::evidence:
            if (const auto item = id(kItem)) {
                make_room(facts);
                facts.add_evidence(*item);
            }
            break;
        case Kind::link: {
            const auto item = id(kItem);
            const auto found = place();
            if (item && found) {
                make_room(facts);
                facts.add_link(*item, found->place);
            }
            break;
        }
        case Kind::finding:
            facts.add_finding(word());
            break;
        case Kind::selection: {
            const auto framework = id(kControl);
            make_room(facts);
            facts.add_selection(framework ? catalogue.framework(*framework) : std::nullopt,
                                number(kNumber).value_or(0.0));
            break;
        }
        case Kind::asked:
            facts.ask();
            break;
        case Kind::tenant:
            facts.add_tenant(number(kOther), number(kNumber));
            break;
    }
}

}  // namespace securatlas
