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
void insert_by_executor(Relation table, TupleTableSlot* slot, int columns, const InsertedRow* rows,
                        std::size_t count) {
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
}

// C world. What the executor does for an INSERT without triggers and constraints. Its state is not
// needed for the usual kinds of indexes, and for a single row it takes long to make.
void insert_all(Relation table, int columns, const InsertedRow* rows, std::size_t count) {
    const int attributes = RelationGetDescr(table)->natts;
    if (attributes < columns) {
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("table \"%s\" is not of the version of this library",
                               RelationGetRelationName(table)),
                        errhint("Run ALTER EXTENSION securatlas_sched UPDATE.")));
    }
    constexpr int kMostIndexes = 16;
    OpenIndex indexes[kMostIndexes];
    const int opened = open_indexes(table, indexes, kMostIndexes);
    TupleTableSlot* slot = table_slot_create(table, nullptr);
    if (opened < 0) insert_by_executor(table, slot, columns, rows, count);
    for (std::size_t i = 0; opened >= 0 && i < count; ++i) {
        fill(slot, rows[i], columns, attributes);
        table_tuple_insert(table, slot, GetCurrentCommandId(true), 0, nullptr);
        for (int j = 0; j < opened; ++j) {
            enter_into_index(table, indexes[j].relation, indexes[j].info, slot, false);
        }
    }
    for (int j = 0; j < opened; ++j) index_close(indexes[j].relation, NoLock);
    ExecDropSingleTupleTableSlot(slot);
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
