// The parts of a request that the rules, the catalog and the transport share.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace securatlas::core {

enum class RequestId : std::int64_t {};

enum class Method { get, head, post, put, patch, del, options };

// Accepts any case; nullopt: not one of the seven. method_name() is in upper case ("DELETE").
std::optional<Method> parse_method(std::string_view text);
std::string_view method_name(Method method);

// True if sending it twice means the same as sending it once (RFC 9110, 9.2.2).
bool is_idempotent(Method method);

// Which redirects are followed: none, those within the origin (scheme, host and port), or all. At
// most ten, within the timeout of the request. A redirect that is not followed is the response.
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
