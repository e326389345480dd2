// Converts between jsonb objects and lists of names and texts.
#pragma once

#include "securatlas/core/net/request.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/json_member.hpp"

namespace securatlas::pg {

// The members of an object, in jsonb order. nullopt: the value is not an object.
std::optional<std::vector<JsonMember>> read_json_object(Datum jsonb);

// A jsonb value as text in UTF-8, the encoding of JSON on the network.
std::string json_as_utf8(Datum jsonb);

// A jsonb object of these headers. Each value is a string or, if the name occurs more than once (in
// any case), an array of strings. Text that is not valid in the database encoding gets "?" for each
// byte that is not ASCII.
Datum headers_as_jsonb(const std::vector<core::Header>& headers);

}  // namespace securatlas::pg
