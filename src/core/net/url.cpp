#include "securatlas/core/net/url.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include "securatlas/core/net/ip_address.hpp"
#include "securatlas/core/text.hpp"

namespace securatlas::core {

namespace {

constexpr std::size_t kMaxHostBytes = 253;
constexpr std::size_t kMaxLabelBytes = 63;

Failure<UrlError> fail(UrlPart part, std::string message, std::string detail) {
    return Failure{UrlError{part, std::move(message), std::move(detail)}};
}

bool is_forbidden(char c) { return is_control(c) || c == ' '; }

std::uint16_t default_port(UrlScheme scheme) {
    switch (scheme) {
        case UrlScheme::http:
            return 80;
        case UrlScheme::https:
            return 443;
    }
    return 0;
}

std::string_view scheme_name(UrlScheme scheme) {
    switch (scheme) {
        case UrlScheme::http:
            return "http";
        case UrlScheme::https:
            return "https";
    }
    return "";
}

std::optional<UrlError> check_characters(std::string_view text) {
    if (std::ranges::none_of(text, is_forbidden)) return std::nullopt;
    return UrlError{UrlPart::whole, "invalid character in URL",
                    "Spaces and control characters must be percent-encoded."};
}

std::optional<UrlError> check_length(std::string_view text) {
    if (text.size() <= kMaxUrlBytes) return std::nullopt;
    return UrlError{UrlPart::whole, "URL is too long",
                    "A URL has at most " + std::to_string(kMaxUrlBytes) + " bytes."};
}

// The part of an invalid URL that a message may show: short, and without what may be a secret.
std::string shown(std::string_view text) {
    constexpr std::size_t kShown = 64;
    const bool may_have_password = text.find('@') != std::string_view::npos;
    const std::size_t end = may_have_password ? 0 : text.find_first_of("?#");
    std::string result(text.substr(0, std::min(end, kShown)));
    std::ranges::replace_if(
        result, [](char c) { return c < ' ' || c > '~'; }, '?');
    return result.size() < text.size() ? result + "..." : result;
}

// The message is as users of pg_net know it.
Failure<UrlError> fail_scheme(std::string_view text, std::string detail) {
    return fail(UrlPart::scheme, "invalid URL \"" + shown(text) + "\": Unsupported URL scheme",
                std::move(detail));
}

Result<UrlScheme, UrlError> parse_scheme(std::string_view text) {
    const std::size_t end = text.find("://");
    if (end == std::string_view::npos) {
        return fail_scheme(text, "A URL starts with \"http://\" or \"https://\".");
    }
    const std::string_view scheme = text.substr(0, end);
    if (equal_ignoring_case(scheme, "http")) return UrlScheme::http;
    if (equal_ignoring_case(scheme, "https")) return UrlScheme::https;
    constexpr std::size_t kQuotable = 32;
    const bool is_name = !scheme.empty() && scheme.size() <= kQuotable &&
                         std::ranges::all_of(scheme, is_alphanumeric);
    return fail_scheme(
        text, (is_name ? "The scheme is \"" + std::string(scheme) + "\". " : std::string()) +
                  "Only http and https are supported.");
}

// The part between scheme and path.
struct Authority {
    std::string_view host;  // with brackets
    std::string_view port;  // with its colon; empty if there is none
};

Result<Authority, UrlError> split_authority(std::string_view text) {
    if (text.find('@') != std::string_view::npos) {
        return fail(UrlPart::credentials, "URL must not contain credentials",
                    "Send them in an Authorization header.");
    }
    if (!text.starts_with('[')) {
        const std::size_t colon = std::min(text.find(':'), text.size());
        return Authority{text.substr(0, colon), text.substr(colon)};
    }
    const std::size_t bracket = text.find(']');
    if (bracket == std::string_view::npos) {
        return fail(UrlPart::host, "invalid host in URL",
                    "The bracket of the IPv6 address is not closed.");
    }
    const std::string_view port = text.substr(bracket + 1);
    if (!port.empty() && port.front() != ':') {
        return fail(UrlPart::host, "invalid host in URL",
                    "Only a port may follow the IPv6 address.");
    }
    return Authority{text.substr(0, bracket + 1), port};
}

// The host in lower case and without brackets.
Result<std::string, UrlError> parse_host(std::string_view text) {
    if (text.empty()) return fail(UrlPart::host, "URL has no host", "The host is empty.");
    if (text.front() == '[') {
        const std::string_view inside = text.substr(1, text.size() - 2);
        const auto address = IpAddress::parse(inside);
        if (!address || address->is_ipv4()) {
            return fail(UrlPart::host, "invalid host in URL",
                        "Brackets must contain an IPv6 address without a zone.");
        }
        return lower_case(inside);
    }
    if (!is_host_name(text)) {
        return fail(UrlPart::host, "invalid host in URL",
                    "A host consists of ASCII letters, digits, hyphens and underscores between "
                    "dots, with at most 63 characters in a row and 253 in all. Names in other "
                    "scripts are written in their ASCII form (\"xn--...\").");
    }
    return lower_case(text);
}

// `text` has its colon, or is empty. A colon alone is the default port (RFC 3986, 3.2.3).
Result<std::uint16_t, UrlError> read_port(std::string_view text, UrlScheme scheme) {
    if (text.size() <= 1) return default_port(scheme);
    if (const auto port = parse_port(text.substr(1))) return *port;
    return fail(UrlPart::port, "invalid port in URL",
                "A port is a number from 1 to " + std::to_string(UINT16_MAX) + ".");
}

}  // namespace

bool is_host_name(std::string_view text) {
    if (text.ends_with('.')) text.remove_suffix(1);
    if (text.size() > kMaxHostBytes) return false;
    for (;;) {
        const std::size_t dot = text.find('.');
        const std::string_view label = text.substr(0, dot);
        if (label.empty() || label.size() > kMaxLabelBytes) return false;
        // Underscores are not valid in host names, but used in practice.
        if (!std::ranges::all_of(
                label, [](char c) { return is_alphanumeric(c) || c == '-' || c == '_'; })) {
            return false;
        }
        if (dot == std::string_view::npos) return true;
        text.remove_prefix(dot + 1);
    }
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
    const bool is_port = error == std::errc() && end == text.data() + text.size() && port != 0;
    return is_port ? std::optional(port) : std::nullopt;
}

Result<Url, UrlError> Url::parse(std::string_view text) {
    if (const auto error = check_characters(text)) return Failure{*error};
    const auto scheme = parse_scheme(text);
    if (!scheme) return Failure{scheme.error()};

    std::string_view rest = text.substr(text.find("://") + 3);
    rest = rest.substr(0, rest.find('#'));
    const std::size_t path = std::min(rest.find_first_of("/?"), rest.size());
    const auto authority = split_authority(rest.substr(0, path));
    if (!authority) return Failure{authority.error()};
    const auto host = parse_host(authority->host);
    if (!host) return Failure{host.error()};
    const auto port = read_port(authority->port, *scheme);
    if (!port) return Failure{port.error()};

    Url url;
    url.scheme_ = *scheme;
    url.host_ = *host;
    url.port_ = *port;
    url.text_.append(scheme_name(*scheme)).append("://").append(lower_case(authority->host));
    if (authority->port.size() > 1) url.text_.append(authority->port);
    if (!rest.substr(path).starts_with('/')) url.text_ += '/';
    url.text_.append(rest.substr(path));
    if (const auto error = check_length(url.text_)) return Failure{*error};
    return url;
}

std::string Url::origin() const {
    const bool is_ipv6 = host_.find(':') != std::string::npos;
    std::string origin(scheme_name(scheme_));
    origin.append("://").append(is_ipv6 ? "[" + host_ + "]" : host_);
    return origin.append(":").append(std::to_string(port_));
}

Result<Url, UrlError> Url::with_parameter(std::string_view name, std::string_view value) const {
    return with_query(percent_encode(name) + "=" + percent_encode(value));
}

Result<Url, UrlError> Url::with_query(std::string_view encoded) const {
    if (encoded.empty()) return *this;
    if (encoded.find('#') != std::string_view::npos) {
        return fail(UrlPart::path, "invalid character in URL query",
                    "The character \"#\" must be percent-encoded.");
    }
    Url longer = *this;
    const std::size_t query = text_.find('?');
    if (query == std::string::npos) {
        longer.text_ += '?';
    } else if (query + 1 < text_.size() && !text_.ends_with('&')) {
        longer.text_ += '&';
    }
    longer.text_.append(encoded);
    if (const auto error = check_characters(encoded)) return Failure{*error};
    if (const auto error = check_length(longer.text_)) return Failure{*error};
    return longer;
}

std::string percent_encode(std::string_view text) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string encoded;
    encoded.reserve(text.size());
    for (const char c : text) {
        if (is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~') {
            encoded += c;
            continue;
        }
        const auto byte = static_cast<unsigned char>(c);
        encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
    return encoded;
}

}  // namespace securatlas::core
