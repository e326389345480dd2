// The background processes. Each function is the whole life of one process and returns only to end
// it.
#pragma once

#include <cstdint>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::app {

// Keeps a scheduler running in each database that has the extension.
void run_launcher();

// Plans, claims and hands out the runs of one database. Returns if the database does not have the
// extension.
void run_scheduler(pg::DatabaseOid database);

// Executes runs and callbacks for one (database, role), one after another, until none has come for
// cron.worker_idle_timeout.
void run_job_worker(int slot, std::uint32_t generation);

// Sends the HTTP requests of one database as long as there are any.
void run_http_worker(pg::DatabaseOid database);

}  // namespace securatlas::app
