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
        // If an abort fails, PostgreSQL panics; any other error was logged by it.
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
    // The commit reads this variable; `synchronous_commit = off` sets it to the same value.
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
