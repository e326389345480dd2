// Absolute http and https URLs, as far as a request needs them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "securatlas/core/result.hpp"

namespace securatlas::core {

// Of a Url's text().
inline constexpr std::size_t kMaxUrlBytes = 64 * 1024;

enum class UrlPart { whole, scheme, credentials, host, port, path };

// `message` and `detail` are made for errmsg and errdetail. They never quote the URL, whose path
// and query may hold secrets; the detail may quote scheme and port.
struct UrlError {
    UrlPart part;
    std::string message;
    std::string detail;
};

enum class UrlScheme { http, https };

// A valid URL: scheme http or https, a host, no credentials, no control character, no space. The
// host is a DNS name, an IPv4 address or an IPv6 address in brackets without a zone; names in other
// scripts have to come in their ASCII form ("xn--..."). Path and query are not looked into; bytes
// above 127 pass through.
class Url {
  public:
    static Result<Url, UrlError> parse(std::string_view text);

    // What to send to: scheme and host in lower case, a path ("/" at least), no fragment, else as
    // it was written.
    const std::string& text() const { return text_; }

    UrlScheme scheme() const { return scheme_; }
    // In lower case, without brackets.
    const std::string& host() const { return host_; }
    // 80 or 443 where the URL has none.
    std::uint16_t port() const { return port_; }
    // "https://example.com:443": equal for two URLs if scheme, host and port are.
    std::string origin() const;

    // The URL with this parameter after those it has. Both are percent-encoded first.
    Result<Url, UrlError> with_parameter(std::string_view name, std::string_view value) const;

    // The same for a part of a query that is encoded already ("a=1&b=2"). An empty one changes
    // nothing. '#' is not allowed in it.
    Result<Url, UrlError> with_query(std::string_view encoded) const;

  private:
    Url() = default;

    std::string text_;
    std::string host_;
    UrlScheme scheme_ = UrlScheme::http;
    std::uint16_t port_ = 0;
};

// Whether this is a DNS name as URLs may have it: labels of letters, digits, hyphens and
// underscores between dots, with or without a dot at the end.
bool is_host_name(std::string_view text);

// A port from 1 to 65535 in decimal digits.
std::optional<std::uint16_t> parse_port(std::string_view text);

// Encodes each byte but letters, digits and "-._~" as %XX (RFC 3986, as curl_easy_escape does).
std::string percent_encode(std::string_view text);

}  // namespace securatlas::core
