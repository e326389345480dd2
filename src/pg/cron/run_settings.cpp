#include "securatlas/pg/cron/run_settings.hpp"

#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/cron/command.hpp"

extern "C" {
#include "utils/guc.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg {
namespace {

constinit char* unused[5] = {};
constinit char shown[256] = {};

const char* show_number(std::int64_t value) {
    snprintf(shown, sizeof shown, "%lld", static_cast<long long>(value));
    return shown;
}

extern "C" {

const char* securatlas_show_job_id() {
    const CurrentRun* run = current_run();
    return run == nullptr ? "" : show_number(static_cast<std::int64_t>(run->order.occurrence.job));
}

const char* securatlas_show_run_id() {
    const CurrentRun* run = current_run();
    return run == nullptr ? "" : show_number(static_cast<std::int64_t>(run->order.run));
}

const char* securatlas_show_job_name() {
    const CurrentRun* run = current_run();
    return run == nullptr ? "" : run->job_name.c_str();
}

const char* securatlas_show_scheduled_at() {
    const CurrentRun* run = current_run();
    if (run == nullptr) return "";
    return timestamptz_to_str(to_timestamp(run->order.occurrence.scheduled_at));
}

const char* securatlas_show_attempt() {
    const CurrentRun* run = current_run();
    return run == nullptr ? "" : show_number(run->order.occurrence.attempt);
}

}  // extern "C"

// PGC_INTERNAL: nobody can set it, and it costs nothing until somebody looks.
void define(const char* name, const char* help, char** variable, GucShowHook show) {
    DefineCustomStringVariable(name, help, nullptr, variable, "", PGC_INTERNAL,
                               GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE, nullptr, nullptr, show);
}

}  // namespace

void define_run_settings() {
    define("cron.job_id", "The job of the run in progress.", &unused[0], securatlas_show_job_id);
    define("cron.run_id", "The run in progress.", &unused[1], securatlas_show_run_id);
    define("cron.job_name", "The name of the run's job.", &unused[2], securatlas_show_job_name);
    define("cron.scheduled_at", "The instant that the run is for.", &unused[3],
           securatlas_show_scheduled_at);
    define("cron.attempt", "The attempt that the run is.", &unused[4], securatlas_show_attempt);
}

void reserve_setting_prefixes() {
    call([] {
        MarkGUCPrefixReserved("cron");
        MarkGUCPrefixReserved("net");
    });
}

}  // namespace securatlas::pg
