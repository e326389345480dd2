// What is known of the history and of cron.job for new rows that are written past the executor. C
// world.
#pragma once

#include "border/keyed_row.hpp"

namespace securatlas::pg::runs {

// The columns of a new row that have more than their default, and those of its job.
struct NewRunColumns {
    AttrNumber job, run, database, username, command, status, started, ended, name, scheduled_at,
        attempt, trigger, reason, role;
};
struct ClaimedJobColumns {
    AttrNumber job, database, username, command, name, log_runs, role;
};

// What the executor would prepare for each statement.
struct ClaimTables {
    // Whether INSERT into the history would do nothing but what is known here: no other triggers,
    // rules, constraints, generated columns or kinds of indexes that somebody has added, and all
    // columns as the extension made them. The rest is set if so.
    bool is_plain;
    NewRunColumns of_run;
    ClaimedJobColumns of_job;
    KnownIndexes indexes;
    bool is_key[KnownIndexes::kMost];  // an index that keeps occurrences apart
    EState* state;
    ExprState** defaults;
};

// Kept from the call before, unless a definition has changed. With locks on both tables, so that
// their definitions stay as they are.
const ClaimTables& claim_tables(Relation history, Relation jobs);

// After an error while they were in use.
void forget_claim_tables();

}  // namespace securatlas::pg::runs
