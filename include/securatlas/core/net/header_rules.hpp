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

// The header that carries a request's idempotency key, the same with every attempt.
inline constexpr const char* kIdempotencyKey = "Idempotency-Key";

enum class HeaderPart { name, value };

// `message` and `detail` are phrased for errmsg and errdetail. They quote the name if it is valid,
// and never the value.
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

// True for headers that are known to carry credentials (Authorization, Cookie, X-Api-Key, ...) and
// for names that suggest it (...token, ...secret, ...-key, ...). Errs on the side of true.
bool is_sensitive_header(std::string_view name);

// True for headers that frame the message on the wire and that the transport sets itself:
// Content-Length, Transfer-Encoding, Connection, Expect, .... Those of the caller are not sent.
bool is_framing_header(std::string_view name);

}  // namespace securatlas::core
