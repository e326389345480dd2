// TRUNCATE of the tables of requests and responses by a role that row security holds for.
//
// Whoever uses schema net may remove its own rows, and clean-up jobs do that by TRUNCATE, as they
// may with pg_net. PostgreSQL applies no row security to it, and locks the table against everybody.
// So for such a role it is the DELETE of all rows that the role sees.
#pragma once

#include "securatlas/pg/border/prelude.hpp"

struct Node;

namespace securatlas::extension {

// C world. True: the statement was such a TRUNCATE, and has been executed.
bool truncate_own_rows(const Node* statement);

}  // namespace securatlas::extension
