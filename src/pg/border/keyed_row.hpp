// Single rows of the extension's own tables, by a key of type bigint, without plan and executor.
// For what is done for each run: starting and ending the executor takes longer than the access to
// the row. C world.
#pragma once

#include <cstdint>
#include <string_view>

#include "securatlas/pg/border/prelude.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup.h"
#include "nodes/execnodes.h"
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

// Finds rows of one table one after another, with the index opened once. Trivially destructible:
// what an error skips is released by its transaction.
struct RowFinder {
    Relation table;
    AttrNumber key_column;
    Snapshot snapshot;
    Oid index;
    SysScanDescData* scan;
};
RowFinder begin_finding(Relation table, AttrNumber key_column, Snapshot snapshot);
// A copy, as find_row() returns.
HeapTuple find_next(RowFinder& finder, std::int64_t key);
void end_finding(RowFinder& finder);

// Likewise the row that is stored at this place.
HeapTuple row_at(Relation table, ItemPointer place, Snapshot snapshot);

// The value of a column of a row.
struct Value {
    Datum datum;
    bool is_null;
};
Value value_of(HeapTuple row, Relation table, AttrNumber column);

// A text in the memory of the transaction.
struct Bytes {
    const char* data;
    std::size_t length;

    std::string_view view() const { return {data, length}; }
};
Bytes bytes_of(Datum text_value);

// A new value of a column.
struct Change {
    AttrNumber column;
    Datum value;
    bool is_null;
};

// What UPDATE of a table would heed, and the caller does by itself or knows to be satisfied.
struct KnownParts {
    const char* trigger = "";    // BEFORE, of each row or statement
    const char* check = "";      // a CHECK constraint
    const char* generated = "";  // a generated column, which depends on no column that is changed
};

// Whether UPDATE of these columns would do nothing but update_row() and what is known: no other
// triggers, rules, constraints, generated columns or kinds of indexes that somebody has added.
bool is_plainly_updated(Relation table, const KnownParts& known, const Change* changes, int count);

// Whether the trigger fires in this session, for what it is made for.
bool fires(const Trigger& trigger);

// Whether the expression calls functions of users, which need the rights and the search_path that a
// statement of the owner has. Null: no.
bool calls_user_code(Node* expression);

// Whether all indexes are B-trees of columns whose uniqueness is checked at once and whose
// predicates call no functions of users.
bool has_plain_indexes(Relation table);

// Whether the index is one of these.
bool is_plain_index(Relation index);

// An open index of a table. `uniqueness` may be UNIQUE_CHECK_PARTIAL: then a row whose key exists,
// or may come to exist, is entered all the same, and that is said.
struct OpenIndex {
    Relation relation;
    IndexInfo* info;
    IndexUniqueCheck uniqueness;

    static OpenIndex of(Relation index, IndexInfo* info);
};

// Enters a new row into such an index; false: see OpenIndex. `unchanged`: the row replaces one with
// the same key in this transaction, so that uniqueness needs no check unless the index is partial.
// `*state` is null, or that of an earlier call, with which `info` stays in use; if a predicate
// needs one, it is made, and the caller frees it.
bool enter_into_index(Relation table, const OpenIndex& index, TupleTableSlot* slot, bool unchanged,
                      EState** state);

// The indexes of a table and what the executor would read about each of them for every statement.
struct KnownIndexes {
    static constexpr int kMost = 16;
    int count;
    Oid ids[kMost];
    IndexInfo* infos[kMost];
};

// In the current memory context. They stay right until the relcache entry of the table, or of an
// index, is invalidated. False: there are too many.
bool read_indexes(Relation table, KnownIndexes* indexes);

enum class Locked { wait, give_up };

// Replaces a row that was found with `snapshot`, and sets its t_self to that of the new one. False:
// it was changed since, so that it has to be found again, or it is locked. With an active snapshot.
// `indexes` may be null.
bool update_row(Relation table, HeapTuple row, Snapshot snapshot, const Change* changes, int count,
                Locked locked, const KnownIndexes* indexes = nullptr);

// Whether DELETE would do nothing but delete_row(): no triggers, rules or children that somebody
// has added.
bool is_plainly_deleted(Relation table);

// Deletes a row that was found with `snapshot`. False: it was changed since, or it is locked; waits
// for nobody. With an active snapshot.
bool delete_row(Relation table, ItemPointer place, Snapshot snapshot);

}  // namespace securatlas::pg
