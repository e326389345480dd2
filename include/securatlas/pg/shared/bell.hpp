// How a process learns that there is work for it.
#pragma once

#include <atomic>
#include <cstdint>

#include "securatlas/pg/border/prelude.hpp"

extern "C" {
#include "storage/latch.h"
}

namespace securatlas::pg {

// In shared memory, one for each process that waits. The latch alone is not enough: PostgreSQL's
// own waits (for a lock, for a synchronous standby) reset it too, so that a wake-up could be lost.
// The number of rings is never reset: a process that compares it before sleeping misses nothing.
struct Bell {
    Latch* latch = nullptr;  // null: nobody waits. Protected by SharedState::lock
    std::atomic<std::uint32_t> rings{0};
    std::atomic<bool> is_last{false};  // the process shall end

    // Call it with SharedState::lock held, after writing what the process is to find.
    void ring() noexcept {
        rings.fetch_add(1, std::memory_order_release);
        if (latch != nullptr) SetLatch(latch);
    }

    // Ends the process that waits, as soon as it looks at its signals; unlike SIGTERM it interrupts
    // no statement, and leaves no message in the log. Call it with SharedState::lock held.
    void ring_to_end() noexcept {
        is_last.store(true, std::memory_order_relaxed);
        ring();
    }
};

// Makes this the bell of this process: wait() does not sleep if it rang since wait() last returned.
// Call it with SharedState::lock held.
void listen_to(Bell& bell) noexcept;

}  // namespace securatlas::pg
