// The entry points of the background workers.
#include "securatlas/app/processes.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/shared/launch.hpp"

namespace app = securatlas::app;
namespace pg = securatlas::pg;

extern "C" {

PGDLLEXPORT void securatlas_launcher_main(Datum);
PGDLLEXPORT void securatlas_scheduler_main(Datum);
PGDLLEXPORT void securatlas_job_worker_main(Datum);
PGDLLEXPORT void securatlas_http_worker_main(Datum);

void securatlas_launcher_main(Datum) {
    pg::entry([] { app::run_launcher(); });
}

void securatlas_scheduler_main(Datum database) {
    pg::entry([database] { app::run_scheduler(DatumGetObjectId(database)); });
}

void securatlas_job_worker_main(Datum slot) {
    pg::entry([slot] {
        const auto arguments = pg::job_worker_arguments(slot);
        app::run_job_worker(arguments.slot, arguments.generation);
    });
}

void securatlas_http_worker_main(Datum database) {
    pg::entry([database] { app::run_http_worker(DatumGetObjectId(database)); });
}

}  // extern "C"
