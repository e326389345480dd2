// The entry of a database in shared memory. To be called with SharedState::lock held.
#pragma once

#include "securatlas/pg/shared/shared_memory.hpp"

namespace securatlas::pg {

void clear_entry(DatabaseState& entry, DatabaseOid database) noexcept;

// Frees the entry. The http worker of the database ends, and all job workers that it owns.
void forget_entry(SharedState& state, DatabaseState& entry) noexcept;

void wake_launcher(SharedState& state) noexcept;

// A backend holds the database. One that died without releasing it holds it no longer.
bool held(DatabaseState& entry);

// The scheduler did not live: the next one starts after a pause, which grows with each failure.
void pause_before_restart(DatabaseState& entry);

}  // namespace securatlas::pg
