// References to secrets in the texts of a request: "{{secret:name}}".
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace securatlas::core {

// The names of the secrets that the text refers to, each once, in order of appearance. A name is
// everything between "{{secret:" and the next "}}".
std::vector<std::string> secret_names(std::string_view text);

// Replaces each reference to the secret by the value. References within the value are not replaced.
std::string put_secret(std::string_view text, std::string_view name, std::string_view value);

// The same for a percent-encoded text (percent_encode), such as a form; the value is encoded first.
std::string put_secret_encoded(std::string_view text, std::string_view name,
                               std::string_view value);

}  // namespace securatlas::core
