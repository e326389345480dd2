#include "cron/claim_rows.hpp"

#include "border/keyed_row.hpp"
#include "border/plain_insert.hpp"
#include "border/table_insert.hpp"
#include "cron/claim_tables.hpp"
#include "cron/run_texts.hpp"
#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg::runs {
namespace {

constexpr const char* kSchema = "cron";

// ---- C world -------------------------------------------------------------------------------

// An occurrence, and what becomes of it.
struct Item {
    std::int64_t job;
    TimestampTz scheduled_at;
    std::int32_t attempt;
    Bytes trigger;
    Bytes reason;  // of length 0: none

    MadeRow::State state;
    std::int64_t run;
    bool row_stays;
    Bytes database;
    Bytes username;
    Oid role;
};

// The role of a job as the row names it. Most jobs of a portion have the same.
struct RoleOfRow {
    Oid of_job;
    Datum username;
    Oid role;  // 0: there is none of this name
};

struct JobRow {
    Datum* values;
    bool* nulls;

    Value of(AttrNumber column) const { return {values[column - 1], nulls[column - 1]}; }
    Bytes text(AttrNumber column) const {
        const Value value = of(column);
        return value.is_null ? Bytes{} : bytes_of(value.datum);
    }
};

Oid role_of_name(Datum username) { return get_role_oid(TextDatumGetCString(username), true); }

// The name that the role has now, or that PostgreSQL gives one that is gone; and, as the trigger
// run_role does it, the role of that name.
RoleOfRow role_by_id(Oid role) {
    const char* name = GetUserNameFromId(role, true);
    if (name == nullptr) name = psprintf("unknown (OID=%u)", role);
    const Datum username = CStringGetTextDatum(name);
    return {role, username, role_of_name(username)};
}

// Rows that are written by one call.
struct Batch {
    const ClaimTables& tables;
    NewStatus status;
    Datum status_text;
    Datum now;
    RoleOfRow role;  // of the previous row

    void set_role(TupleTableSlot* slot, const JobRow& job, Item& item);
    void fill(TupleTableSlot* slot, const JobRow& job, Item& item);
};

void set(TupleTableSlot* slot, AttrNumber column, Datum value, bool is_null = false) {
    slot->tts_values[column - 1] = value;
    slot->tts_isnull[column - 1] = is_null;
}

void set(TupleTableSlot* slot, AttrNumber column, Value value) {
    set(slot, column, value.datum, value.is_null);
}

void set(TupleTableSlot* slot, AttrNumber column, Bytes value) {
    set(slot, column,
        PointerGetDatum(cstring_to_text_with_len(value.data, static_cast<int>(value.length))));
}

void Batch::set_role(TupleTableSlot* slot, const JobRow& job, Item& item) {
    const Value id = job.of(tables.of_job.role);
    const Value name = job.of(tables.of_job.username);
    RoleOfRow found{};
    if (!id.is_null) {
        const Oid wanted = DatumGetObjectId(id.datum);
        if (role.of_job != wanted || role.username == Datum{0}) role = role_by_id(wanted);
        found = role;
    } else if (!name.is_null) {
        found = {InvalidOid, name.datum, role_of_name(name.datum)};
    }
    const bool has_name = found.username != Datum{0};
    set(slot, tables.of_run.username, found.username, !has_name);
    set(slot, tables.of_run.role, ObjectIdGetDatum(found.role), !OidIsValid(found.role));
    item.username = has_name ? bytes_of(found.username) : Bytes{};
    item.role = found.role;
}

void Batch::fill(TupleTableSlot* slot, const JobRow& job, Item& item) {
    const NewRunColumns& column = tables.of_run;
    const ClaimedJobColumns& of_job = tables.of_job;
    ExecClearTuple(slot);
    set_defaults(slot, tables.defaults, tables.state);
    set(slot, column.job, Int64GetDatum(item.job));
    set(slot, column.database, job.of(of_job.database));
    set(slot, column.command, job.of(of_job.command));
    set(slot, column.name, job.of(of_job.name));
    set(slot, column.status, status_text);
    set(slot, column.scheduled_at, TimestampTzGetDatum(item.scheduled_at));
    set(slot, column.attempt, Int32GetDatum(item.attempt));
    set(slot, column.trigger, item.trigger);
    set(slot, column.reason, Datum{0}, true);
    if (item.reason.length > 0) set(slot, column.reason, item.reason);
    if (status == NewStatus::skipped) {
        set(slot, column.started, now);
        set(slot, column.ended, now);
    }
    set_role(slot, job, item);
    ExecStoreVirtualTuple(slot);
    item.run = DatumGetInt64(slot->tts_values[column.run - 1]);
    item.database = job.text(of_job.database);
}

bool lacks_value(TupleTableSlot* slot) {
    TupleDesc columns = slot->tts_tupleDescriptor;
    for (int i = 0; i < columns->natts; ++i) {
        const FormData_pg_attribute* column = TupleDescAttr(columns, i);
        if (slot->tts_isnull[i] && column->attnotnull && !column->attisdropped) return true;
    }
    return false;
}

// False: an occurrence may have a row, or a row lacks a value; and rows may have been written.
bool write_all(Relation history, Relation jobs, Batch& batch, Item* items, std::size_t count) {
    const ClaimTables& tables = batch.tables;
    OpenIndex indexes[KnownIndexes::kMost];
    for (int i = 0; i < tables.indexes.count; ++i) {
        Relation index = index_open(tables.indexes.ids[i], RowExclusiveLock);
        indexes[i] = OpenIndex::of(index, tables.indexes.infos[i]);
        if (tables.is_key[i]) indexes[i].uniqueness = UNIQUE_CHECK_PARTIAL;
    }
    EState* state = tables.state;
    RowPortion portion(history, indexes, tables.indexes.count, &state);
    const ClaimedJobColumns& of_job = tables.of_job;
    RowFinder find_job = begin_finding(jobs, of_job.job, GetActiveSnapshot());
    const auto width = static_cast<Size>(RelationGetDescr(jobs)->natts);
    const JobRow job{static_cast<Datum*>(palloc(sizeof(Datum) * width)),
                     static_cast<bool*>(palloc(sizeof(bool) * width))};
    bool is_done = true;
    for (std::size_t i = 0; i < count && is_done; ++i) {
        Item& item = items[i];
        HeapTuple found = find_next(find_job, item.job);
        if (found == nullptr) continue;
        heap_deform_tuple(found, RelationGetDescr(jobs), job.values, job.nulls);
        const std::string_view log_runs = job.text(of_job.log_runs).view();
        item.state = log_runs == "none" ? MadeRow::State::unlogged : MadeRow::State::written;
        if (item.state == MadeRow::State::unlogged) continue;
        item.row_stays = log_runs == "all";
        TupleTableSlot* slot = portion.next_row();
        batch.fill(slot, job, item);
        is_done = !lacks_value(slot);
        portion.add();
        ResetPerTupleExprContext(state);
        if (is_done && portion.is_full()) is_done = portion.write();
    }
    is_done = is_done && portion.write();
    portion.drop();
    end_finding(find_job);
    for (int i = 0; i < tables.indexes.count; ++i) index_close(indexes[i].relation, NoLock);
    return is_done;
}

enum class Result { written, not_plain, may_be_taken };

Result insert_into(Relation history, Relation jobs, NewStatus status, Item* items,
                   std::size_t count) {
    const ClaimTables& tables = claim_tables(history, jobs);
    if (!tables.is_plain || !superuser() || ExecutorCheckPerms_hook != nullptr) {
        return Result::not_plain;
    }
    const bool is_skipped = status == NewStatus::skipped;
    Batch batch{tables,
                status,
                CStringGetTextDatum(is_skipped ? "skipped" : "starting"),
                TimestampTzGetDatum(GetCurrentTimestamp()),
                {}};
    PushActiveSnapshot(GetTransactionSnapshot());
    const bool is_done = write_all(history, jobs, batch, items, count);
    PopActiveSnapshot();
    if (!is_done) return Result::may_be_taken;
    CommandCounterIncrement();
    return Result::written;
}

Result insert(NewStatus status, Item* items, std::size_t count) {
    Relation history = open_table(kSchema, "job_run_details", RowExclusiveLock);
    Relation jobs = open_table(kSchema, "job", AccessShareLock);
    const Result result = insert_into(history, jobs, status, items, count);
    table_close(jobs, NoLock);
    table_close(history, NoLock);
    return result;
}

// ---- C++ world -----------------------------------------------------------------------------

Bytes bytes_of_view(std::string_view text) { return {text.data(), text.size()}; }

Item item_of(const NewRow& row) {
    Item item{};
    item.job = static_cast<std::int64_t>(row.occurrence->job);
    item.scheduled_at = to_timestamp(row.occurrence->scheduled_at);
    item.attempt = row.occurrence->attempt;
    item.trigger = bytes_of_view(trigger_text(row.occurrence->trigger));
    item.reason = bytes_of_view(*row.reason);
    item.state = MadeRow::State::no_job;
    return item;
}

MadeRow made_row(const Item& item, const core::Occurrence& occurrence) {
    MadeRow made{item.state, {}};
    if (item.state != MadeRow::State::written) return made;
    made.row = {.run = core::RunId{item.run},
                .occurrence = occurrence,
                .database = std::string(item.database.view()),
                .username = std::string(item.username.view()),
                .role = item.role,
                .logged = true,
                .row_stays = item.row_stays};
    return made;
}

Result insert_in(MemoryContext memory, NewStatus status, Item* items, std::size_t count) {
    try {
        return call([=] {
            MemoryContext caller = MemoryContextSwitchTo(memory);
            const Result result = insert(status, items, count);
            MemoryContextSwitchTo(caller);
            return result;
        });
    } catch (...) {
        forget_claim_tables();
        throw;
    }
}

}  // namespace

std::optional<std::vector<MadeRow>> insert_past_executor(std::span<const NewRow> rows,
                                                         NewStatus status) {
    std::vector<Item> items;
    items.reserve(rows.size());
    for (const NewRow& row : rows) items.push_back(item_of(row));
    // A transaction may have a thousand calls. What an error leaves ends with it.
    MemoryContext memory = call([] {
        return AllocSetContextCreate(CurrentMemoryContext, "new runs", ALLOCSET_DEFAULT_SIZES);
    });
    const Result result = insert_in(memory, status, items.data(), items.size());
    if (result == Result::may_be_taken) throw MayBeTaken();
    std::optional<std::vector<MadeRow>> made;
    if (result == Result::written) {
        made.emplace();
        made->reserve(rows.size());
        for (std::size_t i = 0; i < rows.size(); ++i) {
            made->push_back(made_row(items[i], *rows[i].occurrence));
        }
    }
    call([memory] { MemoryContextDelete(memory); });
    return made;
}

}  // namespace securatlas::pg::runs
