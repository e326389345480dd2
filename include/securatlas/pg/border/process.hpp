// The environment of a background process: clocks, connection, signals, waiting, log.
#pragma once

#include <optional>
#include <string_view>

#include "securatlas/core/time.hpp"
#include "securatlas/pg/border/waits.hpp"

namespace securatlas::pg {

// The wall clock.
core::Instant now();

// A clock that is never set; its origin is arbitrary.
core::Duration monotonic_now();

// When the postmaster started.
core::Instant server_start();

// Connects a background process to a database as the bootstrap superuser. Settings of the role and
// the database (ALTER ROLE/DATABASE ... SET) are not in force. Ends the process on failure.
void connect_as_superuser(unsigned int database);

// Connects the launcher: to no database, only to the shared catalogs.
void connect_to_shared_catalogs();

// Connects a job worker to its database as its role, for life. It has the settings that a session
// of that role would have, except `role`: a run never runs as another role.
void connect_as_role(unsigned int database, unsigned int role);

// Installs the signal handlers of a background process and unblocks signals.
void accept_signals();

// Sleeps until the latch is set or `timeout` is over; returns at once if this process' bell rang
// since wait() last returned (see Bell). Look for work after it, whatever the reason of its return.
// Sleeps at most a minute, so that a step of the clock is noticed. Ends the process when the server
// shuts down, and reloads the configuration after SIGHUP. Query cancellation is ignored.
void wait(Wait what, core::Duration timeout);

// From now on wait() ends sleeps of less than a second to within microseconds; PostgreSQL's own
// waits count in whole milliseconds. Call it before the first wait(). Takes one file descriptor.
void wait_precisely();

// From now on wait() also returns when this descriptor is readable. Replaces an earlier descriptor.
void wait_also_for(int fd);

// Sleeps for all of that time, whatever the latch does; for the pause after an error.
void pause(core::Duration time);

// Changes whenever wait() or check_interrupts() has reloaded the configuration.
unsigned configuration_version();

// Makes all processes of the server read the configuration again, soon.
void reload_configuration();

// Reserves file descriptors with PostgreSQL that this process opens itself: as many as wanted, or
// as there are. Replaces an earlier reservation. Returns how many it may open.
int acquire_descriptors(int wanted);

// Sleeps in a user's session, while other processes start or end. A query cancellation throws
// Error.
void nap(Wait what, core::Duration time);

// Sleeps for a few milliseconds at most, whatever happens. Signals are heeded by the next wait().
void sleep_through(Wait what, core::Duration time);

// What this process has used since it started: processor time, and how often it has slept.
struct Usage {
    core::Duration processor{0};
    long sleeps = 0;
};
Usage usage_so_far() noexcept;

// CHECK_FOR_INTERRUPTS(): ends the process, or throws Error for a query cancellation.
void check_interrupts();

// The same for a process that is not executing a query: a query cancellation is ignored.
void heed_signals();

// Ends the process at once; exit hooks run, destructors do not. With `failed` the postmaster
// restarts a worker that has a restart time.
[[noreturn]] void exit_process(bool failed);

// The function is called when the process exits, before anything that it uses is released; not when
// the server crashes or shuts down immediately.
using ExitFunction = void (*)() noexcept;
void call_before_exit(ExitFunction function);

// Makes pg_stat_activity show this process as idle, and reports its statistics of tables.
void report_idle();

// As active, with a text in place of a query.
void report_active(const char* what);

// Makes pg_stat_activity show this application_name of the process.
void set_application_name(const char* name);

// Loads a library into this process, for its life, and looks up a function in it. nullptr: it has
// no function of this name.
void* load_function(const char* library, const char* name);

// Writes to the server's log.
enum class LogLevel { log, warning };
void write_log(LogLevel level, std::string_view text);

}  // namespace securatlas::pg
