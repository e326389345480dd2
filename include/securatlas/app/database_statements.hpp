// Keeps the extension's processes out of a database that is being dropped, renamed, moved or
// copied.
#pragma once

#include <string_view>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::app {

// Until this transaction ends, no process of the extension is connected to the database. Does
// nothing if the caller does not have the right to execute such a statement: the statement itself
// then fails. Waits until the processes are gone, for less than the five seconds for which DROP
// DATABASE waits.
void close_database(std::string_view name, bool is_dropped);

// To be called when a database was created, which has the extension if its template has it, and
// when a database accepts connections that it did not accept before.
void database_opened(std::string_view name);

}  // namespace securatlas::app
