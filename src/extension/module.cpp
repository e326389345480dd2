// _PG_init: what is set up when the server loads the library.
#include "hooks.hpp"
#include "securatlas/pg/border/caller.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/preload.hpp"
#include "securatlas/pg/cron/run_settings.hpp"
#include "securatlas/pg/cron/settings.hpp"
#include "securatlas/pg/net/sealing.hpp"
#include "securatlas/pg/net/settings.hpp"
#include "securatlas/pg/shared/launch.hpp"
#include "securatlas/pg/shared/names.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"

extern "C" {
#include "miscadmin.h"
}

#ifndef __linux__
#error "securatlas_sched runs on Linux only: the http worker waits with epoll"
#endif
static_assert(sizeof(void*) == 8, "securatlas_sched runs on 64-bit machines only");

namespace pg = securatlas::pg;

extern "C" {

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void _PG_init(void) {
    pg::entry([] {
        // In a session that loads the library by itself, the SQL functions exist, and report that
        // it was not preloaded.
        if (!process_shared_preload_libraries_in_progress) return;
        pg::refuse_original_beside();
        pg::define_settings();
        pg::define_net_settings();
        pg::define_run_settings();
        pg::define_secret_key();
        pg::reserve_setting_prefixes();
        pg::request_shared_memory(pg::max_running_jobs_variable());
        // Under pg_upgrade no jobs may run, neither in the old server nor in the new one.
        if (IsBinaryUpgrade) return;
        securatlas::extension::install_hooks();
        pg::note_callers();
        pg::register_launcher();
    });
}

// Called by the libraries pg_cron and pg_net: see src/names.
PGDLLEXPORT void securatlas_serve_as(const char* name);

void securatlas_serve_as(const char* name) {
    pg::entry([name] {
        if (process_shared_preload_libraries_in_progress) pg::serve_as(name);
    });
}

}  // extern "C"
