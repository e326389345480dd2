// Reads the response of an OAuth 2.0 token endpoint (RFC 6749, 5.1 and 5.2).
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace securatlas::core {

// If a response were rejected, a refresh token that the endpoint has just rotated would be lost. So
// only an access token is required; token_type may be anything or absent.
struct TokenAnswer {
    std::optional<std::string> access_token;
    std::optional<std::string> refresh_token;
    // Lifetime of the access token: greater than zero and at most ten years; an hour if the
    // response does not say.
    std::chrono::microseconds lifetime = std::chrono::hours(1);
    // Why there is no access token, or the error that the endpoint reports in spite of one. Only
    // well-known words of the response are repeated, because a token might be where the error
    // should be.
    std::string error;
};

// `body` should be a JSON object in UTF-8. If a member occurs twice, the last one counts. A token
// is a string of the characters that RFC 6749 allows; anything else counts as no token. Numbers may
// be strings, as some endpoints send them.
TokenAnswer read_token_answer(std::string_view body);

}  // namespace securatlas::core
