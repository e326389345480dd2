// A member of a JSON object, as an argument of an SQL function brings it.
#pragma once

#include <string>

namespace securatlas::pg {

struct JsonMember {
    enum class Kind { text, number, boolean, null, nested };

    std::string name;
    std::string value;  // text without quotes; number, boolean and nested as JSON; null: empty
    Kind kind = Kind::text;
};

}  // namespace securatlas::pg
