// What a background process does with its operating environment: clock, latch, signals, settings.
#pragma once

#include <optional>
#include <string_view>

#include "securatlas/core/time.hpp"

namespace securatlas::pg {

// The wall clock.
core::Instant now();

// Time that no clock step touches; the origin is arbitrary.
core::Duration monotonic_now();

// The postmaster's start.
core::Instant server_start();

// Connects a background process to a database as the bootstrap superuser, with a session in which
// no setting of a role or database matters (search_path, timeouts). Ends the process if it cannot.
void connect_as_superuser(unsigned int database);

// Connects the launcher: to no database, only to the shared catalogs.
void connect_to_shared_catalogs();

// Connects a job worker for life to its database, as its role.
void connect_as_role(unsigned int database, unsigned int role);

// Installs the signal handlers of a background process and unblocks signals.
void accept_signals();

// Sleeps until the latch is set, `timeout` is over, or `fd` (if not -1) is readable. Never longer
// than a minute, so that a stepped clock is noticed. The latch is reset: look for work after it.
// Ends the process when the server shuts down; reads the configuration again when told to.
void wait(core::Duration timeout, int fd = -1);

// Changes whenever wait() or check_interrupts() has read the configuration again.
unsigned configuration_version();

// Asks PostgreSQL for file descriptors that this process opens by itself, as many as wanted or as
// there are, until it asks for another number. Returns how many it may have open.
int acquire_descriptors(int wanted);

// Sleeps for a moment in a user's session, whose latch is not this code's own; a cancellation is an
// Error.
void wait_for_processes(core::Duration pause);

// Ends the process, or cancels what it does (throws Error), if a signal asked for it.
void check_interrupts();

// Ends the process at once; exit hooks run, destructors do not. `failed` lets the postmaster start
// a worker again that is to be restarted.
[[noreturn]] void exit_process(bool failed);

// pg_stat_activity shows this process as idle.
void report_idle();

// Loads a library into this process, for its life, and finds a function of it. nullptr: it has none
// of this name.
void* load_function(const char* library, const char* name);

// Writes to the server's log.
enum class LogLevel { log, warning };
void write_log(LogLevel level, std::string_view text);

}  // namespace securatlas::pg
