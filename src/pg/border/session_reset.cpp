#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/transaction.hpp"
#include "securatlas/pg/cron/command.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
}

namespace securatlas::pg {
namespace {

// All of this is C world.

void reset_role() {
    const bool has_own_role = !OidIsValid(GetCurrentRoleId());
    if (has_own_role && GetSessionUserId() == GetAuthenticatedUserId()) return;
    StartTransactionCommand();
    SetPGVariable("session_authorization", NIL, false);
    CommitTransactionCommand();
}

void drop_temporary_tables() {
    Oid schema = InvalidOid;
    Oid toast_schema = InvalidOid;
    GetTempNamespaceState(&schema, &toast_schema);
    if (!OidIsValid(schema)) return;
    // Deletions from catalogs may have to read toasted values, which needs a snapshot.
    PushActiveSnapshot(GetTransactionSnapshot());
    ResetTempTableNamespace();
    PopActiveSnapshot();
}

void discard_objects() {
    PortalHashTableDeleteAll();
    DropAllPreparedStatements();
    Async_UnlistenAll();
    LockReleaseAll(USER_LOCKMETHOD, true);
    drop_temporary_tables();
    ResetSequenceCaches();
    release_replication_slots();
}

}  // namespace

// DiscardAll() of PostgreSQL without ResetPlanCache(), plus what otherwise ends only with the
// session. First the role, so that the rest happens with the role's own rights. Settings are reset
// outside a transaction, which would remember their old values.
void reset_session(const std::function<void()>& then) {
    call([] {
        reset_role();
        ResetAllOptions();
    });
    Transaction transaction;
    call([] { discard_objects(); });
    if (then) then();
    transaction.commit();
}

}  // namespace securatlas::pg
