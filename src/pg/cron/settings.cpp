#include "securatlas/pg/cron/settings.hpp"

#include "border/interval_setting.hpp"
#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/cron/schedules.hpp"

extern "C" {
#include "utils/guc.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg {
namespace {

// The variables of the settings, which PostgreSQL writes.
struct Variables {
    char* timezone = nullptr;
    int max_running_jobs = 0;
    int max_running_jobs_per_role = 0;
    int worker_idle_timeout_ms = 0;
    char* history_retention = nullptr;
    int history_limit = 0;
    char* catchup_window = nullptr;
    bool log_run = true;
    bool log_statement = false;
    bool sync_read_only_runs = false;
    int log_min_messages = WARNING;
    bool launch_active_jobs = true;
    bool enable_superuser_jobs = true;
    char* ignored_text[2] = {};
    bool ignored_flag = false;
    std::int64_t history_retention_us = 0;
    std::int64_t catchup_window_us = 0;
};
constinit Variables variables;

// The defaults of settings that have no effect: scripts read them.
constexpr const char* kDatabaseOfPgCron = "postgres";
constexpr const char* kHostOfPgCron = "localhost";

constexpr config_enum_entry kMessageLevels[] = {
    {"debug5", DEBUG5, false}, {"debug4", DEBUG4, false}, {"debug3", DEBUG3, false},
    {"debug2", DEBUG2, false}, {"debug1", DEBUG1, false}, {"debug", DEBUG2, true},
    {"info", INFO, false},     {"notice", NOTICE, false}, {"warning", WARNING, false},
    {"error", ERROR, false},   {"log", LOG, false},       {"fatal", FATAL, false},
    {"panic", PANIC, false},   {nullptr, 0, false},
};

extern "C" {

bool securatlas_check_timezone(char** value, void**, GucSource) {
    return check_setting([value] { require_zone(*value); });
}

void securatlas_assign_retention(const char*, void* extra) {
    variables.history_retention_us = *static_cast<std::int64_t*>(extra);
}

void securatlas_assign_catchup(const char*, void* extra) {
    variables.catchup_window_us = *static_cast<std::int64_t*>(extra);
}

void securatlas_assign_ignored_text(const char* value, void*) {
    const std::string_view given = value != nullptr ? value : "";
    const bool is_default = given.empty() || given == kDatabaseOfPgCron || given == kHostOfPgCron;
    if (!is_default && MyProcPid == PostmasterPid) {
        ereport(LOG, (errmsg("cron.database_name and cron.host have no effect"),
                      errdetail("securatlas_sched schedules in every database that holds it.")));
    }
}

void securatlas_assign_ignored_flag(bool value, void*) {
    if (value && MyProcPid == PostmasterPid) {
        ereport(LOG, (errmsg("cron.use_background_workers has no effect"),
                      errdetail("securatlas_sched always uses background workers.")));
    }
}

}  // extern "C"

void define_text(const char* name, const char* help, char** variable, const char* initial,
                 GucStringCheckHook check_hook, GucStringAssignHook assign_hook) {
    DefineCustomStringVariable(name, help, nullptr, variable, initial, PGC_SIGHUP, 0, check_hook,
                               assign_hook, nullptr);
}

void define_flag(const char* name, const char* help, bool* variable, bool initial) {
    DefineCustomBoolVariable(name, help, nullptr, variable, initial, PGC_SIGHUP, 0, nullptr,
                             nullptr, nullptr);
}

void define_limits() {
    DefineCustomIntVariable("cron.max_running_jobs",
                            "Runs that may be executed at the same time in the whole cluster.",
                            nullptr, &variables.max_running_jobs, 32, 1, 1000, PGC_POSTMASTER, 0,
                            nullptr, nullptr, nullptr);
    DefineCustomIntVariable("cron.max_running_jobs_per_role",
                            "Runs of one role that may be executed at the same time in the whole "
                            "cluster; 0 sets no limit.",
                            nullptr, &variables.max_running_jobs_per_role, 0, 0, 1000, PGC_SUSET, 0,
                            nullptr, nullptr, nullptr);
    DefineCustomIntVariable("cron.worker_idle_timeout",
                            "Time after which a job worker without a run ends.", nullptr,
                            &variables.worker_idle_timeout_ms, 60'000, 0, 86'400'000, PGC_SIGHUP,
                            GUC_UNIT_MS, nullptr, nullptr, nullptr);
    DefineCustomIntVariable("cron.history_limit", "History rows kept for a job; 0 keeps all.",
                            nullptr, &variables.history_limit, 0, 0, INT_MAX, PGC_SIGHUP, 0,
                            nullptr, nullptr, nullptr);
    DefineCustomEnumVariable("cron.log_min_messages",
                             "Lowest level of messages that job workers write to the server log.",
                             nullptr, &variables.log_min_messages, WARNING, kMessageLevels,
                             PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
}

}  // namespace

void define_settings() {
    define_limits();
    define_text("cron.timezone", "Time zone of jobs that name none.", &variables.timezone, "GMT",
                securatlas_check_timezone, nullptr);
    define_text("cron.history_retention", "Age after which history rows are removed; 0 keeps all.",
                &variables.history_retention, "30 days", securatlas_check_interval,
                securatlas_assign_retention);
    define_text("cron.catchup_window", "Age up to which a missed run may still run.",
                &variables.catchup_window, "5 minutes", securatlas_check_interval,
                securatlas_assign_catchup);
    define_flag("cron.log_run", "Record runs in cron.job_run_details.", &variables.log_run, true);
    define_flag("cron.log_statement", "Write the command of each run to the server log.",
                &variables.log_statement, false);
    define_flag("cron.sync_read_only_runs",
                "Wait for the disk when a run that has written nothing ends.",
                &variables.sync_read_only_runs, false);
    define_flag("cron.launch_active_jobs", "Start runs of active jobs.",
                &variables.launch_active_jobs, true);
    define_flag("cron.enable_superuser_jobs", "Allow jobs that run as a superuser.",
                &variables.enable_superuser_jobs, true);
    // Settings of pg_cron: they are accepted, and a log message says that they have no effect.
    define_text("cron.database_name", "Has no effect.", &variables.ignored_text[0],
                kDatabaseOfPgCron, nullptr, securatlas_assign_ignored_text);
    define_text("cron.host", "Has no effect.", &variables.ignored_text[1], kHostOfPgCron, nullptr,
                securatlas_assign_ignored_text);
    DefineCustomBoolVariable("cron.use_background_workers", "Has no effect.", nullptr,
                             &variables.ignored_flag, false, PGC_SIGHUP, 0, nullptr,
                             securatlas_assign_ignored_flag, nullptr);
}

void use_defaults_of_pg_cron() {
    call(
        [] { SetConfigOption("cron.log_statement", "on", PGC_POSTMASTER, PGC_S_DYNAMIC_DEFAULT); });
}

Settings settings() {
    return {
        .timezone = variables.timezone,
        .max_running_jobs = variables.max_running_jobs,
        .max_running_jobs_per_role = variables.max_running_jobs_per_role,
        .worker_idle_timeout = std::chrono::milliseconds(variables.worker_idle_timeout_ms),
        .history_retention = core::Duration(variables.history_retention_us),
        .history_limit = variables.history_limit,
        .catchup_window = core::Duration(variables.catchup_window_us),
        .log_run = variables.log_run,
        .log_statement = variables.log_statement,
        .sync_read_only_runs = variables.sync_read_only_runs,
        .launch_active_jobs = variables.launch_active_jobs,
        .enable_superuser_jobs = variables.enable_superuser_jobs,
    };
}

const int* max_running_jobs_variable() { return &variables.max_running_jobs; }

void apply_log_min_messages() {
    for (const config_enum_entry* entry = kMessageLevels; entry->name != nullptr; ++entry) {
        if (entry->val != variables.log_min_messages || entry->hidden) continue;
        call([entry] {
            SetConfigOption("log_min_messages", entry->name, PGC_SUSET, PGC_S_OVERRIDE);
        });
        return;
    }
}

}  // namespace securatlas::pg
