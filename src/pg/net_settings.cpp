#include "securatlas/pg/net_settings.hpp"

#include <climits>

#include "interval_setting.hpp"

namespace securatlas::pg {
namespace {

// The variables that PostgreSQL writes.
struct Variables {
    char* ttl = nullptr;
    int max_connections = 0;
    int max_attempts = 0;
    int max_response_bytes = 0;
    int max_pending_requests = 0;
    std::int64_t ttl_us = 0;
};
constinit Variables variables;

extern "C" {

void securatlas_assign_ttl(const char*, void* extra) {
    variables.ttl_us = *static_cast<std::int64_t*>(extra);
}

}  // extern "C"

// Those that count when a request is made can be changed in a session, by a superuser.
void define_number(const char* name, const char* help, int* variable, int initial, int low,
                   int high, GucContext context, int flags = 0) {
    DefineCustomIntVariable(name, help, nullptr, variable, initial, low, high, context, flags,
                            nullptr, nullptr, nullptr);
}

}  // namespace

void define_net_settings() {
    DefineCustomStringVariable("net.ttl", "Age at which responses are removed; 0 keeps all.",
                               nullptr, &variables.ttl, "6 hours", PGC_SIGHUP, 0,
                               securatlas_check_interval, securatlas_assign_ttl, nullptr);
    define_number("net.max_connections",
                  "Requests of a database that may be in flight at the same time.",
                  &variables.max_connections, 256, 1, 10'000, PGC_SIGHUP);
    define_number("net.max_attempts", "Attempts at sending a request.", &variables.max_attempts, 3,
                  1, 1000, PGC_SUSET);
    define_number("net.max_response_bytes", "Bytes of a response's body that are kept.",
                  &variables.max_response_bytes, 1024 * 1024, 0, 256 * 1024 * 1024, PGC_SIGHUP,
                  GUC_UNIT_BYTE);
    define_number("net.max_pending_requests",
                  "Requests that may wait in a database; more are refused.",
                  &variables.max_pending_requests, 1'000'000, 1, INT_MAX, PGC_SUSET);
}

NetSettings net_settings() {
    return {
        .ttl = core::Duration(variables.ttl_us),
        .max_connections = variables.max_connections,
        .max_attempts = variables.max_attempts,
        .max_response_bytes = static_cast<std::size_t>(variables.max_response_bytes),
        .max_pending_requests = variables.max_pending_requests,
    };
}

}  // namespace securatlas::pg
