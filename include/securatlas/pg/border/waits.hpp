// What our processes, and sessions in our functions, wait for, as pg_stat_activity names it.
#pragma once

#include <cstdint>

namespace securatlas::pg {

enum class Wait {
    launcher,      // for something to do
    scheduler,     // for something to do
    update,        // a scheduler, for an extension of the library's version
    worker_idle,   // a job worker, for its next order
    worker_lock,   // a job worker, for whoever has locked the extension
    http_worker,   // for something to do, or for a socket
    error_pause,   // after an error, before the next try
    response,      // a session, for the end of a request
    database_end,  // a session, for our processes to leave a database
};

// For wait_event_info of PostgreSQL's functions. Before PostgreSQL 17, which has names for the
// waits of extensions, all are "Extension".
std::uint32_t wait_event(Wait wait) noexcept;

// Registers the names with PostgreSQL. The postmaster calls it when it creates shared memory, and
// its processes inherit the result. C world.
void name_waits();

}  // namespace securatlas::pg
