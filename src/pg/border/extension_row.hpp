// Rows of pg_extension. C world. They are read from the table: before PostgreSQL 18 it has no
// cache, and since then the cache is not up to date yet in functions that are called by a commit.
#pragma once

#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/prelude.hpp"

namespace securatlas::pg {

inline constexpr const char* kExtension = "securatlas_sched";

struct ExtensionRow {
    Oid id = InvalidOid;            // InvalidOid: there is none
    const char* version = nullptr;  // palloc'ed
};

ExtensionRow read_extension(const char* name);

// The extension with the name of the original (pg_cron or pg_net) of these tables.
const char* name_of(Tables tables);

// Like read_extension(name_of(tables)), but finds only this project's extension of that name, not
// the original.
ExtensionRow read_named_extension(Tables tables);

// The oid of a schema; InvalidOid: there is none.
Oid read_schema(const char* name);

}  // namespace securatlas::pg
