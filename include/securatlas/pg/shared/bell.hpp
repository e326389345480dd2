// How a process is told that there is something to do for it.
#pragma once

#include <atomic>
#include <cstdint>

#include "securatlas/pg/border/prelude.hpp"

extern "C" {
#include "storage/latch.h"
}

namespace securatlas::pg {

// In shared memory, one for each process that waits. The latch alone does not do: PostgreSQL's own
// waits (for a lock, for a standby) reset it too, and what it was set for is forgotten. The count
// of rings is not: who compares it before sleeping knows whether something came.
struct Bell {
    Latch* latch = nullptr;  // null: nobody waits. Protected by SharedState::lock
    std::atomic<std::uint32_t> rings{0};

    // To be called with SharedState::lock held, after what it tells of was written.
    void ring() noexcept {
        rings.fetch_add(1, std::memory_order_release);
        if (latch != nullptr) SetLatch(latch);
    }
};

// This process waits for the bell: wait() does not sleep if it rang since wait() last returned.
void listen_to(Bell& bell) noexcept;

}  // namespace securatlas::pg
