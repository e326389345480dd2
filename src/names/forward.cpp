// The libraries pg_cron and pg_net, for a server whose shared_preload_libraries has these names:
// each loads securatlas_sched, which is loaded once however often it is asked for, and tells it the
// name.
#include "securatlas/pg/border/prelude.hpp"

extern "C" {

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void _PG_init(void) {
    using ServeAs = void (*)(const char*);
    reinterpret_cast<ServeAs>(load_external_function("securatlas_sched", "securatlas_serve_as",
                                                     true, nullptr))(SECURATLAS_NAME);
}
}
