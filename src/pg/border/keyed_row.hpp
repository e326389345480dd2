// Single rows of the extension's own tables, by a key of type bigint, without plan and executor.
// For what is done for each run: starting and ending the executor takes longer than the access to
// the row. C world.
#pragma once

#include <cstdint>

#include "securatlas/pg/border/prelude.hpp"

extern "C" {
#include "access/htup.h"
#include "utils/rel.h"
}

namespace securatlas::pg {

// A table that is open until the end of the scope; the lock stays until the end of the transaction.
// Raises 42P01 if there is no such table.
Relation open_table(const char* schema, const char* table, LOCKMODE lock);

// The number of the column. Raises 42703 if there is none.
AttrNumber column_number(Relation table, const char* name);

// The row as `snapshot` sees it; null if there is none. With an active snapshot.
HeapTuple find_row(Relation table, AttrNumber key_column, std::int64_t key, Snapshot snapshot);

// The value of a column of a row.
struct Value {
    Datum datum;
    bool is_null;
};
Value value_of(HeapTuple row, Relation table, AttrNumber column);

// A new value of a column.
struct Change {
    AttrNumber column;
    Datum value;
    bool is_null;
};

// Whether UPDATE of these columns would do nothing but update_row(): no triggers, rules, additional
// constraints, generated columns or kinds of indexes that somebody has added to the table. The
// CHECK constraint `known_check` is the caller's responsibility, and that values which other
// generated columns than `known_generated` depend on stay as they are.
struct KnownParts {
    const char* check;
    const char* generated;
};
bool is_plainly_updated(Relation table, const KnownParts& known, const Change* changes, int count);

// Replaces a row that find_row() has found with `snapshot`. Waits for other transactions that
// change it. False: it was changed since, so that it has to be found again. With an active
// snapshot.
bool update_row(Relation table, HeapTuple row, Snapshot snapshot, const Change* changes, int count);

}  // namespace securatlas::pg
