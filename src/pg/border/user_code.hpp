// Handling of user code in a worker: its errors, its timeouts, its end.
#pragma once

#include <string>

#include "securatlas/pg/border/guard.hpp"

namespace securatlas::pg {

// Aborts the transaction, whatever its state, and ignores cancellations that came too late.
void abort_everything();

// Stops all timeouts and ignores cancellations that were meant for the user's code, so that they do
// not hit what follows.
void stop_timeouts();

// Logs an error that was caught, as PostgreSQL logs an error of a session.
void log_failure(const std::string& what, const Error& error);

}  // namespace securatlas::pg
