// Whose the rows of the tables of requests and responses are.
#pragma once

#include <cstdint>

namespace securatlas::pg::requests {

// Row security does not hold for TRUNCATE: throws Error 42501 if it holds for the current role and
// the table, one of the two, has a row of a role that the current one is no member of.
void require_own_rows(std::uint32_t table);

}  // namespace securatlas::pg::requests
