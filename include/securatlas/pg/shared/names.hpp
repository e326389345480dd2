// The names pg_cron and pg_net, under which programs look for settings and processes. They exist if
// the server preloads the libraries of these names.
#pragma once

namespace securatlas::pg {

// Each of these libraries calls it with its name, "pg_cron" or "pg_net", while
// shared_preload_libraries is processed and after the settings are defined.
void serve_as(const char* name);

// Whether http workers have the backend_type by which programs look for pg_net's.
bool serves_as_pg_net();

}  // namespace securatlas::pg
