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
// no setting of a role or database matters. Ends the process if it cannot.
void connect_as_superuser(unsigned int database);

// Connects the launcher: to no database, only to the shared catalogs.
void connect_to_shared_catalogs();

// Connects a job worker for life to its database, as its role, with the settings that a session of
// that role would have, but for another role.
void connect_as_role(unsigned int database, unsigned int role);

// Installs the signal handlers of a background process and unblocks signals.
void accept_signals();

// Sleeps until the latch is set or `timeout` is over, and not at all if there was a call for this
// process since wait() last returned (see Bell): look for work after it, whatever ended it. Never
// longer than a minute, so that a stepped clock is noticed. Ends the process when the server shuts
// down; reads the configuration again when told to. A cancellation of what a waiting process does
// cancels nothing.
void wait(core::Duration timeout);

// From now on wait() ends as well when the descriptor is readable. It replaces the one before.
void wait_also_for(int fd);

// Sleeps for all of that time, whoever calls; for the pause after an error.
void pause(core::Duration time);

// Changes whenever wait() or check_interrupts() has read the configuration again.
unsigned configuration_version();

// Makes all processes of the server read the configuration again, soon.
void reload_configuration();

// Asks PostgreSQL for file descriptors that this process opens by itself, as many as wanted or as
// there are, until it asks for another number. Returns how many it may have open.
int acquire_descriptors(int wanted);

// Sleeps for a moment in a user's session, whose latch is not this code's own; a cancellation is an
// Error.
void wait_for_processes(core::Duration pause);

// Ends the process, or cancels what it does (throws Error), if a signal asked for it.
void check_interrupts();

// The same for a process that does nothing which could be cancelled: a cancellation is forgotten.
void heed_signals();

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
