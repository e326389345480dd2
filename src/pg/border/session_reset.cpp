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

// DISCARD ALL without ResetPlanCache(), and with what ends only with the session. Its order is
// PostgreSQL's: the role first, so that the rest happens with the role's own rights.
void reset_session() {
    call([] {
        StartTransactionCommand();
        PortalHashTableDeleteAll();
        SetPGVariable("session_authorization", NIL, false);
        ResetAllOptions();
        DropAllPreparedStatements();
        Async_UnlistenAll();
        LockReleaseAll(USER_LOCKMETHOD, true);
        // Its deletions from catalogs may have to read values that are stored out of line.
        PushActiveSnapshot(GetTransactionSnapshot());
        ResetTempTableNamespace();
        PopActiveSnapshot();
        ResetSequenceCaches();
        CommitTransactionCommand();
        release_replication_slots();
    });
}

}  // namespace securatlas::pg
