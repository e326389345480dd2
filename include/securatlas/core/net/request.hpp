// What a request is made of, as the rules, the catalog and the transport share it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace securatlas::core {

enum class RequestId : std::int64_t {};

enum class Method { get, head, post, put, patch, del, options };

// Methods are written in capitals ("DELETE"); lower case is read, too. nullopt: not one of the
// seven.
std::optional<Method> parse_method(std::string_view text);
std::string_view method_name(Method method);

// True if sending it twice means the same as sending it once (RFC 9110, 9.2.2).
bool is_idempotent(Method method);

// Redirects within one origin (scheme, host and port), or to any. Ten at most are followed, in the
// request's timeout. What is not followed is the response.
enum class FollowRedirects { none, same_origin, any };

struct Header {
    std::string name;
    std::string value;

    bool operator==(const Header&) const = default;
};

// The value of the first header with this name, in any case; nullptr if there is none. The result
// points into `headers`.
const std::string* find_header(std::span<const Header> headers, std::string_view name);

}  // namespace securatlas::core
