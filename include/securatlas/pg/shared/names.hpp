// The names pg_cron and pg_net, by which programs look for settings and processes. A server has
// them that preloads the libraries of these names.
#pragma once

namespace securatlas::pg {

// For the libraries: "pg_cron" or "pg_net". While shared_preload_libraries is processed, after the
// settings are defined.
void serve_as(const char* name);

// Whether the http worker is to be found as that of pg_net: by its type, and always there.
bool serves_as_pg_net();

}  // namespace securatlas::pg
