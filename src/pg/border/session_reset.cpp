#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/cron/command.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/sequence.h"
#include "nodes/pg_list.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/portal.h"
#include "utils/snapmgr.h"
}

namespace securatlas::pg {

// DiscardAll() of PostgreSQL without ResetPlanCache(), plus what otherwise ends only with the
// session. In PostgreSQL's order: first the role, so that the rest happens with the role's own
// rights.
void reset_session() {
    call([] {
        StartTransactionCommand();
        PortalHashTableDeleteAll();
        SetPGVariable("session_authorization", NIL, false);
        ResetAllOptions();
        DropAllPreparedStatements();
        Async_UnlistenAll();
        LockReleaseAll(USER_LOCKMETHOD, true);
        // Deletions from catalogs may have to read toasted values, which needs a snapshot.
        PushActiveSnapshot(GetTransactionSnapshot());
        ResetTempTableNamespace();
        PopActiveSnapshot();
        ResetSequenceCaches();
        CommitTransactionCommand();
        release_replication_slots();
    });
}

}  // namespace securatlas::pg
