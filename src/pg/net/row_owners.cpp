#include "securatlas/pg/net/row_owners.hpp"

#include <string>

#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "securatlas/pg/border/identity.hpp"

extern "C" {
#include "utils/lsyscache.h"
#include "utils/rls.h"
}

namespace securatlas::pg::requests {

void require_own_rows(std::uint32_t table) {
    static Statement of_others_in_queue(R"(
SELECT FROM net.http_request_queue WHERE NOT COALESCE(pg_has_role($1, created_by, 'USAGE'), false)
 LIMIT 1)");
    static Statement of_others_in_responses(R"(
SELECT FROM net._http_response WHERE NOT COALESCE(pg_has_role($1, created_by, 'USAGE'), false)
 LIMIT 1)");
    if (call([table] { return check_enable_rls(table, InvalidOid, true); }) != RLS_ENABLED) return;
    const std::string name = call([table] { return get_rel_name(table); });
    Statement& of_others =
        name == "http_request_queue" ? of_others_in_queue : of_others_in_responses;
    const RoleOid role = current_role();
    bool found = false;
    {
        OwnerScope owner;
        Spi spi;
        found = of_others.execute({Parameter::of_oid(role)}) > 0;
    }
    if (!found) return;
    throw Error("42501", "permission denied for table " + name, "It has rows of other roles.",
                "DELETE takes away those that you may see.");
}

}  // namespace securatlas::pg::requests
