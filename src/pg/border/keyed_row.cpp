#include "border/keyed_row.hpp"

#include <cstring>

#include "securatlas/pg/border/compat.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relscan.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "storage/bufmgr.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/relcache.h"
#include "utils/reltrigger.h"
#include "utils/snapmgr.h"
}

namespace securatlas::pg {
namespace {

bool has_other_triggers(const TriggerDesc* triggers, const char* known) {
    for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i) {
        const Trigger& trigger = triggers->triggers[i];
        const bool is_known =
            TRIGGER_FOR_BEFORE(trigger.tgtype) && strcmp(trigger.tgname, known) == 0;
        if (TRIGGER_FOR_UPDATE(trigger.tgtype) && !is_known) return true;
    }
    return false;
}

bool has_delete_triggers(const TriggerDesc* triggers) {
    for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i) {
        const Trigger& trigger = triggers->triggers[i];
        if (TRIGGER_FOR_DELETE(trigger.tgtype) && fires(trigger)) return true;
    }
    return false;
}

bool is_changed(const Change* changes, int count, AttrNumber column) {
    for (int i = 0; i < count; ++i) {
        if (changes[i].column == column) return true;
    }
    return false;
}

bool becomes_null(const Change* changes, int count, AttrNumber column) {
    for (int i = 0; i < count; ++i) {
        if (changes[i].column == column) return changes[i].is_null;
    }
    return false;
}

bool has_known_columns(TupleDesc columns, const KnownParts& known, const Change* changes,
                       int count) {
    for (int i = 0; i < columns->natts; ++i) {
        const FormData_pg_attribute* column = TupleDescAttr(columns, i);
        if (column->attisdropped) continue;
        if (column->attgenerated != '\0' &&
            strcmp(NameStr(column->attname), known.generated) != 0) {
            return false;
        }
        if (column->attnotnull && becomes_null(changes, count, column->attnum)) return false;
    }
    const TupleConstr* constraints = columns->constr;
    if (constraints == nullptr) return true;
    return constraints->num_check == 0 ||
           (constraints->num_check == 1 && strcmp(constraints->check[0].ccname, known.check) == 0);
}

bool is_of_users(Oid function, void*) { return function >= FirstNormalObjectId; }

bool walk_for_user_code(Node* node, void* context) {
    if (node == nullptr) return false;
    if (check_functions_in_node(node, is_of_users, context)) return true;
    return expression_tree_walker(node, tree_walker(walk_for_user_code), context);
}

// Then no other row can have the key of a unique index: the one that is replaced had it. And
// B-trees look for old versions of the row before they split a page.
bool has_same_keys(const IndexInfo* index, const Change* changes, int count) {
    for (int i = 0; i < index->ii_NumIndexKeyAttrs; ++i) {
        if (is_changed(changes, count, index->ii_IndexAttrNumbers[i])) return false;
    }
    return true;
}

// Most predicates say that a column is not NULL. To have the executor evaluate that takes longer
// than to make the entry.
bool is_in_predicate(IndexInfo* info, TupleTableSlot* slot, EState** state) {
    Node* const node = static_cast<Node*>(linitial(info->ii_Predicate));
    if (list_length(info->ii_Predicate) == 1 && IsA(node, NullTest)) {
        const auto* test = reinterpret_cast<NullTest*>(node);
        const auto* column = reinterpret_cast<Var*>(test->arg);
        if (IsA(column, Var) && !test->argisrow && column->varattno > 0) {
            return slot_attisnull(slot, column->varattno) == (test->nulltesttype == IS_NULL);
        }
    }
    if (*state == nullptr) *state = CreateExecutorState();
    if (info->ii_PredicateState == nullptr) {
        info->ii_PredicateState = ExecPrepareQual(info->ii_Predicate, *state);
    }
    ExprContext* context = GetPerTupleExprContext(*state);
    context->ecxt_scantuple = slot;
    const bool is_in = ExecQual(info->ii_PredicateState, context);
    ResetExprContext(context);
    return is_in;
}

void enter_into_indexes(Relation table, TupleTableSlot* slot, const Change* changes, int count) {
    List* const indexes = RelationGetIndexList(table);
    EState* state = nullptr;
    ListCell* cell = nullptr;
    foreach (cell, indexes) {
        Relation index = index_open(lfirst_oid(cell), RowExclusiveLock);
        IndexInfo* info = BuildIndexInfo(index);
        enter_into_index(table, OpenIndex::of(index, info), slot,
                         has_same_keys(info, changes, count), &state);
        index_close(index, NoLock);
    }
    list_free(indexes);
    if (state != nullptr) FreeExecutorState(state);
}

void enter_into_known(Relation table, const KnownIndexes& indexes, TupleTableSlot* slot,
                      const Change* changes, int count) {
    EState* state = nullptr;
    for (int i = 0; i < indexes.count; ++i) {
        Relation index = index_open(indexes.ids[i], RowExclusiveLock);
        // A copy, because what belongs to `state` is put into it.
        IndexInfo info = *indexes.infos[i];
        enter_into_index(table, OpenIndex::of(index, &info), slot,
                         has_same_keys(&info, changes, count), &state);
        index_close(index, NoLock);
    }
    if (state != nullptr) FreeExecutorState(state);
}

// The index of the primary key, if that is this column.
Oid key_index(Relation table, AttrNumber key_column) {
    const Oid found = primary_key_of(table);
    if (!OidIsValid(found)) return InvalidOid;
    Relation index = index_open(found, AccessShareLock);
    const bool is_key = index->rd_index->indkey.values[0] == key_column;
    index_close(index, NoLock);
    return is_key ? found : InvalidOid;
}

// A slot with the row's values and the changes.
TupleTableSlot* changed_row(Relation table, HeapTuple row, const Change* changes, int count) {
    TupleTableSlot* slot = table_slot_create(table, nullptr);
    TupleDesc columns = RelationGetDescr(table);
    ExecClearTuple(slot);
    heap_deform_tuple(row, columns, slot->tts_values, slot->tts_isnull);
    for (int i = 0; i < columns->natts; ++i) {
        if (TupleDescAttr(columns, i)->attisdropped) slot->tts_isnull[i] = true;
    }
    for (int i = 0; i < count; ++i) {
        slot->tts_values[changes[i].column - 1] = changes[i].value;
        slot->tts_isnull[changes[i].column - 1] = changes[i].is_null;
    }
    ExecStoreVirtualTuple(slot);
    return slot;
}

// Whether the row was changed or deleted; false: somebody else has done that, or is doing it.
bool is_done(TM_Result result, Relation table) {
    switch (result) {
        case TM_Ok:
            return true;
        case TM_Updated:
        case TM_Deleted:
        case TM_BeingModified:
            return false;
        default:
            elog(ERROR, "unexpected result %d of a change of table \"%s\"",
                 static_cast<int>(result), RelationGetRelationName(table));
    }
}

}  // namespace

Relation open_table(const char* schema, const char* table, LOCKMODE lock) {
    const Oid found = get_relname_relid(table, get_namespace_oid(schema, true));
    if (!OidIsValid(found)) {
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation \"%s.%s\" does not exist", schema, table)));
    }
    return table_open(found, lock);
}

AttrNumber column_number(Relation table, const char* name) {
    TupleDesc columns = RelationGetDescr(table);
    for (int i = 0; i < columns->natts; ++i) {
        const FormData_pg_attribute* column = TupleDescAttr(columns, i);
        if (strcmp(NameStr(column->attname), name) == 0) return column->attnum;
    }
    ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                    errmsg("column \"%s\" of relation \"%s\" does not exist", name,
                           RelationGetRelationName(table))));
}

HeapTuple find_row(Relation table, AttrNumber key_column, std::int64_t key, Snapshot snapshot) {
    RowFinder finder = begin_finding(table, key_column, snapshot);
    HeapTuple found = find_next(finder, key);
    end_finding(finder);
    return found;
}

RowFinder begin_finding(Relation table, AttrNumber key_column, Snapshot snapshot) {
    return {table, key_column, snapshot, key_index(table, key_column), nullptr};
}

HeapTuple find_next(RowFinder& finder, std::int64_t key) {
    const bool by_index = OidIsValid(finder.index);
    ScanKeyData scan_key;
    ScanKeyInit(&scan_key, finder.key_column, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(key));
    if (finder.scan != nullptr && finder.scan->iscan != nullptr) {
        scan_key.sk_attno = 1;  // of the index
        index_rescan(finder.scan->iscan, &scan_key, 1, nullptr, 0);
    } else {
        end_finding(finder);
        // Without an index it reads the table from its beginning.
        finder.scan =
            systable_beginscan(finder.table, finder.index, by_index, finder.snapshot, 1, &scan_key);
    }
    HeapTuple found = systable_getnext(finder.scan);
    return HeapTupleIsValid(found) ? heap_copytuple(found) : nullptr;
}

void end_finding(RowFinder& finder) {
    if (finder.scan != nullptr) systable_endscan(finder.scan);
    finder.scan = nullptr;
}

HeapTuple row_at(Relation table, ItemPointer place, Snapshot snapshot) {
    // The table may have been truncated since.
    if (ItemPointerGetBlockNumber(place) >= RelationGetNumberOfBlocks(table)) return nullptr;
    TupleTableSlot* slot = table_slot_create(table, nullptr);
    const bool is_there = table_tuple_fetch_row_version(table, place, snapshot, slot);
    HeapTuple found = is_there ? ExecCopySlotHeapTuple(slot) : nullptr;
    ExecDropSingleTupleTableSlot(slot);
    return found;
}

Value value_of(HeapTuple row, Relation table, AttrNumber column) {
    Value value{};
    value.datum = heap_getattr(row, column, RelationGetDescr(table), &value.is_null);
    return value;
}

Bytes bytes_of(Datum text_value) {
    text* packed = DatumGetTextPP(text_value);
    return {VARDATA_ANY(packed), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(packed))};
}

bool fires(const Trigger& trigger) {
    if (trigger.tgenabled == TRIGGER_FIRES_ALWAYS) return true;
    const bool is_replica = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA;
    return trigger.tgenabled == (is_replica ? TRIGGER_FIRES_ON_REPLICA : TRIGGER_FIRES_ON_ORIGIN);
}

bool calls_user_code(Node* expression) { return walk_for_user_code(expression, nullptr); }

bool is_plain_index(Relation index) {
    if (index->rd_rel->relam != BTREE_AM_OID || index->rd_index->indisexclusion) return false;
    if (!index->rd_index->indimmediate || RelationGetIndexExpressions(index) != NIL) return false;
    return !calls_user_code(reinterpret_cast<Node*>(RelationGetIndexPredicate(index)));
}

bool has_plain_indexes(Relation table) {
    List* const indexes = RelationGetIndexList(table);
    bool is_plain = true;
    ListCell* cell = nullptr;
    foreach (cell, indexes) {
        Relation index = index_open(lfirst_oid(cell), RowExclusiveLock);
        is_plain = is_plain && is_plain_index(index);
        index_close(index, NoLock);
    }
    list_free(indexes);
    return is_plain;
}

OpenIndex OpenIndex::of(Relation index, IndexInfo* info) {
    return {index, info, index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO};
}

bool enter_into_index(Relation table, const OpenIndex& index, TupleTableSlot* slot, bool unchanged,
                      EState** state) {
    IndexInfo* const info = index.info;
    if (!info->ii_ReadyForInserts) return true;
    if (info->ii_Predicate != NIL && !is_in_predicate(info, slot, state)) return true;
    Datum values[INDEX_MAX_KEYS];
    bool nulls[INDEX_MAX_KEYS];
    FormIndexDatum(info, slot, nullptr, values, nulls);
    // The row that it replaces may not have been in a partial index.
    const bool was_in = unchanged && info->ii_Predicate == NIL;
    const IndexUniqueCheck check = was_in ? UNIQUE_CHECK_NO : index.uniqueness;
    const bool is_unique =
        index_insert(index.relation, values, nulls, &slot->tts_tid, table, check, unchanged, info);
    return is_unique || check != UNIQUE_CHECK_PARTIAL;
}

bool is_plainly_updated(Relation table, const KnownParts& known, const Change* changes, int count) {
    const FormData_pg_class* row = table->rd_rel;
    if (row->relkind != RELKIND_RELATION || row->relispartition || row->relhassubclass)
        return false;
    if (row->relforcerowsecurity || table->rd_rules != nullptr) return false;
    return !has_other_triggers(table->trigdesc, known.trigger) &&
           has_known_columns(RelationGetDescr(table), known, changes, count) &&
           has_plain_indexes(table);
}

bool read_indexes(Relation table, KnownIndexes* indexes) {
    List* const list = RelationGetIndexList(table);
    indexes->count = 0;
    ListCell* cell = nullptr;
    foreach (cell, list) {
        if (indexes->count == KnownIndexes::kMost) return false;
        Relation index = index_open(lfirst_oid(cell), RowExclusiveLock);
        indexes->infos[indexes->count] = BuildIndexInfo(index);
        indexes->ids[indexes->count++] = RelationGetRelid(index);
        index_close(index, NoLock);
    }
    list_free(list);
    return true;
}

bool update_row(Relation table, HeapTuple row, Snapshot snapshot, const Change* changes, int count,
                Locked locked, const KnownIndexes* indexes) {
    CheckCmdReplicaIdentity(table, CMD_UPDATE);
    TupleTableSlot* slot = changed_row(table, row, changes, count);
    bool wants_index_entries = false;
    const TM_Result result = update_tuple(table, &row->t_self, slot, snapshot,
                                          locked == Locked::wait, &wants_index_entries);
    if (result == TM_Ok && wants_index_entries) {
        if (indexes != nullptr) {
            enter_into_known(table, *indexes, slot, changes, count);
        } else {
            enter_into_indexes(table, slot, changes, count);
        }
    }
    if (result == TM_Ok) row->t_self = slot->tts_tid;
    ExecDropSingleTupleTableSlot(slot);
    return is_done(result, table);
}

bool is_plainly_deleted(Relation table) {
    const FormData_pg_class* row = table->rd_rel;
    if (row->relkind != RELKIND_RELATION || row->relispartition || row->relhassubclass)
        return false;
    if (row->relforcerowsecurity || table->rd_rules != nullptr) return false;
    return !has_delete_triggers(table->trigdesc);
}

bool delete_row(Relation table, ItemPointer place, Snapshot snapshot) {
    CheckCmdReplicaIdentity(table, CMD_DELETE);
    return is_done(delete_tuple(table, place, snapshot), table);
}

}  // namespace securatlas::pg
