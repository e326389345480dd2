// What a session took over from the catalogs when it connected, and keeps whatever becomes of it.
#pragma once

#include "securatlas/pg/shared/order.hpp"

namespace securatlas::pg {

// Whether this process is still what a connection of its role to its database would be now. For a
// process that is connected as a role.
class SessionBasis {
  public:
    // To be made right after the connection. Begins a transaction of its own, as holds() does.
    SessionBasis();

    // False: the role's row (superuser, login, limits, password), its memberships, the database's
    // owner or rights, or the settings of role and database have changed since.
    bool holds() const;

  private:
    std::uint64_t at_connection_;
};

}  // namespace securatlas::pg
