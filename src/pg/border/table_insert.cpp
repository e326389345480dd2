#include "border/table_insert.hpp"

#include "border/keyed_row.hpp"

extern "C" {
#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "executor/executor.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

namespace securatlas::pg {
namespace {

// C world.
void fill(TupleTableSlot* slot, const InsertedRow& row, int columns, int attributes) {
    ExecClearTuple(slot);
    for (int i = 0; i < attributes; ++i) {
        const bool known = i < columns;
        slot->tts_values[i] = known ? row.values[i] : Datum{0};
        slot->tts_isnull[i] = !known || row.nulls[i];
    }
    ExecStoreVirtualTuple(slot);
}

// An open index of the table.
struct OpenIndex {
    Relation relation;
    IndexInfo* info;
};

// C world. Opens all indexes if they are plain, and returns how many. -1: one is not, or there are
// too many; none is open.
int open_indexes(Relation table, OpenIndex* indexes, int most) {
    List* const list = RelationGetIndexList(table);
    bool is_plain = list_length(list) <= most;
    int count = 0;
    ListCell* cell = nullptr;
    foreach (cell, list) {
        if (!is_plain) break;
        Relation index = index_open(lfirst_oid(cell), RowExclusiveLock);
        is_plain = is_plain_index(index);
        indexes[count++] = {index, is_plain ? BuildIndexInfo(index) : nullptr};
    }
    list_free(list);
    if (is_plain) return count;
    for (int i = 0; i < count; ++i) index_close(indexes[i].relation, NoLock);
    return -1;
}

// C world. With indexes of any kind.
void insert_by_executor(Relation table, int columns, const InsertedRow* rows, std::size_t count) {
    TupleTableSlot* slot = table_slot_create(table, nullptr);
    EState* state = CreateExecutorState();
    auto* target = makeNode(ResultRelInfo);
    InitResultRelInfo(target, table, 0, nullptr, 0);
    ExecOpenIndices(target, false);
    const CommandId command = GetCurrentCommandId(true);
    for (std::size_t i = 0; i < count; ++i) {
        fill(slot, rows[i], columns, RelationGetDescr(table)->natts);
        table_tuple_insert(table, slot, command, 0, nullptr);
        insert_index_entries(target, slot, state);
        ResetPerTupleExprContext(state);
    }
    close_indexes(target);
    FreeExecutorState(state);
    ExecDropSingleTupleTableSlot(slot);
}

// As many rows are written together, unless they are long: with one record of the log for each page
// instead of for each row, and one visit of each index.
constexpr std::size_t kMostTogether = 128;
constexpr std::size_t kMostBytesTogether = 64 * 1024;

// C world. Rows that are written together.
class Portion {
  public:
    Portion(Relation table, const OpenIndex* indexes, int count)
        : table_(table), indexes_(indexes), index_count_(count) {}

    void add(const InsertedRow& row, int columns) {
        if (used_ == made_) slots_[made_++] = table_slot_create(table_, nullptr);
        TupleTableSlot* slot = slots_[used_++];
        fill(slot, row, columns, RelationGetDescr(table_)->natts);
        bytes_ += ExecFetchSlotHeapTuple(slot, true, nullptr)->t_len;
    }

    bool is_full() const { return used_ == kMostTogether || bytes_ >= kMostBytesTogether; }

    void write() {
        const CommandId command = GetCurrentCommandId(true);
        if (used_ == 1) {
            table_tuple_insert(table_, slots_[0], command, 0, nullptr);
        } else if (used_ > 1) {
            table_multi_insert(table_, slots_, static_cast<int>(used_), command, 0, nullptr);
        }
        for (int i = 0; i < index_count_; ++i) enter_into(indexes_[i]);
        for (std::size_t i = 0; i < used_; ++i) ExecClearTuple(slots_[i]);
        used_ = bytes_ = 0;
    }

    void drop() {
        for (std::size_t i = 0; i < made_; ++i) ExecDropSingleTupleTableSlot(slots_[i]);
        if (state_ != nullptr) FreeExecutorState(state_);
    }

  private:
    void enter_into(const OpenIndex& index) {
        for (std::size_t i = 0; i < used_; ++i) {
            enter_into_index(table_, index.relation, index.info, slots_[i], false, &state_);
        }
    }

    Relation table_;
    const OpenIndex* indexes_;
    int index_count_;
    TupleTableSlot* slots_[kMostTogether];
    std::size_t made_ = 0;
    std::size_t used_ = 0;
    std::size_t bytes_ = 0;
    EState* state_ = nullptr;
};

// C world. What the executor does for an INSERT without triggers and constraints. Its state is not
// needed for the usual kinds of indexes, and for a single row it takes long to make.
void insert_all(Relation table, int columns, const InsertedRow* rows, std::size_t count) {
    if (RelationGetDescr(table)->natts < columns) {
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("table \"%s\" is not of the version of this library",
                               RelationGetRelationName(table)),
                        errhint("Run ALTER EXTENSION securatlas_sched UPDATE.")));
    }
    constexpr int kMostIndexes = 16;
    OpenIndex indexes[kMostIndexes];
    const int opened = open_indexes(table, indexes, kMostIndexes);
    if (opened < 0) return insert_by_executor(table, columns, rows, count);
    Portion portion(table, indexes, opened);
    for (std::size_t i = 0; i < count; ++i) {
        portion.add(rows[i], columns);
        if (portion.is_full()) portion.write();
    }
    portion.write();
    portion.drop();
    for (int i = 0; i < opened; ++i) index_close(indexes[i].relation, NoLock);
}

}  // namespace

void close_indexes(ResultRelInfo* target) {
    for (int i = 0; i < target->ri_NumIndices; ++i) {
        if (target->ri_IndexRelationDescs[i] != nullptr) {
            index_close(target->ri_IndexRelationDescs[i], NoLock);
        }
    }
}

void insert_rows(Oid table, std::size_t columns, std::span<const InsertedRow> rows) {
    if (rows.empty()) return;
    call([&] {
        Relation relation = table_open(table, RowExclusiveLock);
        // Writing toasted values requires an active snapshot.
        PushActiveSnapshot(GetTransactionSnapshot());
        insert_all(relation, static_cast<int>(columns), rows.data(), rows.size());
        PopActiveSnapshot();
        table_close(relation, NoLock);
    });
}

}  // namespace securatlas::pg
