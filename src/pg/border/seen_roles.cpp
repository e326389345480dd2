#include "securatlas/pg/border/seen_roles.hpp"

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/identity.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "nodes/pg_list.h"
#include "utils/acl.h"
#include "utils/catcache.h"
#include "utils/inval.h"
#include "utils/plancache.h"
#include "utils/syscache.h"
}

namespace securatlas::pg {
namespace {

constexpr int kMaxRoles = 100;

// C world. The role and all that it is a member of, directly or not, whatever that allows; no more
// than a few above kMaxRoles. Nobody is granted pg_database_owner: its member is known by the
// database.
List* reachable_roles(Oid self) {
    List* roles = list_make2_oid(self, ROLE_PG_DATABASE_OWNER);
    for (int i = 0; i < list_length(roles) && list_length(roles) <= kMaxRoles; ++i) {
        CatCList* found =
            SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(list_nth_oid(roles, i)));
        for (int n = 0; n < found->n_members && list_length(roles) <= kMaxRoles; ++n) {
            const auto* row =
                reinterpret_cast<Form_pg_auth_members>(GETSTRUCT(&found->members[n]->tuple));
            roles = list_append_unique_oid(roles, row->roleid);
        }
        ReleaseSysCacheList(found);
    }
    return roles;
}

}  // namespace

bool sees_all_roles() {
    return may_see(0);  // what belongs to no role is seen by those who see all
}

std::optional<std::vector<RoleOid>> seen_roles() {
    if (sees_all_roles()) return std::nullopt;
    const List* reachable = call([] { return reachable_roles(GetUserId()); });
    if (list_length(reachable) > kMaxRoles) return std::nullopt;
    std::vector<RoleOid> seen;
    for (int i = 0; i < list_length(reachable); ++i) {
        const RoleOid role = list_nth_oid(reachable, i);
        if (may_see(role)) seen.push_back(role);
    }
    return seen;
}

void replan_when_roles_change() {
    static constinit bool registered = false;
    if (registered) return;
    call([] {
        // The type of the cache's number differs between versions of PostgreSQL.
        const auto forget = [](Datum, auto, uint32) { ResetPlanCache(); };
        CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, forget, Datum{0});
        CacheRegisterSyscacheCallback(AUTHOID, forget, Datum{0});
    });
    registered = true;
}

}  // namespace securatlas::pg
