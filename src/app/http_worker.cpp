#include "securatlas/app/processes.hpp"

namespace securatlas::app {

void run_http_worker(pg::DatabaseOid) {}

}  // namespace securatlas::app
