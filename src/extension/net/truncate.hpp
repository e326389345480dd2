// TRUNCATE of the tables of requests and responses by a role that row security holds for.
//
// Every role that may use schema net may remove its own rows, and clean-up jobs written for pg_net
// use TRUNCATE for that. But TRUNCATE ignores row security and locks out everybody. So for such a
// role it is executed as a DELETE of all rows that the role sees.
#pragma once

#include "securatlas/pg/border/prelude.hpp"

struct Node;

namespace securatlas::extension {

// C world. True: the statement was such a TRUNCATE, and has been executed.
bool truncate_own_rows(const Node* statement);

}  // namespace securatlas::extension
