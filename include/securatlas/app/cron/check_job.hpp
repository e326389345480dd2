// Checks a row of cron.job, whoever writes it.
#pragma once

#include "securatlas/pg/cron/written_job.hpp"

namespace securatlas::app {

// Looks up the job's role, checks what has changed, and sets from when on the job is planned.
// Throws pg::Error if the row is not valid. A row that is restored or replicated is never rejected,
// because that would lose the other rows of the table too: the job is paused instead, and its note
// says why.
void check_job(pg::jobs::WrittenJob& job);

}  // namespace securatlas::app
