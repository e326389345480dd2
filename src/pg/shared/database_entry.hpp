// Functions on the entry of a database in shared memory. Call them with SharedState::lock held.
#pragma once

#include "securatlas/pg/shared/shared_memory.hpp"

namespace securatlas::pg {

void clear_entry(DatabaseState& entry, DatabaseOid database) noexcept;

// Ends the http worker and all job workers of the database, and frees the entry. An http worker
// that is kept stays, with the entry.
void forget_entry(SharedState& state, DatabaseState& entry) noexcept;

void wake_launcher(SharedState& state) noexcept;

// Whether a backend blocks the database. Its transaction does, and however that ends, it unblocks.
inline bool is_blocked(const DatabaseState& entry) noexcept { return entry.blocked_by != 0; }

// The scheduler has failed: sets the pause before the next start, which grows with each failure.
void pause_before_restart(DatabaseState& entry);

}  // namespace securatlas::pg
