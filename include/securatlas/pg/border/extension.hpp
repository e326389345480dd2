// The extension's tables in a transaction of ours, while anybody may drop the extension.
//
// DROP EXTENSION locks the extension first and then one table after the other; DROP OWNED locks in
// any order. A process of ours that had one table and waited for another would close a circle. So
// whoever uses the tables asks for all that could be in the way first, without waiting, and does
// its work later if one of them is locked.
#pragma once

#include "securatlas/pg/border/transaction.hpp"

namespace securatlas::pg {

// The oid of the extension in this database; 0: there is none.
unsigned extension_oid();

// SQLSTATE of the Error that ExtensionTransaction throws.
inline constexpr const char* kExtensionIsLocked = "55006";

// The tables that a transaction works with. The history of runs is in neither group, because runs
// go on while somebody has it locked: see runs::try_lock_history().
enum class Tables { cron, net };

// Keeps everybody from dropping the extension, or these tables, until the transaction ends. False:
// somebody is about to, or has done it. Never waits.
bool try_keep_extension(Tables tables);

// A transaction that keeps the extension. The constructor throws an Error (kExtensionIsLocked) if
// that cannot be had at once.
class ExtensionTransaction : public Transaction {
  public:
    explicit ExtensionTransaction(Tables tables);
};

}  // namespace securatlas::pg
