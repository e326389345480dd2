// Reads and writes cron.scheduler_state, in which each scheduler finds how far an earlier one has
// planned, and for which database.
#include "border/spi.hpp"
#include "cron/run_texts.hpp"
#include "securatlas/pg/cron/runs.hpp"

extern "C" {
#include "miscadmin.h"
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
    static Statement update(R"(
UPDATE cron.scheduler_state SET planned_until = $1
 WHERE ctid = ANY (ARRAY(SELECT l.ctid FROM cron.scheduler_state l WHERE l.database_oid = $2
                            FOR UPDATE SKIP LOCKED)))");
    Spi spi;
    if (update.execute({Parameter::of(planned_until), Parameter::of_oid(MyDatabaseId)}) == 0) {
        insert_state(planned_until);
    }
}

}  // namespace securatlas::pg::runs
