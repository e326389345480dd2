// Who sees which of the hosts that requests are sent to.
#pragma once

#include <vector>

#include "securatlas/pg/shared/http_table.hpp"

namespace securatlas::pg {

// The current role is a superuser or a member of pg_read_all_stats, as pg_monitor is: it sees every
// host and the last error at it, which may be another role's.
bool may_see_all_statistics();

// Those that a request of the current role, or of a role that it is a member of, waits for.
std::vector<HostStatus> visible_hosts(std::vector<HostStatus> hosts);

}  // namespace securatlas::pg
