#include "securatlas/pg/cron/run_settings.hpp"

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
    bool is_setting = false;                  // this code sets them, and not a user
};
constinit State state;

// The value of the definition, what a run is told, and what a parallel worker has of its leader.
// All else is a user's, by whatever way: SET, set_config(), ALTER ROLE, the connection's options.
template <Index index>
bool check(char**, void**, GucSource source) {
    if (source == PGC_S_DEFAULT || state.is_setting || InitializingParallelWorker) return true;
    GUC_check_errcode(ERRCODE_CANT_CHANGE_RUNTIME_PARAM);
    GUC_check_errmsg("parameter \"%s\" cannot be changed", kSettings[index].name);
    return false;
}

// C world. As PGC_S_OVERRIDE, so that it is also what RESET leads to.
void set(Index index, const char* value) {
    SetConfigOption(kSettings[index].name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

// Runs `body` in C world, as the one who may set them.
template <class F>
void set_as_ours(F&& body) {
    struct Mark {
        Mark() { state.is_setting = true; }
        ~Mark() { state.is_setting = false; }
    } mark;
    call(body);
}

}  // namespace

// Not PGC_INTERNAL with a show hook, which would cost nothing until somebody looks: a parallel
// worker gets the values of settings, but not of internal ones.
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
        // No memory for an empty text: the next run sets them anew.
    }
}

void reserve_setting_prefixes() {
    call([] {
        MarkGUCPrefixReserved("cron");
        MarkGUCPrefixReserved("net");
    });
}

}  // namespace securatlas::pg
