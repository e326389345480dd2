// What a job worker does for each run with the tables of schema cron, past the executor.
#pragma once

#include "securatlas/pg/cron/runs.hpp"

namespace securatlas::pg::runs {

// Writes the outcome into the run's row, whatever the isolation level of the transaction is and
// even if it is read-only. Needs no rights. False: it takes a statement, because there is no
// unfinished row of this run, or because somebody has added to the table what UPDATE would heed.
// The row is looked for at `place` first.
bool write_end(const RunReport& report, const Place& place);

}  // namespace securatlas::pg::runs
