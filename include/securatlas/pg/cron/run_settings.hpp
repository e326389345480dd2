// The read-only settings that tell a run who it is: cron.job_id, cron.run_id, cron.job_name,
// cron.scheduled_at, cron.attempt. Empty outside of a run.
#pragma once

namespace securatlas::pg {

void define_run_settings();

// Names beginning with cron. or net. that no setting has are errors from here on.
void reserve_setting_prefixes();

}  // namespace securatlas::pg
