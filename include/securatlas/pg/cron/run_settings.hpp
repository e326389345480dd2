// The read-only settings by which a command knows its run: cron.job_id, cron.run_id, cron.job_name,
// cron.scheduled_at, cron.attempt. Empty outside a run.
#pragma once

#include "securatlas/pg/cron/command.hpp"

namespace securatlas::pg {

void define_run_settings();

// For the process that executes the run; call them outside a transaction. Parallel workers see the
// same values. They stay after the run until they are cleared or those of the next run are set.
void set_run_settings(const CurrentRun& run);
void clear_run_settings() noexcept;

// From here on, unknown settings whose names begin with cron. or net. are errors.
void reserve_setting_prefixes();

}  // namespace securatlas::pg
