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
        indexes[count++] = OpenIndex::of(index, is_plain ? BuildIndexInfo(index) : nullptr);
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
    EState* state = nullptr;
    RowPortion portion(table, indexes, opened, &state);
    for (std::size_t i = 0; i < count; ++i) {
        fill(portion.next_row(), rows[i], columns, RelationGetDescr(table)->natts);
        portion.add();
        if (portion.is_full()) (void)portion.write();
    }
    (void)portion.write();
    portion.drop();
    if (state != nullptr) FreeExecutorState(state);
    for (int i = 0; i < opened; ++i) index_close(indexes[i].relation, NoLock);
}

}  // namespace

RowPortion::RowPortion(Relation table, const OpenIndex* indexes, int count, EState** state)
    : table_(table), indexes_(indexes), index_count_(count), state_(state) {}

TupleTableSlot* RowPortion::next_row() {
    if (used_ == made_) slots_[made_++] = table_slot_create(table_, nullptr);
    return slots_[used_];
}

void RowPortion::add() { bytes_ += ExecFetchSlotHeapTuple(slots_[used_++], true, nullptr)->t_len; }

bool RowPortion::write() {
    const CommandId command = GetCurrentCommandId(true);
    if (used_ == 1) {
        table_tuple_insert(table_, slots_[0], command, 0, nullptr);
    } else if (used_ > 1) {
        table_multi_insert(table_, slots_, static_cast<int>(used_), command, 0, nullptr);
    }
    bool is_unique = true;
    for (int i = 0; i < index_count_; ++i) is_unique = enter_into(indexes_[i]) && is_unique;
    for (std::size_t i = 0; i < used_; ++i) ExecClearTuple(slots_[i]);
    used_ = bytes_ = 0;
    return is_unique;
}

bool RowPortion::enter_into(const OpenIndex& index) {
    bool is_unique = true;
    for (std::size_t i = 0; i < used_; ++i) {
        is_unique = enter_into_index(table_, index, slots_[i], false, state_) && is_unique;
    }
    return is_unique;
}

void RowPortion::drop() {
    for (std::size_t i = 0; i < made_; ++i) ExecDropSingleTupleTableSlot(slots_[i]);
}

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
