// What the planner learns of cron._may_see(), the policies' condition: how many rows it leaves, and
// that an index on the role finds them. Without this, a role that owns few of the rows would read
// all.
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/seen_roles.hpp"

extern "C" {
#include "access/stratnum.h"
#include "catalog/pg_opfamily_d.h"
#include "catalog/pg_type_d.h"
#include "nodes/makefuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
}

namespace pg = securatlas::pg;

namespace {

// C world.
Oid oid_equal() {
    return get_opfamily_member(OID_BTREE_FAM_OID, OIDOID, OIDOID, BTEqualStrategyNumber);
}

// C world. `role = oid`, or `role = ANY (oids)`. With one role, rows can be read in the order of
// further columns of an index.
Node* equals_any(Node* role, const pg::RoleOid* oids, int count) {
    if (count == 1) {
        Const* oid =
            makeConst(OIDOID, -1, InvalidOid, sizeof(Oid), ObjectIdGetDatum(*oids), false, true);
        return reinterpret_cast<Node*>(
            make_opclause(oid_equal(), BOOLOID, false, reinterpret_cast<Expr*>(role),
                          reinterpret_cast<Expr*>(oid), InvalidOid, InvalidOid));
    }
    auto* values =
        static_cast<Datum*>(palloc(sizeof(Datum) * (static_cast<std::size_t>(count) + 1)));
    for (int i = 0; i < count; ++i) values[i] = ObjectIdGetDatum(oids[i]);
    ArrayType* array = construct_array(values, count, OIDOID, sizeof(Oid), true, TYPALIGN_INT);
    Const* list = makeConst(OIDARRAYOID, -1, InvalidOid, -1, PointerGetDatum(array), false, false);
    auto* clause = makeNode(ScalarArrayOpExpr);
    clause->opno = oid_equal();
    clause->opfuncid = F_OIDEQ;
    clause->useOr = true;
    clause->args = list_make2(role, list);
    clause->location = -1;
    return reinterpret_cast<Node*>(clause);
}

Node* condition_on(List* arguments) {
    const auto roles = pg::seen_roles();
    if (!roles) return nullptr;
    return pg::call([&] {
        return equals_any(static_cast<Node*>(copyObjectImpl(linitial(arguments))), roles->data(),
                          static_cast<int>(roles->size()));
    });
}

// Returns null, as does the next one, where nothing better is known than the planner's guess.
void* selectivity(SupportRequestSelectivity* request) {
    if (pg::sees_all_roles()) {
        request->selectivity = 1.0;
        return request;
    }
    Node* condition = condition_on(request->args);
    if (condition == nullptr) return nullptr;
    request->selectivity = pg::call([=] {
        return clause_selectivity(request->root, condition, request->varRelid, request->jointype,
                                  request->sjinfo);
    });
    return request;
}

// The condition is an addition: the rows that the index finds are checked by the function as well.
void* index_condition(SupportRequestIndexCondition* request) {
    const bool fits = request->indexarg == 0 && IsA(request->node, FuncExpr) &&
                      request->opfamily == OID_BTREE_FAM_OID;
    if (!fits) return nullptr;
    Node* condition = condition_on(reinterpret_cast<FuncExpr*>(request->node)->args);
    if (condition == nullptr) return nullptr;
    request->lossy = true;
    request->root->glob->dependsOnRole = true;
    pg::replan_when_roles_change();
    return pg::call([condition] { return list_make1(condition); });
}

}  // namespace

extern "C" {

PG_FUNCTION_INFO_V1(securatlas_may_see_support);
PGDLLEXPORT Datum securatlas_may_see_support(PG_FUNCTION_ARGS) {
    return pg::entry([fcinfo] {
        auto* request = reinterpret_cast<Node*>(PG_GETARG_POINTER(0));
        void* answer = nullptr;
        if (IsA(request, SupportRequestSelectivity)) {
            answer = selectivity(reinterpret_cast<SupportRequestSelectivity*>(request));
        } else if (IsA(request, SupportRequestIndexCondition)) {
            answer = index_condition(reinterpret_cast<SupportRequestIndexCondition*>(request));
        }
        return PointerGetDatum(answer);
    });
}

}  // extern "C"
