// What is done around code of users that runs in a worker: its errors, its timeouts, its end.
#pragma once

#include <string>

#include "securatlas/pg/border/guard.hpp"

namespace securatlas::pg {

// "ERROR: ..." with detail, hint and context, a line each.
std::string describe(const Error& error);

// Ends the transaction, whatever state it is in, and forgets cancellations that came late.
void abort_everything();

// No timeout and no cancellation meant for the user's code strikes what follows.
void stop_timeouts();

// As a session's error is logged; it was caught, and has not been.
void log_failure(const std::string& what, const Error& error);

}  // namespace securatlas::pg
