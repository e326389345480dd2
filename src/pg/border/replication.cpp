#include "securatlas/pg/border/replication.hpp"

#include "border/owner_scope.hpp"
#include "securatlas/pg/border/compat.hpp"

extern "C" {
#include "commands/trigger.h"
#include "replication/logicalworker.h"
#include "tcop/pquery.h"
#include "utils/portal.h"
}

namespace securatlas::pg {

bool is_replicated_change() { return IsLogicalWorker() || session_has_origin(); }

bool is_loading() {
    if (is_replicated_change()) return true;
    if (is_own_change()) return false;
    return SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA ||
           (PortalIsValid(ActivePortal) && ActivePortal->commandTag == CMDTAG_COPY);
}

bool is_own_change() { return OwnerScope::is_entered(); }

}  // namespace securatlas::pg
