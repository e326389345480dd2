#include "securatlas/pg/net/visible_hosts.hpp"

#include <set>

#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "securatlas/pg/border/identity.hpp"

extern "C" {
#include "catalog/pg_authid.h"
#include "utils/acl.h"
}

namespace securatlas::pg {

bool may_see_all_statistics() {
    return call([] { return has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS); });
}

std::vector<std::int64_t> visible_requests(const std::vector<std::int64_t>& ids) {
    static Statement query(R"(
SELECT id FROM net.http_request_queue
 WHERE id = ANY ($1) AND pg_has_role($2, created_by, 'USAGE'))");
    if (ids.empty()) return {};
    const RoleOid role = current_role();
    OwnerScope owner;
    Spi spi;
    query.execute({Parameter::of(ids), Parameter::of_oid(role)});
    return Statement::ids();
}

std::vector<HostStatus> visible_hosts(std::vector<HostStatus> hosts) {
    static Statement query(R"(
SELECT h.host FROM unnest($1) AS h(host)
 WHERE EXISTS (SELECT FROM net.http_request_queue q
                WHERE q.host = h.host COLLATE "C" AND pg_has_role($2, q.created_by, 'USAGE')))");
    if (hosts.empty()) return hosts;
    const RoleOid role = current_role();
    std::vector<std::string> names;
    names.reserve(hosts.size());
    for (const HostStatus& host : hosts) names.push_back(host.host);
    std::set<std::string> visible;
    {
        OwnerScope owner;
        Spi spi;
        query.execute({Parameter::of(names), Parameter::of_oid(role)});
        Statement::each_row([&visible](const Row& row) { visible.insert(row.as_text(1)); });
    }
    std::erase_if(hosts, [&](const HostStatus& host) { return !visible.contains(host.host); });
    return hosts;
}

}  // namespace securatlas::pg
