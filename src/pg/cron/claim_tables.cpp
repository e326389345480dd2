#include "cron/claim_tables.hpp"

#include <cstring>

#include "border/plain_insert.hpp"
#include "border/relation_changes.hpp"

extern "C" {
#include "access/genam.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "utils/memutils.h"
}

namespace securatlas::pg::runs {
namespace {

constexpr const char* kRoleTrigger = "run_role";
constexpr const char* kStatusCheck = "job_run_details_status_check";

struct Kept {
    MemoryContext memory;
    Oid history;
    Oid jobs;
    bool is_stale;  // set when the definition of a table or of an index of the history changes
    ClaimTables tables;
};
constinit Kept kept{};

void note_change(Oid relation) {
    bool is_part = !OidIsValid(relation) || relation == kept.history || relation == kept.jobs;
    for (int i = 0; i < kept.tables.indexes.count; ++i) {
        is_part = is_part || relation == kept.tables.indexes.ids[i];
    }
    if (is_part) kept.is_stale = true;
}

// Finds columns, and whether they have the types that the extension gave them.
struct ColumnFinder {
    Relation table;
    bool have_own_types = true;

    AttrNumber operator()(const char* name, Oid type) {
        const AttrNumber number = column_number(table, name);
        const Oid found = TupleDescAttr(RelationGetDescr(table), number - 1)->atttypid;
        have_own_types = have_own_types && found == type;
        return number;
    }
};

NewRunColumns columns_of_run(ColumnFinder& find) {
    return {find("jobid", INT8OID),
            find("runid", INT8OID),
            find("database", TEXTOID),
            find("username", TEXTOID),
            find("command", TEXTOID),
            find("status", TEXTOID),
            find("start_time", TIMESTAMPTZOID),
            find("end_time", TIMESTAMPTZOID),
            find("jobname", TEXTOID),
            find("scheduled_at", TIMESTAMPTZOID),
            find("attempt", INT4OID),
            find("trigger", TEXTOID),
            find("reason", TEXTOID),
            find("roleid", OIDOID)};
}

ClaimedJobColumns columns_of_job(ColumnFinder& find) {
    return {find("jobid", INT8OID),   find("database", TEXTOID), find("username", TEXTOID),
            find("command", TEXTOID), find("jobname", TEXTOID),  find("log_runs", TEXTOID),
            find("roleid", OIDOID)};
}

// The extension's own trigger, whose work is done here, and no other one.
bool has_role_trigger_only(const TriggerDesc* triggers) {
    bool is_found = false;
    for (int i = 0; triggers != nullptr && i < triggers->numtriggers; ++i) {
        const Trigger& trigger = triggers->triggers[i];
        if (!TRIGGER_FOR_INSERT(trigger.tgtype) || !fires(trigger)) continue;
        if (!is_row_trigger_of_insert(trigger, kRoleTrigger, TRIGGER_TYPE_BEFORE)) return false;
        is_found = true;
    }
    return is_found;
}

// The extension's own constraint, which all rows that are written here satisfy, and no other one.
// Columns that must not be NULL are looked at in each row.
bool has_known_constraints(const TupleConstr* constraints) {
    if (constraints == nullptr || constraints->num_check == 0) return true;
    return constraints->num_check == 1 && strcmp(constraints->check[0].ccname, kStatusCheck) == 0;
}

// A table that inherits from it has rows that a query sees, too.
bool is_plain_history(Relation history) {
    const FormData_pg_class* row = history->rd_rel;
    return row->relkind == RELKIND_RELATION && !row->relispartition && !row->relhassubclass &&
           history->rd_rules == nullptr && has_role_trigger_only(history->trigdesc) &&
           has_known_constraints(RelationGetDescr(history)->constr) && has_plain_indexes(history);
}

bool are_plain_jobs(Relation jobs) {
    return jobs->rd_rel->relkind == RELKIND_RELATION && !jobs->rd_rel->relhassubclass;
}

// Whether ON CONFLICT (jobid, scheduled_at, attempt) means this index.
bool is_key_of_occurrences(Oid id, const NewRunColumns& columns) {
    Relation index = index_open(id, RowExclusiveLock);
    const FormData_pg_index* row = index->rd_index;
    bool is_key = row->indisunique && row->indisvalid && row->indnkeyatts == 3 &&
                  RelationGetIndexPredicate(index) == NIL;
    for (const AttrNumber wanted : {columns.job, columns.scheduled_at, columns.attempt}) {
        const auto* keys = row->indkey.values;
        is_key = is_key && (keys[0] == wanted || keys[1] == wanted || keys[2] == wanted);
    }
    index_close(index, NoLock);
    return is_key;
}

bool prepare_plain(Relation history, Relation jobs, ClaimTables& to) {
    ColumnFinder find_of_run{history};
    ColumnFinder find_of_job{jobs};
    to.of_run = columns_of_run(find_of_run);
    to.of_job = columns_of_job(find_of_job);
    if (!find_of_run.have_own_types || !find_of_job.have_own_types || !is_plain_history(history) ||
        !are_plain_jobs(jobs) || !read_indexes(history, &to.indexes)) {
        return false;
    }
    bool has_key = false;
    for (int i = 0; i < to.indexes.count; ++i) {
        to.is_key[i] = is_key_of_occurrences(to.indexes.ids[i], to.of_run);
        has_key = has_key || to.is_key[i];
    }
    to.state = CreateExecutorState();
    to.defaults = prepare_defaults(history, to.state);
    return has_key && to.defaults != nullptr;
}

}  // namespace

const ClaimTables& claim_tables(Relation history, Relation jobs) {
    if (kept.memory == nullptr) {
        on_relation_change(note_change);
    } else if (!kept.is_stale && kept.history == RelationGetRelid(history) &&
               kept.jobs == RelationGetRelid(jobs)) {
        return kept.tables;
    } else {
        MemoryContextDelete(kept.memory);
    }
    kept = {};
    // A change of a table makes it stale from here on.
    kept.history = RelationGetRelid(history);
    kept.jobs = RelationGetRelid(jobs);
    kept.memory =
        AllocSetContextCreate(TopMemoryContext, "securatlas_sched claims", ALLOCSET_DEFAULT_SIZES);
    MemoryContext caller = MemoryContextSwitchTo(kept.memory);
    kept.tables.is_plain = prepare_plain(history, jobs, kept.tables);
    MemoryContextSwitchTo(caller);
    return kept.tables;
}

void forget_claim_tables() { kept.is_stale = true; }

}  // namespace securatlas::pg::runs
