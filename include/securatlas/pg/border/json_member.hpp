// A member of a JSON object that is an argument of a SQL function.
#pragma once

#include <string>

namespace securatlas::pg {

struct JsonMember {
    enum class Kind { text, number, boolean, null, nested };

    std::string name;
    std::string value;  // strings without quotes; numbers, booleans and nested values as JSON;
                        // empty for null
    Kind kind = Kind::text;
};

}  // namespace securatlas::pg
