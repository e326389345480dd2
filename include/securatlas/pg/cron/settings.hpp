// The current values of the settings cron.*. Names, defaults and ranges are in settings.cpp.
#pragma once

#include <cstdint>

#include "securatlas/core/time.hpp"

namespace securatlas::pg {

struct Settings {
    const char* timezone;           // cron.timezone; a zone of the zone database
    int max_running_jobs;           // cron.max_running_jobs; fixed at server start
    int max_running_jobs_per_role;  // 0: no limit; for a role see role_limit()
    core::Duration worker_idle_timeout;
    core::Duration history_retention;  // 0: keep all
    int history_limit;                 // rows kept for a job; 0: no limit
    core::Duration catchup_window;
    bool log_run;
    bool log_statement;
    bool sync_read_only_runs;
    bool launch_active_jobs;
    bool enable_superuser_jobs;
};

Settings settings();

// Defines the settings; for _PG_init. Those that are fixed at server start can only be defined
// while shared_preload_libraries is processed.
void define_settings();

// Changes the defaults of settings to those of pg_cron, where programs rely on them.
void use_defaults_of_pg_cron();

// The variable of cron.max_running_jobs, for the size of shared memory.
const int* max_running_jobs_variable();

// Sets log_min_messages of this process from cron.log_min_messages.
void apply_log_min_messages();

}  // namespace securatlas::pg
