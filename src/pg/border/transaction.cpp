#include "securatlas/pg/border/transaction.hpp"

#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "access/xact.h"
#include "pgstat.h"
#include "utils/snapmgr.h"
}

namespace securatlas::pg {

Transaction::Transaction() {
    call([] {
        SetCurrentStatementStartTimestamp();
        StartTransactionCommand();
    });
}

Transaction::~Transaction() {
    if (!open_) return;
    try {
        call([] { AbortCurrentTransaction(); });
    } catch (...) {
        // An abort that fails is a PANIC inside PostgreSQL; an ERROR here has been logged by it.
    }
}

void Transaction::commit() {
    call([] {
        CommitTransactionCommand();
        pgstat_report_stat(false);
    });
    open_ = false;
}

void Transaction::commit_asynchronously() {
    // Read by the commit itself; XLOG_SYNC_COMMIT_OFF is what `synchronous_commit = off` assigns.
    const int before = synchronous_commit;
    synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
    try {
        commit();
    } catch (...) {
        synchronous_commit = before;
        throw;
    }
    synchronous_commit = before;
}

}  // namespace securatlas::pg
