#include "border/table_insert.hpp"

extern "C" {
#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
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

// C world. What the executor does for an INSERT without triggers and constraints.
void insert_all(Relation table, int columns, const InsertedRow* rows, std::size_t count) {
    const int attributes = RelationGetDescr(table)->natts;
    if (attributes < columns) {
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("table \"%s\" is not of the version of this library",
                               RelationGetRelationName(table)),
                        errhint("Run ALTER EXTENSION securatlas_sched UPDATE.")));
    }
    TupleTableSlot* slot = table_slot_create(table, nullptr);
    EState* state = CreateExecutorState();
    auto* target = makeNode(ResultRelInfo);
    InitResultRelInfo(target, table, 0, nullptr, 0);
    ExecOpenIndices(target, false);
    const CommandId command = GetCurrentCommandId(true);
    for (std::size_t i = 0; i < count; ++i) {
        fill(slot, rows[i], columns, attributes);
        table_tuple_insert(table, slot, command, 0, nullptr);
        insert_index_entries(target, slot, state);
        ResetPerTupleExprContext(state);
    }
    close_indexes(target);
    FreeExecutorState(state);
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
