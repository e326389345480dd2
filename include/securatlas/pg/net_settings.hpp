// The settings net.*, as they are now. Names, defaults and ranges stand in net_settings.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "securatlas/core/time.hpp"

namespace securatlas::pg {

struct NetSettings {
    core::Duration ttl;                 // age at which a response is removed; 0: never
    int max_connections;                // requests of a database that are in flight at a time
    int max_attempts;                   // of requests that do not say it themselves
    std::size_t max_response_bytes;     // of a body; the rest is dropped
    std::int64_t max_pending_requests;  // in the queue; more are refused
};

NetSettings net_settings();

// Declares the settings; for _PG_init.
void define_net_settings();

}  // namespace securatlas::pg
