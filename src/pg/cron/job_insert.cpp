#include "cron/job_insert.hpp"

#include "border/keyed_row.hpp"
#include "border/owner_scope.hpp"
#include "border/plain_insert.hpp"
#include "border/relation_changes.hpp"
#include "border/spi.hpp"
#include "border/table_insert.hpp"
#include "securatlas/pg/border/compat.hpp"
#include "securatlas/pg/shared/commit_actions.hpp"

extern "C" {
#include "access/genam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
}

namespace securatlas::pg::jobs {
namespace {

constexpr const char* kCheckTrigger = "job_check";     // BEFORE
constexpr const char* kNoticeTrigger = "job_changed";  // AFTER; it only tells the scheduler

// ---- C world -------------------------------------------------------------------------------

struct Given {
    const char* column;
    Datum value;
    bool is_null;
};
using GivenValues = std::array<Given, 7>;
constexpr std::size_t kName = 0;
constexpr std::size_t kRole = 6;

// What the executor prepares for each statement: here once, for as long as the table stays as it
// is.
struct Prepared {
    MemoryContext memory;
    Oid table;
    bool is_stale;  // set when the table's definition changes
    bool is_plain;  // the rest is set if it is
    bool tells;     // the scheduler is told of new jobs
    EState* state;
    ResultRelInfo* target;  // with triggers and constraints, without indexes
    ExprState** defaults;   // by column; null: none
    List* arbiters;         // the unique indexes of name and role
    AttrNumber id;
    std::array<AttrNumber, std::tuple_size_v<GivenValues>> given;
};
constinit Prepared prepared{};

void note_change(Oid relation) {
    if (!OidIsValid(relation) || relation == prepared.table) prepared.is_stale = true;
}

// Statements of the extension run as in a replica: triggers of users do not fire, unless they are
// ENABLE ALWAYS or ENABLE REPLICA.
bool has_known_triggers(const TriggerDesc* triggers, bool* tells) {
    for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i) {
        const Trigger& trigger = triggers->triggers[i];
        if (!TRIGGER_FOR_INSERT(trigger.tgtype) || !fires(trigger)) continue;
        if (is_row_trigger_of_insert(trigger, kCheckTrigger, TRIGGER_TYPE_BEFORE)) continue;
        if (!is_row_trigger_of_insert(trigger, kNoticeTrigger, TRIGGER_TYPE_AFTER)) return false;
        *tells = true;
    }
    return true;
}

bool has_plain_constraints(const TupleConstr* constraints) {
    for (int i = 0; constraints != nullptr && i < constraints->num_check; ++i) {
        if (calls_user_code(static_cast<Node*>(stringToNode(constraints->check[i].ccbin)))) {
            return false;
        }
    }
    return true;
}

bool is_unique_for(Relation index, AttrNumber name, AttrNumber role) {
    const FormData_pg_index* row = index->rd_index;
    if (!row->indisunique || !row->indisvalid || row->indnkeyatts != 2) return false;
    const auto* keys = row->indkey.values;
    return ((keys[0] == name && keys[1] == role) || (keys[0] == role && keys[1] == name)) &&
           RelationGetIndexPredicate(index) == NIL;
}

bool prepare_arbiters(Relation table, Prepared& to) {
    ListCell* cell = nullptr;
    foreach (cell, RelationGetIndexList(table)) {
        Relation index = index_open(lfirst_oid(cell), RowExclusiveLock);
        if (is_unique_for(index, to.given[kName], to.given[kRole])) {
            to.arbiters = lappend_oid(to.arbiters, RelationGetRelid(index));
        }
        index_close(index, NoLock);
    }
    return to.arbiters != NIL;
}

bool prepare_plain(Relation table, const GivenValues& values, Prepared& to) {
    const FormData_pg_class* row = table->rd_rel;
    if (row->relkind != RELKIND_RELATION || row->relispartition || row->relforcerowsecurity ||
        table->rd_rules != nullptr || !has_known_triggers(table->trigdesc, &to.tells) ||
        !has_plain_constraints(RelationGetDescr(table)->constr) || !has_plain_indexes(table)) {
        return false;
    }
    to.id = column_number(table, "jobid");
    for (std::size_t i = 0; i < values.size(); ++i) {
        to.given[i] = column_number(table, values[i].column);
    }
    to.state = CreateExecutorState();
    MemoryContextSwitchTo(to.state->es_query_cxt);
    to.target = makeNode(ResultRelInfo);
    InitResultRelInfo(to.target, table, 0, nullptr, 0);
    to.defaults = prepare_defaults(table, to.state);
    return to.defaults != nullptr && prepare_arbiters(table, to);
}

void prepare(Relation table, const GivenValues& values) {
    static constinit bool is_registered = false;
    if (!is_registered) {
        on_relation_change(note_change);
        is_registered = true;
    }
    if (prepared.memory != nullptr) MemoryContextDelete(prepared.memory);
    prepared = {};
    // A change of the table makes it stale from here on, and so does an error.
    prepared.table = RelationGetRelid(table);
    MemoryContext memory =
        AllocSetContextCreate(CacheMemoryContext, "new jobs", ALLOCSET_DEFAULT_SIZES);
    prepared.memory = memory;
    MemoryContext before = MemoryContextSwitchTo(memory);
    prepared.is_plain = prepare_plain(table, values, prepared);
    MemoryContextSwitchTo(before);
}

// What the executor checks when it starts.
bool may_write(Relation table) {
    constexpr AclMode kWanted = ACL_INSERT | ACL_SELECT | ACL_UPDATE;
    return table->rd_rel->relowner == GetUserId() && ExecutorCheckPerms_hook == nullptr &&
           pg_class_aclmask(RelationGetRelid(table), GetUserId(), kWanted, ACLMASK_ALL) == kWanted;
}

void set_given(TupleTableSlot* slot, const GivenValues& values, std::size_t which) {
    const int column = prepared.given[which] - 1;
    slot->tts_values[column] = values[which].value;
    slot->tts_isnull[column] = values[which].is_null;
}

// Whether there is a job of this name and role.
bool is_taken(TupleTableSlot* slot, const GivenValues& values) {
    if (values[kName].is_null || values[kRole].is_null) return false;
    ExecStoreAllNullTuple(slot);
    set_given(slot, values, kName);
    set_given(slot, values, kRole);
    const bool is_free =
        is_without_conflict(prepared.target, slot, prepared.state, prepared.arbiters);
    ExecClearTuple(slot);
    return !is_free;
}

void fill(TupleTableSlot* slot, const GivenValues& values) {
    set_defaults(slot, prepared.defaults, prepared.state);
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (i != kRole) set_given(slot, values, i);
    }
    ExecStoreVirtualTuple(slot);
    slot->tts_tableOid = prepared.table;
}

// Like INSERT ... ON CONFLICT: if another transaction has meanwhile written a job of this name and
// role, the new row is taken back.
bool write(Relation table, TupleTableSlot* slot) {
    bool is_conflict = false;
    const TransactionId transaction = GetCurrentTransactionId();
    const std::uint32_t token = SpeculativeInsertionLockAcquire(transaction);
    table_tuple_insert_speculative(table, slot, GetCurrentCommandId(true), 0, nullptr, token);
    insert_index_entries_unless(prepared.target, slot, prepared.state, prepared.arbiters,
                                &is_conflict);
    table_tuple_complete_speculative(table, slot, token, !is_conflict);
    SpeculativeInsertionLockRelease(transaction);
    return !is_conflict;
}

// The id; 0: the row was not written.
std::int64_t insert_into(Relation table, TupleTableSlot* slot, const GivenValues& values) {
    if (is_taken(slot, values)) return 0;
    fill(slot, values);
    // What is kept of the trigger's function is as old as the rest.
    MemoryContext before = MemoryContextSwitchTo(prepared.state->es_query_cxt);
    const bool is_wanted = ExecBRInsertTriggers(prepared.state, prepared.target, slot);
    MemoryContextSwitchTo(before);
    if (!is_wanted) return 0;
    ExecConstraints(prepared.target, slot, prepared.state);
    if (!write(table, slot)) return 0;
    bool is_null = false;
    return DatumGetInt64(slot_getattr(slot, prepared.id, &is_null));
}

std::int64_t insert(Relation table, const GivenValues& values) {
    if (prepared.is_stale || prepared.table != RelationGetRelid(table)) prepare(table, values);
    if (!prepared.is_plain || !may_write(table)) return 0;
    const bool pushes = !ActiveSnapshotSet();  // for values that are moved to the TOAST table
    if (pushes) PushActiveSnapshot(GetTransactionSnapshot());
    prepared.target->ri_RelationDesc = table;
    ExecOpenIndices(prepared.target, true);
    TupleTableSlot* slot = table_slot_create(table, nullptr);
    const std::int64_t id = insert_into(table, slot, values);
    ExecDropSingleTupleTableSlot(slot);
    ResetPerTupleExprContext(prepared.state);
    close_indexes(prepared.target);
    if (pushes) PopActiveSnapshot();
    if (id != 0) CommandCounterIncrement();
    return id;
}

// ---- C++ world -----------------------------------------------------------------------------

Given given(const char* column, const Parameter& value) {
    return {column, value.value, value.is_null};
}

}  // namespace

std::optional<std::int64_t> insert_past_executor(const Definition& job) {
    const GivenValues values = {
        given("jobname", Parameter::of_optional(job.name)),
        given("schedule", Parameter::of(job.schedule)),
        given("command", Parameter::of(job.command)),
        given("database", Parameter::of(job.database)),
        given("username", Parameter::of(job.username)),
        given("active", Parameter::of(job.active)),
        given("roleid", Parameter::of_oid(job.role)),
    };
    OwnerScope owner(OwnerScope::Mode::no_statements);
    std::int64_t id = 0;
    try {
        id = call([&values] {
            PreventCommandIfReadOnly("INSERT");
            PreventCommandIfParallelMode("INSERT");
            Relation table = open_table("cron", "job", RowExclusiveLock);
            const std::int64_t written = insert(table, values);
            table_close(table, NoLock);
            return written;
        });
    } catch (...) {
        prepared.is_stale = true;  // it was left in the middle
        throw;
    }
    if (id == 0) return std::nullopt;
    if (prepared.tells) at_commit::notify(Notice::Kind::job_changed, id);
    return id;
}

}  // namespace securatlas::pg::jobs
