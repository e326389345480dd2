// Values of type bytea whose content is a block of core, with numbers of eight bytes in it.
// palloc() returns memory that is aligned for them, but the length word of a bytea has only four
// bytes: as many after it are not used.
#pragma once

#include <cstdint>
#include <cstring>

#include "entry_point.hpp"
#include "securatlas/core/securatlas/catalogue.hpp"
#include "securatlas/core/securatlas/tenant_facts.hpp"

extern "C" {
#include "utils/builtins.h"
}

namespace securatlas {

constexpr std::size_t kPadding = 8 - VARHDRSZ;

// The block in a value that is aligned and has a length word of four bytes.
inline core::Bytes block_in(bytea* value) {
    const std::size_t size = VARSIZE(value) - VARHDRSZ;
    if (size < kPadding) return {};
    return {reinterpret_cast<unsigned char*>(VARDATA(value)) + kPadding, size - kPadding};
}

// A value that is aligned and has a length word of four bytes: itself or a copy.
inline bytea* aligned(Datum datum) {
    auto* value = reinterpret_cast<bytea*>(DatumGetPointer(datum));
    if (reinterpret_cast<std::uintptr_t>(value) % 8 == 0 && VARATT_IS_4B_U(value)) return value;
    return pg::call([datum] { return DatumGetByteaPCopy(datum); });
}

inline bytea* aligned_argument(FunctionCallInfo fcinfo, int argument) {
    return aligned(PG_GETARG_DATUM(argument));
}

// A new value with a block of so many bytes, which are not initialized.
inline bytea* make_value(std::size_t size) {
    return pg::call([size] {
        auto* value = static_cast<bytea*>(palloc(VARHDRSZ + kPadding + size));
        SET_VARSIZE(value, VARHDRSZ + kPadding + size);
        std::memset(VARDATA(value), 0, kPadding);
        return value;
    });
}

inline core::Catalogue catalogue_argument(FunctionCallInfo fcinfo, int argument) {
    if (!PG_ARGISNULL(argument)) {
        const auto found = core::Catalogue::at(block_in(aligned_argument(fcinfo, argument)));
        if (found) return *found;
    }
    throw pg::Error("22023", "value is no catalogue of controls");
}

inline core::TenantFacts facts_argument(FunctionCallInfo fcinfo, int argument) {
    if (const auto facts = core::TenantFacts::at(block_in(aligned_argument(fcinfo, argument)))) {
        return *facts;
    }
    throw pg::Error("22023", "value is no collection of facts of a tenant");
}

}  // namespace securatlas
