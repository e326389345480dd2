// The current values of the settings net.*. Names, defaults and ranges are in settings.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "securatlas/core/net/egress_policy.hpp"
#include "securatlas/core/net/request.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::pg {

struct NetSettings {
    core::Duration ttl;                 // age at which a response is removed; 0: never
    int max_connections;                // maximal number of requests of a database in flight
    int max_attempts;                   // default of max_attempts of a request
    std::size_t max_response_bytes;     // of a body; the rest is dropped
    std::int64_t max_pending_requests;  // of one role in the queue; all roles together may have
                                        // twice as many
    int max_connections_per_host;       // of max_connections
    int requests_per_second_per_host;   // 0: no limit
    core::FollowRedirects follow_redirects;
    std::string ca_file;  // of authorities to trust in addition to the system's; empty: none
    bool send_requests;   // false: all wait
};

NetSettings net_settings();

// How many responses are removed at a time, once a second, while few are due: pg_net.batch_size,
// where there is such a setting and it is not pg_net's default.
int responses_per_purge();

// pg_net.database_name: the database whose http worker is always there. Empty: none, as on a server
// that does not preload the library under the name pg_net.
std::string pg_net_database();

// net.blocked_networks and net.allowed_hosts. Returns the same object until they change.
std::shared_ptr<const core::EgressPolicy> egress_policy();

// Defines the settings; for _PG_init.
void define_net_settings();

// Defines the settings pg_net.*, whose values are used as long as the corresponding settings net.*
// have their defaults. For a server that preloads the library under the name pg_net.
void define_pg_net_settings();

}  // namespace securatlas::pg
