// Differences between PostgreSQL 15 and 19. The only file that uses PG_VERSION_NUM.
#pragma once

extern "C" {
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "executor/executor.h"
#include "lib/dshash.h"
#include "nodes/nodeFuncs.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/guc_tables.h"
#include "utils/jsonb.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/wait_event.h"
}

// PGDLLEXPORT is empty before 16, but the library is built with hidden visibility.
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

namespace securatlas::pg {

// C world. Releases the replication slot that the session uses, and drops its temporary ones.
inline void release_replication_slots() {
    if (MyReplicationSlot != nullptr) ReplicationSlotRelease();
#if PG_VERSION_NUM < 170000
    ReplicationSlotCleanup();
#else
    ReplicationSlotCleanup(false);
#endif
}

// Memory for the `extra` of a setting, which PostgreSQL frees; null if out of memory.
inline void* allocate_setting_extra(std::size_t size) {
#if PG_VERSION_NUM < 160000
    return malloc(size);
#else
    return guc_malloc(LOG, size);
#endif
}

// C world. All settings that this process knows.
inline config_generic** all_settings(int* count) {
#if PG_VERSION_NUM < 160000
    *count = GetNumConfigOptions();
    return get_guc_variables();
#else
    return get_guc_variables(count);
#endif
}

// Timeout settings that PostgreSQL applies in background processes, too.
inline constexpr const char* kTimeouts[] = {
    "statement_timeout",
    "idle_in_transaction_session_timeout",
#if PG_VERSION_NUM >= 170000
    "transaction_timeout",
#endif
};

// C world. A number under which pg_stat_activity shows a wait by this name; before 17 all waits of
// extensions have one name. In a process that is attached to shared memory.
inline std::uint32_t new_wait_event([[maybe_unused]] const char* name) {
#if PG_VERSION_NUM < 170000
    return PG_WAIT_EXTENSION;
#else
    return WaitEventExtensionNew(name);
#endif
}

// C world. For the life of the process.
inline WaitEventSet* create_wait_event_set(int events) {
#if PG_VERSION_NUM < 170000
    return CreateWaitEventSet(TopMemoryContext, events);
#else
    return CreateWaitEventSet(nullptr, events);
#endif
}

// C world.
inline bool role_may_connect(Oid role, Oid database) {
#if PG_VERSION_NUM < 160000
    return pg_database_aclcheck(database, role, ACL_CONNECT) == ACLCHECK_OK;
#else
    return object_aclcheck(DatabaseRelationId, database, role, ACL_CONNECT) == ACLCHECK_OK;
#endif
}

// C world.
inline bool role_owns_database(Oid role, Oid database) {
#if PG_VERSION_NUM < 160000
    return pg_database_ownercheck(database, role);
#else
    return object_ownercheck(DatabaseRelationId, database, role);
#endif
}

// C world.
inline bool role_owns_relation(Oid role, Oid relation) {
#if PG_VERSION_NUM < 160000
    return pg_class_ownercheck(relation, role);
#else
    return object_ownercheck(RelationRelationId, relation, role);
#endif
}

// C world.
inline bool role_owns_extension(Oid role, Oid extension) {
#if PG_VERSION_NUM < 160000
    return pg_extension_ownercheck(extension, role);
#else
    return object_ownercheck(ExtensionRelationId, extension, role);
#endif
}

// Any of these lets a role lock a table in every mode.
inline constexpr AclMode kLockPrivileges = ACL_UPDATE | ACL_DELETE | ACL_TRUNCATE
#if PG_VERSION_NUM >= 170000
                                           | ACL_MAINTAIN
#endif
    ;

// The type of the callback of PostgreSQL's functions that walk through a query.
#if PG_VERSION_NUM < 160000
using TreeWalker = bool (*)();
#else
using TreeWalker = tree_walker_callback;
#endif
inline TreeWalker tree_walker(bool (*visitor)(Node*, void*)) {
    return reinterpret_cast<TreeWalker>(reinterpret_cast<void (*)()>(visitor));
}

// C world.
inline bool role_may_execute(Oid role, Oid function) {
#if PG_VERSION_NUM < 160000
    return pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK;
#else
    return object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

// Whether the session replays changes of another server (pg_replication_origin_session_setup).
inline bool session_has_origin() {
#if PG_VERSION_NUM < 190000
    return replorigin_session_origin != InvalidRepOriginId;
#else
    return replorigin_xact_state.origin != InvalidReplOriginId;
#endif
}

// C world. Whether `member` may become `role` by SET ROLE. Before 16 every member may.
inline bool role_may_become(Oid member, Oid role) {
#if PG_VERSION_NUM < 160000
    return is_member_of_role(member, role);
#else
    return member_can_set_role(member, role);
#endif
}

// C world. Runs a portal from its start to its end.
inline void run_portal_to_end(Portal portal, bool top_level, DestReceiver* receiver,
                              QueryCompletion* completion) {
#if PG_VERSION_NUM < 180000
    (void)PortalRun(portal, FETCH_ALL, top_level, true, receiver, receiver, completion);
#else
    (void)PortalRun(portal, FETCH_ALL, top_level, receiver, receiver, completion);
#endif
}

// C world. `text` has COMPLETION_TAG_BUFSIZE bytes.
inline void build_completion_tag(char* text, const QueryCompletion* completion) {
#if PG_VERSION_NUM < 160000
    const char* name = GetCommandTagName(completion->commandTag);
    if (command_tag_display_rowcount(completion->commandTag)) {
        const char* format = completion->commandTag == CMDTAG_INSERT ? "%s 0 %llu" : "%s %llu";
        snprintf(text, COMPLETION_TAG_BUFSIZE, format, name,
                 static_cast<unsigned long long>(completion->nprocessed));
    } else {
        snprintf(text, COMPLETION_TAG_BUFSIZE, "%s", name);
    }
#else
    (void)BuildQueryCompletionString(text, completion, false);
#endif
}

// C world. Enters a new row into all indexes of its table.
inline void insert_index_entries(ResultRelInfo* target, TupleTableSlot* slot, EState* state) {
#if PG_VERSION_NUM < 160000
    (void)ExecInsertIndexTuples(target, slot, state, false, false, nullptr, NIL);
#elif PG_VERSION_NUM < 190000
    (void)ExecInsertIndexTuples(target, slot, state, false, false, nullptr, NIL, false);
#else
    (void)ExecInsertIndexTuples(target, state, 0, slot, NIL, nullptr);
#endif
}

// C world. Likewise, but if the row conflicts with another one in an index of `arbiters`, that is
// said instead of an error.
inline void insert_index_entries_unless(ResultRelInfo* target, TupleTableSlot* slot, EState* state,
                                        List* arbiters, bool* is_conflict) {
#if PG_VERSION_NUM < 160000
    (void)ExecInsertIndexTuples(target, slot, state, false, true, is_conflict, arbiters);
#elif PG_VERSION_NUM < 190000
    (void)ExecInsertIndexTuples(target, slot, state, false, true, is_conflict, arbiters, false);
#else
    (void)ExecInsertIndexTuples(target, state, EIIT_NO_DUPE_ERROR, slot, arbiters, is_conflict);
#endif
}

// C world. Whether the indexes of `arbiters` have no entry for this row.
inline bool is_without_conflict(ResultRelInfo* target, TupleTableSlot* slot, EState* state,
                                List* arbiters) {
    ItemPointerData conflict;
#if PG_VERSION_NUM < 180000
    return ExecCheckIndexConstraints(target, slot, state, &conflict, arbiters);
#else
    ItemPointerData none;
    ItemPointerSetInvalid(&none);
    return ExecCheckIndexConstraints(target, slot, state, &conflict, &none, arbiters);
#endif
}

// C world. Replaces a row by the one in the slot, as the current command. `wants_index_entries`:
// the new one has to be entered into the indexes.
inline TM_Result update_tuple(Relation table, ItemPointer row, TupleTableSlot* slot,
                              Snapshot snapshot, bool wait, bool* wants_index_entries) {
    TM_FailureData failure;
    LockTupleMode lock;
    const CommandId command = GetCurrentCommandId(true);
#if PG_VERSION_NUM < 160000
    return table_tuple_update(table, row, slot, command, snapshot, InvalidSnapshot, wait, &failure,
                              &lock, wants_index_entries);
#else
    TU_UpdateIndexes update = TU_None;
#if PG_VERSION_NUM < 190000
    const TM_Result result = table_tuple_update(table, row, slot, command, snapshot,
                                                InvalidSnapshot, wait, &failure, &lock, &update);
#else
    const TM_Result result = table_tuple_update(table, row, slot, command, 0, snapshot,
                                                InvalidSnapshot, wait, &failure, &lock, &update);
#endif
    *wants_index_entries = update == TU_All;
    return result;
#endif
}

// C world. Deletes a row as the current command, without waiting for anybody who has locked it.
inline TM_Result delete_tuple(Relation table, ItemPointer row, Snapshot snapshot) {
    TM_FailureData failure;
    const CommandId command = GetCurrentCommandId(true);
#if PG_VERSION_NUM < 190000
    return table_tuple_delete(table, row, command, snapshot, InvalidSnapshot, false, &failure,
                              false);
#else
    return table_tuple_delete(table, row, command, 0, snapshot, InvalidSnapshot, false, &failure);
#endif
}

// C world. The index of the primary key, if its uniqueness is checked at once; else InvalidOid.
inline Oid primary_key_of(Relation table) {
#if PG_VERSION_NUM < 180000
    return RelationGetPrimaryKeyIndex(table);
#else
    return RelationGetPrimaryKeyIndex(table, false);
#endif
}

// Of a table in dynamic shared memory whose keys are compared byte by byte.
inline dshash_parameters hash_table_parameters(std::size_t key, std::size_t entry, int tranche) {
    dshash_parameters parameters{};
    parameters.key_size = key;
    parameters.entry_size = entry;
    parameters.compare_function = dshash_memcmp;
    parameters.hash_function = dshash_memhash;
#if PG_VERSION_NUM >= 170000
    parameters.copy_function = dshash_memcpy;
#endif
    parameters.tranche_id = tranche;
    return parameters;
}

// A number that identifies the current transaction among those of this session.
inline LocalTransactionId current_local_transaction() {
#if PG_VERSION_NUM < 170000
    return MyProc->lxid;
#else
    return MyProc->vxid.lxid;
#endif
}

// Builds a jsonb value token by token. C world.
class JsonbBuilder {
  public:
    void push(JsonbIteratorToken token, JsonbValue* value = nullptr) {
#if PG_VERSION_NUM < 190000
        result_ = pushJsonbValue(&state_, token, value);
#else
        pushJsonbValue(&state_, token, value);
#endif
    }

    // After the last token has closed the outermost object or array.
    Jsonb* finish() {
#if PG_VERSION_NUM < 190000
        return JsonbValueToJsonb(result_);
#else
        return JsonbValueToJsonb(state_.result);
#endif
    }

  private:
#if PG_VERSION_NUM < 190000
    JsonbParseState* state_ = nullptr;
    JsonbValue* result_ = nullptr;
#else
    JsonbInState state_{};
#endif
};

}  // namespace securatlas::pg
