#include "net/truncate.hpp"

#include "securatlas/pg/border/extension.hpp"
#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/namespace.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/rls.h"
}

namespace pg = securatlas::pg;

namespace {

// Those of schema net that hold rows of all roles.
bool is_shared_table(Oid table) {
    const char* name = get_rel_name(table);
    const char* schema = get_namespace_name(get_rel_namespace(table));
    return name != nullptr && schema != nullptr && strcmp(schema, "net") == 0 &&
           (strcmp(name, "http_request_queue") == 0 || strcmp(name, "_http_response") == 0) &&
           pg::entry([table] { return pg::is_one_of(pg::Tables::net, table); });
}

bool is_bound(const RangeVar* name) {
    const Oid table = RangeVarGetRelid(name, NoLock, true);
    return OidIsValid(table) && is_shared_table(table) &&
           check_enable_rls(table, InvalidOid, true) == RLS_ENABLED;
}

void remove_rows(const RangeVar* name) {
    const Oid table = RangeVarGetRelid(name, RowExclusiveLock, false);
    const AclResult allowed = pg_class_aclcheck(table, GetUserId(), ACL_TRUNCATE);
    if (allowed != ACLCHECK_OK) aclcheck_error(allowed, OBJECT_TABLE, get_rel_name(table));
    SPI_connect();
    const int result = SPI_execute(psprintf("DELETE FROM net.%s", get_rel_name(table)), false, 0);
    if (result != SPI_OK_DELETE) elog(ERROR, "SPI_execute: %s", SPI_result_code_string(result));
    SPI_finish();
}

}  // namespace

bool securatlas::extension::truncate_own_rows(const Node* statement) {
    if (!IsA(statement, TruncateStmt)) return false;
    const List* names = reinterpret_cast<const TruncateStmt*>(statement)->relations;
    const RangeVar* bound = nullptr;
    int others = 0;
    ListCell* cell = nullptr;
    foreach (cell, names) {
        const auto* name = lfirst_node(RangeVar, cell);
        if (is_bound(name)) {
            bound = name;
        } else {
            ++others;
        }
    }
    if (bound == nullptr) return false;
    if (others > 0) {
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("permission denied for table %s", bound->relname),
                        errdetail("Row security applies to the current role."),
                        errhint("Truncate other tables in a separate statement.")));
    }
    PreventCommandIfReadOnly("TRUNCATE TABLE");
    foreach (cell, names) remove_rows(lfirst_node(RangeVar, cell));
    return true;
}
