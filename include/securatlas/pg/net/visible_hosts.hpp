// Who sees which of the requests in flight, and of the hosts that requests are sent to.
#pragma once

#include <cstdint>
#include <vector>

#include "securatlas/pg/shared/http_table.hpp"

namespace securatlas::pg {

// The current role is a superuser or a member of pg_read_all_stats, as pg_monitor is: it sees every
// host and the last error at it, which may be another role's.
bool may_see_all_statistics();

// Those that the current role, or a role that it is a member of, has made.
std::vector<std::int64_t> visible_requests(const std::vector<std::int64_t>& ids);

// Those that a request of the current role, or of a role that it is a member of, waits for.
std::vector<HostStatus> visible_hosts(std::vector<HostStatus> hosts);

}  // namespace securatlas::pg
