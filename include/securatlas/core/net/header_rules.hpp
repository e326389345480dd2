// Which request headers may be sent, and which of them hold secrets.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "securatlas/core/net/request.hpp"

namespace securatlas::core {

inline constexpr std::size_t kMaxHeaderNameBytes = 256;
inline constexpr std::size_t kMaxHeaderValueBytes = 64 * 1024;

// The header that carries the key of a request, the same with every attempt.
inline constexpr const char* kIdempotencyKey = "Idempotency-Key";

enum class HeaderPart { name, value };

// `message` and `detail` are made for errmsg and errdetail. They quote the name where it is a valid
// one, and never the value.
struct HeaderError {
    HeaderPart part;
    std::string message;
    std::string detail;
};

// nullopt: it may be sent. A name is a token (RFC 9110, 5.6.2); a value has no control characters
// but tabs, which rules out CR, LF and NUL.
std::optional<HeaderError> check_header(const Header& header);

// The charset that a Content-Type names; empty if it names none.
std::string charset(std::string_view content_type);

// True for names whose values are credentials by their meaning (Authorization, Cookie, X-Api-Key,
// ...) or by the look of the name (...token, ...secret, ...-key, ...); better one too many.
bool is_sensitive_header(std::string_view name);

// True for headers that frame the message on the wire and are the transport's own: Content-Length,
// Transfer-Encoding, Connection, Expect, .... The caller's are not sent.
bool is_framing_header(std::string_view name);

}  // namespace securatlas::core
