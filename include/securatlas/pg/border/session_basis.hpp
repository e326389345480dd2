// What a session read from the catalogs when it connected, and keeps even if the catalogs change.
#pragma once

#include "securatlas/pg/shared/order.hpp"

namespace securatlas::pg {

// Tells whether the session of this process is still what a new connection of its role to its
// database would be. For a process that is connected as a role.
class SessionBasis {
  public:
    // Construct it right after connecting, and only once. Uses a transaction of its own.
    SessionBasis();

    // In a transaction. False: the role's row (superuser, login, limits, password), its
    // memberships, the database's owner or rights, or the settings of role and database have
    // changed since. Settings that were changed without announce_settings() are noticed within a
    // second.
    bool holds() const;

  private:
    std::uint64_t at_connection_;
};

// To be called when the transaction has changed settings of roles or databases: tells all sessions
// when it commits. PostgreSQL itself tells them nothing of it.
void announce_settings();

}  // namespace securatlas::pg
