// JSON objects as lists of named texts, and back.
#pragma once

#include "securatlas/core/net/request.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/json_member.hpp"

namespace securatlas::pg {

// The members of an object, in its order. nullopt: the value is not an object.
std::optional<std::vector<JsonMember>> read_json_object(Datum jsonb);

// A jsonb value as text in UTF-8, which JSON is sent in.
std::string json_as_utf8(Datum jsonb);

// An object of these headers: each a text or, if it is there more than once (in any case), an array
// of texts. Bytes that are no valid text in the database's encoding become "?".
Datum headers_as_jsonb(const std::vector<core::Header>& headers);

}  // namespace securatlas::pg
