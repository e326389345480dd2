// References to secrets in the texts of a request: "{{secret:name}}".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace securatlas::core {

// Names of the secrets that the text refers to, each once, in their order. Whatever stands between
// "{{secret:" and the next "}}" is a name.
std::vector<std::string> secret_names(std::string_view text);

// The text with the value in the place of each reference to the secret. The value is not looked
// into: references in it stay.
std::string put_secret(std::string_view text, std::string_view name, std::string_view value);

// The same for a text that is percent-encoded (percent_encode), as forms are; so is the value then.
std::string put_secret_encoded(std::string_view text, std::string_view name,
                               std::string_view value);

}  // namespace securatlas::core
