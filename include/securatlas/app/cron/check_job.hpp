// What a row of cron.job must be, whoever writes it.
#pragma once

#include "securatlas/pg/cron/written_job.hpp"

namespace securatlas::app {

// Finds the job's role, checks what has changed, and says from when on the job is planned. Throws
// pg::Error for what is no job. A row that is restored or replicated is not refused, because the
// others of its table would be lost with it: it is paused, and its note says why.
void check_job(pg::jobs::WrittenJob& job);

}  // namespace securatlas::app
