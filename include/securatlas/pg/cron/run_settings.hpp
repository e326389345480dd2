// The read-only settings that tell a run who it is: cron.job_id, cron.run_id, cron.job_name,
// cron.scheduled_at, cron.attempt. Empty outside of a run.
#pragma once

#include "securatlas/pg/cron/command.hpp"

namespace securatlas::pg {

void define_run_settings();

// For the process that executes the run, outside of a transaction. The workers of its parallel
// plans see the same.
void set_run_settings(const CurrentRun& run);
void clear_run_settings() noexcept;

// Names beginning with cron. or net. that no setting has are errors from here on.
void reserve_setting_prefixes();

}  // namespace securatlas::pg
