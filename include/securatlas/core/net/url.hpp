// Absolute http and https URLs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "securatlas/core/result.hpp"

namespace securatlas::core {

// Maximal length of Url::text().
inline constexpr std::size_t kMaxUrlBytes = 64 * 1024;

enum class UrlPart { whole, scheme, credentials, host, port, path };

// `message` and `detail` are phrased for errmsg and errdetail. They never quote the URL, whose path
// and query may hold secrets; the detail may quote scheme and port.
struct UrlError {
    UrlPart part;
    std::string message;
    std::string detail;
};

enum class UrlScheme { http, https };

// A valid URL: scheme http or https, a host, no credentials, no control character, no space. The
// host is a DNS name, an IPv4 address or an IPv6 address in brackets without a zone;
// internationalized names must be in their ASCII form ("xn--..."). Path and query are not examined;
// bytes above 127 pass through.
class Url {
  public:
    static Result<Url, UrlError> parse(std::string_view text);

    // The URL to send to: scheme and host in lower case, a path (at least "/"), no fragment,
    // everything else as written.
    const std::string& text() const { return text_; }

    UrlScheme scheme() const { return scheme_; }
    // In lower case, without brackets.
    const std::string& host() const { return host_; }
    // 80 or 443 where the URL has none.
    std::uint16_t port() const { return port_; }
    // "https://example.com:443": equal for two URLs if scheme, host and port are.
    std::string origin() const;

    // This URL with a query parameter appended. Name and value are percent-encoded first.
    Result<Url, UrlError> with_parameter(std::string_view name, std::string_view value) const;

    // This URL with a query string appended that is encoded already ("a=1&b=2") and must not
    // contain '#'. An empty one changes nothing.
    Result<Url, UrlError> with_query(std::string_view encoded) const;

  private:
    Url() = default;

    std::string text_;
    std::string host_;
    UrlScheme scheme_ = UrlScheme::http;
    std::uint16_t port_ = 0;
};

// Whether this is a valid host name: labels of letters, digits, hyphens and underscores, separated
// by dots, with or without a dot at the end.
bool is_host_name(std::string_view text);

// A port from 1 to 65535 in decimal digits.
std::optional<std::uint16_t> parse_port(std::string_view text);

// Encodes every byte except ASCII letters, digits and "-._~" as %XX (RFC 3986, as curl_easy_escape
// does).
std::string percent_encode(std::string_view text);

}  // namespace securatlas::core
