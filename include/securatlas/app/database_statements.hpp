// Keeps the extension's processes out of the way of DROP, RENAME and copies of a database.
#pragma once

#include <string_view>

#include "securatlas/pg/shared/shared_state.hpp"

namespace securatlas::app {

// While it lives no process of the extension is in the database, if the caller may do to it what
// needs that; else nothing happens, and the statement itself tells why not. Waits until the
// processes are gone, for less than the five seconds that DROP DATABASE would.
class QuietDatabase {
  public:
    explicit QuietDatabase(std::string_view name);
    ~QuietDatabase();
    QuietDatabase(const QuietDatabase&) = delete;
    QuietDatabase& operator=(const QuietDatabase&) = delete;

  private:
    pg::DatabaseOid held_ = 0;
};

// A database was made, and holds the extension if its template does; or one may accept connections
// that did not.
void database_opened(std::string_view name);

}  // namespace securatlas::app
