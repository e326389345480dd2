// Which requests in flight, and which hosts that requests are sent to, the current role may see.
#pragma once

#include <cstdint>
#include <vector>

#include "securatlas/pg/shared/http_table.hpp"

namespace securatlas::pg {

// True for superusers and members of pg_read_all_stats (such as pg_monitor): they see every host
// and its last error, which may be from another role's request.
bool may_see_all_statistics();

// Those of the ids whose request the current role, or a role that it is a member of, has made.
std::vector<std::int64_t> visible_requests(const std::vector<std::int64_t>& ids);

// Those of the hosts for which a request of the current role, or of a role that it is a member of,
// waits.
std::vector<HostStatus> visible_hosts(std::vector<HostStatus> hosts);

}  // namespace securatlas::pg
