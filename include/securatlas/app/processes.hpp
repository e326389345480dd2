// The background processes. Each of these is the whole life of one: it returns only to end it.
#pragma once

#include <cstdint>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::app {

// Finds the databases that hold the extension, and keeps a scheduler running in each.
void run_launcher();

// Plans, claims and hands out the runs of one database. Returns if it does not hold the extension.
void run_scheduler(pg::DatabaseOid database);

// Executes runs for one (database, role), one after another, until none comes for a while.
void run_job_worker(int slot, std::uint32_t generation);

// Sends the HTTP requests of one database while there are any.
void run_http_worker(pg::DatabaseOid database);

}  // namespace securatlas::app
