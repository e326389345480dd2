// Inserts into the extension's own tables without the executor: no plan, no triggers, and no
// constraints but those of unique indexes. For rows that are inserted by the hundred thousand.
#pragma once

#include <array>
#include <span>

#include "border/keyed_row.hpp"
#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "nodes/execnodes.h"
}

namespace securatlas::pg {

// The first columns of a row, in the order of the table's columns. Further columns are NULL.
struct InsertedRow {
    const Datum* values;
    const bool* nulls;
};

// A row of N columns; columns that were not set are NULL.
template <std::size_t N>
class RowBuilder {
  public:
    RowBuilder() { nulls_.fill(true); }

    void set(std::size_t column, Datum value) {
        values_[column] = value;
        nulls_[column] = false;
    }

    InsertedRow row() const { return {values_.data(), nulls_.data()}; }

  private:
    std::array<Datum, N> values_{};
    std::array<bool, N> nulls_{};
};

// C world. Rows that are written together, with one record of the log for each page instead of for
// each row, and one visit of each index.
class RowPortion {
  public:
    // `*state` as for enter_into_index().
    RowPortion(Relation table, const OpenIndex* indexes, int count, EState** state);

    // The slot of the next row, to be filled; add() takes it as it is.
    TupleTableSlot* next_row();
    void add();
    bool is_full() const { return used_ == kMostRows || bytes_ >= kMostBytes; }

    // False: see OpenIndex.
    bool write();
    void drop();

  private:
    static constexpr std::size_t kMostRows = 128;
    static constexpr std::size_t kMostBytes = 64 * 1024;

    bool enter_into(const OpenIndex& index);

    Relation table_;
    const OpenIndex* indexes_;
    int index_count_;
    EState** state_;
    TupleTableSlot* slots_[kMostRows];
    std::size_t made_ = 0;
    std::size_t used_ = 0;
    std::size_t bytes_ = 0;
};

// C world. Like ExecCloseIndices(), but keeps the locks, like that of the table, until the end of
// the transaction: with one call for each row, releasing and acquiring them costs more than the
// lookup.
void close_indexes(ResultRelInfo* target);

// Throws Error 55000 if the table has fewer than `columns` columns, that is, another version.
void insert_rows(Oid table, std::size_t columns, std::span<const InsertedRow> rows);

}  // namespace securatlas::pg
