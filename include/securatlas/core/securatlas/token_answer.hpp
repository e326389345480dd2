// What an OAuth 2.0 token endpoint has answered (RFC 6749, 5.1 and 5.2).
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace securatlas::core {

// A token that the endpoint has rotated is lost if its answer is refused. So only what is needed is
// asked for: an access token. Any token_type, or none, is taken.
struct TokenAnswer {
    std::optional<std::string> access_token;
    std::optional<std::string> refresh_token;
    // Of the access token: more than zero and at most ten years, which are as good as for ever; an
    // hour if the answer does not say.
    std::chrono::microseconds lifetime = std::chrono::hours(1);
    // Why there is no access token, or what the endpoint says although there is one. A token may
    // stand where the error is meant to be: only well-known words of the answer are repeated.
    std::string error;
};

// Reads a body in UTF-8: an object of JSON. Of a member that comes twice the last one counts. A
// token is a string of the characters that RFC 6749 allows; anything else is none. Numbers may be
// strings, as some endpoints send them.
TokenAnswer read_token_answer(std::string_view body);

}  // namespace securatlas::core
