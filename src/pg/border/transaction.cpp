#include "securatlas/pg/border/transaction.hpp"

#include <cstring>

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
    const AsynchronousCommits scope;
    commit();
}

// The commit reads this variable; `synchronous_commit = off` sets it to the same value.
AsynchronousCommits::AsynchronousCommits() : before_(synchronous_commit) {
    synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
}

AsynchronousCommits::~AsynchronousCommits() { synchronous_commit = before_; }

bool has_own_synchronous_commit() {
    static const config_generic* const setting = call([] {
        int count = 0;
        config_generic** const all = all_settings(&count);
        for (int i = 0; i < count; ++i) {
            if (strcmp(all[i]->name, "synchronous_commit") == 0) return all[i];
        }
        return static_cast<config_generic*>(nullptr);
    });
    return setting != nullptr && setting->source > PGC_S_ARGV;
}

bool has_written_nothing() { return !TransactionIdIsValid(GetTopTransactionIdIfAny()); }

}  // namespace securatlas::pg
