// Internal SQL with the rights of the extension's owner, inside a user's transaction.
#pragma once

#include "securatlas/pg/border/guard.hpp"

namespace securatlas::pg {

// While it lives, SQL runs as the owner of the extension's tables, with search_path pg_catalog and
// pg_temp, without lock timeout, and fires no user triggers. To be left before any user's code runs
// again. `force_writable` lets it write inside a READ ONLY or a repeatable read transaction, as the
// record of a run's outcome has to. `no_statements` is for code that executes none: it leaves
// search_path as it is, because changing that takes longer than writing a row.
class OwnerScope {
  public:
    enum class Mode { obey_transaction, force_writable, no_statements };

    explicit OwnerScope(Mode mode = Mode::obey_transaction);
    ~OwnerScope();
    OwnerScope(const OwnerScope&) = delete;
    OwnerScope& operator=(const OwnerScope&) = delete;

    // Whether this process is inside an OwnerScope.
    static bool is_entered();

  private:
    Oid user_ = InvalidOid;
    int security_context_ = 0;
    int settings_level_ = 0;
    int lock_timeout_;
    int replication_role_;
    int isolation_;
    bool read_only_;
};

// The owner of cron.job_run_details, or, without schema cron, of net.http_request_queue. Throws
// Error 55000 if the extension is not in this database.
Oid extension_owner();

}  // namespace securatlas::pg
