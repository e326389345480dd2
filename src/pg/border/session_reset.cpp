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
}

namespace securatlas::pg {

// DISCARD ALL without ResetPlanCache(). Its order is PostgreSQL's: the role first, so that the rest
// happens with the role's own rights.
void reset_session() {
    call([] {
        StartTransactionCommand();
        PortalHashTableDeleteAll();
        SetPGVariable("session_authorization", NIL, false);
        ResetAllOptions();
        DropAllPreparedStatements();
        Async_UnlistenAll();
        LockReleaseAll(USER_LOCKMETHOD, true);
        ResetTempTableNamespace();
        ResetSequenceCaches();
        CommitTransactionCommand();
    });
}

}  // namespace securatlas::pg
