// Locks the extension and its tables for a transaction of a background process, without ever
// waiting.
//
// securatlas_sched has the tables of both schemas. Where it is absent, the extension pg_cron of
// this project has those of schema cron, and pg_net those of schema net.
//
// DROP EXTENSION locks the extension first and then one table after the other; DROP OWNED locks in
// any order. A background process that had locked one table and waited for another could deadlock
// with them. So it first locks everything that it will use, without waiting, and does its work
// later if something is locked.
#pragma once

#include <cstdint>

#include "securatlas/pg/border/transaction.hpp"

namespace securatlas::pg {

// SQLSTATE of the Error that ExtensionTransaction throws.
inline constexpr const char* kExtensionIsLocked = "55006";

// The tables that a transaction works with. The history of runs is locked by neither, because runs
// go on while it is locked: see runs::try_lock_history().
enum class Tables { cron, net };

// Whether this database has them, of whatever version. Needs a transaction.
bool has_tables(Tables tables);

// Oid of the schema of these tables; 0: there is none. Needs a transaction.
std::uint32_t schema_of(Tables tables);

// Whether a table, 0 being none, is one of them.
bool is_one_of(Tables tables, std::uint32_t table);

// Whether this is the oid of securatlas_sched, or of one of those that stand for pg_cron and
// pg_net. C world.
bool is_our_extension(std::uint32_t extension);

// Prevents the extension and these tables from being dropped until the transaction ends. False:
// somebody is dropping them or has dropped them. Never waits.
bool try_keep_extension(Tables tables);

// A transaction during which the extension cannot be dropped. The constructor throws Error
// kExtensionIsLocked if try_keep_extension() fails.
class ExtensionTransaction : public Transaction {
  public:
    explicit ExtensionTransaction(Tables tables);
};

}  // namespace securatlas::pg
