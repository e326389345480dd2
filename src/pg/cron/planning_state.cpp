// Reads and writes cron.scheduler_state, in which each scheduler finds how far an earlier one has
// planned, and for which database.
#include "border/keyed_row.hpp"
#include "border/spi.hpp"
#include "securatlas/pg/cron/runs.hpp"

extern "C" {
#include "access/table.h"
#include "miscadmin.h"
#include "utils/snapmgr.h"
}

namespace securatlas::pg::runs {
namespace {

void insert_state(core::Instant planned_until) {
    static Statement insert(R"(
INSERT INTO cron.scheduler_state (planned_until, database_oid, database_name, system_identifier)
SELECT $1, d.oid, d.datname, c.system_identifier
  FROM pg_database d, pg_control_system() c WHERE d.datname = current_database())");
    insert.execute({Parameter::of(planned_until)});
}

// C world.
bool is_of_this_database(HeapTuple row, Relation table) {
    const Value database = value_of(row, table, column_number(table, "database_oid"));
    return !database.is_null && DatumGetObjectId(database.datum) == MyDatabaseId;
}

// C world. Updates the row at that place, if it is still this database's, and sets `place` to that
// of its new version. For each group of claims, and while somebody holds an old snapshot the table
// grows by a version each time: a statement would read them all. False: it takes a statement.
bool set_in_place(ItemPointer place, core::Instant planned_until) {
    if (!ItemPointerIsValid(place)) return false;
    Relation table = open_table("cron", "scheduler_state", RowExclusiveLock);
    const Change change = {column_number(table, "planned_until"),
                           TimestampTzGetDatum(to_timestamp(planned_until)), false};
    bool done = false;
    PushActiveSnapshot(GetTransactionSnapshot());
    if (is_plainly_updated(table, {.trigger = "state_check"}, &change, 1)) {
        HeapTuple row = row_at(table, place, GetActiveSnapshot());
        done = row != nullptr && is_of_this_database(row, table) &&
               update_row(table, row, GetActiveSnapshot(), &change, 1, Locked::give_up);
        if (done) *place = row->t_self;
    }
    PopActiveSnapshot();
    table_close(table, NoLock);
    return done;
}

}  // namespace

PlanningState read_planning_state() {
    static Statement query(R"(
SELECT s.planned_until, s.database_name,
       s.database_oid = me.oid AND s.system_identifier = c.system_identifier,
       s.database_name <> me.datname,
       EXISTS (SELECT FROM pg_database o
                WHERE o.oid = s.database_oid AND s.system_identifier = c.system_identifier)
  FROM cron.scheduler_state s, pg_control_system() c, pg_database me
 WHERE me.datname = current_database()
 ORDER BY s.planned_until)");
    Spi spi;
    query.execute({});
    PlanningState state;
    state.is_settled = SPI_processed == 1;
    Statement::each_row([&state](const Row& row) {
        const bool is_own = row.as_bool(3);
        const bool has_other_name = row.as_bool(4);
        if (!is_own || has_other_name) state.is_settled = false;
        if (is_own) {
            state.planned_until = row.as_instant(1);
            if (has_other_name) state.former_name = row.as_text(2);
        } else {
            state.copied_planned_until = row.as_instant(1);
            state.copied_from = row.as_text(2);
            state.original_exists = row.as_bool(5);
        }
    });
    return state;
}

bool reset_planning_state(core::Instant planned_until) {
    static Statement remove(R"(
DELETE FROM cron.scheduler_state
 WHERE ctid = ANY (ARRAY(SELECT l.ctid FROM cron.scheduler_state l FOR UPDATE SKIP LOCKED)))");
    static Statement left("SELECT FROM cron.scheduler_state");
    Spi spi;
    remove.execute({});
    const bool is_empty = left.execute({}) == 0;
    insert_state(planned_until);
    return is_empty;
}

void set_planned_until(core::Instant planned_until) {
    static constinit ItemPointerData place{};  // of the row, as far as known
    if (call([planned_until] { return set_in_place(&place, planned_until); })) return;
    static Statement update(R"(
UPDATE cron.scheduler_state SET planned_until = $1
 WHERE ctid = ANY (ARRAY(SELECT l.ctid FROM cron.scheduler_state l WHERE l.database_oid = $2
                            FOR UPDATE SKIP LOCKED))
RETURNING ctid)");
    Spi spi;
    if (update.execute({Parameter::of(planned_until), Parameter::of_oid(MyDatabaseId)}) == 0) {
        insert_state(planned_until);
    }
    Statement::each_row([](const Row& row) {
        place = *reinterpret_cast<ItemPointer>(DatumGetPointer(row.value(1)));
    });
}

}  // namespace securatlas::pg::runs
