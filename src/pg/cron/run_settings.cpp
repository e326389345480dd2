#include "securatlas/pg/cron/run_settings.hpp"

#include <cstring>

#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "access/parallel.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg {
namespace {

enum Index : std::uint8_t { job_id, run_id, job_name, scheduled_at, attempt };

struct Setting {
    const char* name;
    const char* help;
};
constexpr Setting kSettings[] = {
    {"cron.job_id", "The job of the run in progress."},
    {"cron.run_id", "The run in progress."},
    {"cron.job_name", "The name of the run's job."},
    {"cron.scheduled_at", "The instant that the run is for."},
    {"cron.attempt", "The attempt that the run is."},
};

struct State {
    char* values[std::size(kSettings)] = {};  // PostgreSQL's
    bool is_setting = false;                  // this code sets them, not a user
};
constinit State state;

// Accepts the default, the values of a run, and those that a parallel worker gets from its leader.
// Rejects everything else, which comes from users: SET, set_config(), ALTER ROLE, connection
// options.
template <Index index>
bool check(char**, void**, GucSource source) {
    if (source == PGC_S_DEFAULT || state.is_setting || InitializingParallelWorker) return true;
    GUC_check_errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM);
    GUC_check_errmsg("parameter \"%s\" cannot be changed", kSettings[index].name);
    return false;
}

// C world. With PGC_S_OVERRIDE, so that RESET restores this value. Nobody else sets another one.
void set(Index index, const char* value) {
    const char* const before = state.values[index];
    if (before != nullptr && strcmp(before, value) == 0) return;
    SetConfigOption(kSettings[index].name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

// Runs `body` in C world, with permission to set these settings.
template <class F>
void set_as_ours(F&& body) {
    struct Mark {
        Mark() { state.is_setting = true; }
        ~Mark() { state.is_setting = false; }
    } mark;
    call(body);
}

}  // namespace

// Not PGC_INTERNAL with a show hook, which would be cheaper: internal settings are not passed to
// parallel workers.
void define_run_settings() {
    const auto define = [](Index index, GucStringCheckHook check_hook) {
        DefineCustomStringVariable(kSettings[index].name, kSettings[index].help, nullptr,
                                   &state.values[index], "", PGC_USERSET,
                                   GUC_NO_RESET_ALL | GUC_NOT_IN_SAMPLE | GUC_DISALLOW_IN_FILE,
                                   check_hook, nullptr, nullptr);
    };
    call([define] {
        define(job_id, check<job_id>);
        define(run_id, check<run_id>);
        define(job_name, check<job_name>);
        define(scheduled_at, check<scheduled_at>);
        define(attempt, check<attempt>);
    });
}

void set_run_settings(const CurrentRun& run) {
    const std::string job = std::to_string(static_cast<std::int64_t>(run.order.occurrence.job));
    const std::string id = std::to_string(static_cast<std::int64_t>(run.order.run));
    const std::string number = std::to_string(run.order.occurrence.attempt);
    set_as_ours([&] {
        set(job_id, job.c_str());
        set(run_id, id.c_str());
        set(job_name, run.job_name.c_str());
        set(scheduled_at, timestamptz_to_str(to_timestamp(run.order.occurrence.scheduled_at)));
        set(attempt, number.c_str());
    });
}

void clear_run_settings() noexcept {
    try {
        set_as_ours([] {
            for (const Index index : {job_id, run_id, job_name, scheduled_at, attempt}) {
                set(index, "");
            }
        });
    } catch (const std::exception&) {
        // Out of memory for an empty text is harmless: the next run sets them again.
    }
}

void reserve_setting_prefixes() {
    call([] {
        MarkGUCPrefixReserved("cron");
        MarkGUCPrefixReserved("net");
    });
}

}  // namespace securatlas::pg
