#include "securatlas/core/net/egress_policy.hpp"

#include <algorithm>

#include "securatlas/core/text.hpp"
#include "split.hpp"

namespace securatlas::core {

namespace {

Failure<HostPatternError> fail(std::string_view text, std::string detail) {
    return Failure{
        HostPatternError{"invalid host pattern \"" + std::string(text) + "\"", std::move(detail)}};
}

std::string_view without_last_dot(std::string_view name) {
    if (name.ends_with('.')) name.remove_suffix(1);
    return name;
}

// The position of the port's colon; npos if there is none.
std::size_t find_port(std::string_view text) {
    if (text.starts_with('[')) {
        const std::size_t bracket = text.find(']');
        return bracket == std::string_view::npos ? bracket : text.find(':', bracket);
    }
    const std::size_t colon = text.find(':');
    // A text with more than one colon is an IPv6 address.
    return text.find(':', colon + 1) == std::string_view::npos ? colon : std::string_view::npos;
}

}  // namespace

Result<HostPattern, HostPatternError> HostPattern::parse(std::string_view text) {
    HostPattern pattern;
    const std::size_t colon = find_port(text);
    if (colon != std::string_view::npos) {
        pattern.port_ = parse_port(text.substr(colon + 1));
        if (!pattern.port_) return fail(text, "A port is a number from 1 to 65535.");
    }
    std::string_view host = text.substr(0, colon);
    if (host == "*") return pattern;
    const bool has_brackets = host.starts_with('[') && host.ends_with(']');
    if (has_brackets) host = host.substr(1, host.size() - 2);
    pattern.address_ = IpAddress::parse(host);
    if (pattern.address_ && !(has_brackets && pattern.address_->is_ipv4())) {
        pattern.kind_ = Kind::address;
        return pattern;
    }
    pattern.kind_ = host.starts_with("*.") ? Kind::below : Kind::name;
    const std::string_view name =
        without_last_dot(pattern.kind_ == Kind::below ? host.substr(2) : host);
    if (has_brackets || !is_host_name(name)) {
        return fail(text,
                    "A host pattern is \"*\", a host name, \"*.\" and a domain, or an IP address, "
                    "each optionally followed by \":\" and a port.");
    }
    pattern.name_ = (pattern.kind_ == Kind::below ? "." : "") + lower_case(name);
    return pattern;
}

bool HostPattern::matches(std::string_view host, std::uint16_t port) const {
    if (port_ && *port_ != port) return false;
    const std::string name = lower_case(without_last_dot(host));
    switch (kind_) {
        case Kind::any:
            return true;
        case Kind::name:
            return name == name_;
        case Kind::below:
            // An address is not a subdomain.
            return name.size() > name_.size() && name.ends_with(name_) && !IpAddress::parse(name);
        case Kind::address:
            return IpAddress::parse(name) == address_;
    }
    return false;
}

Result<std::vector<HostPattern>, HostPatternError> parse_host_patterns(std::string_view text) {
    std::vector<HostPattern> patterns;
    for (const std::string_view item : split_list(text)) {
        const auto pattern = HostPattern::parse(item);
        if (!pattern) return Failure{pattern.error()};
        patterns.push_back(*pattern);
    }
    return patterns;
}

EgressPolicy::EgressPolicy() : allowed_{HostPattern::parse("*").value()} {}

EgressPolicy::EgressPolicy(std::vector<Network> blocked, std::vector<HostPattern> allowed)
    : blocked_(std::move(blocked)), allowed_(std::move(allowed)) {}

bool EgressPolicy::blocks(const IpAddress& address) const {
    if (blocked_.empty()) return false;
    std::vector<IpAddress> forms = address.carried_ipv4();
    forms.push_back(address);
    return std::ranges::any_of(blocked_, [&forms](const Network& network) {
        return std::ranges::any_of(
            forms, [&network](const IpAddress& form) { return network.contains(form); });
    });
}

bool EgressPolicy::allows_host(std::string_view host, std::uint16_t port) const {
    return std::ranges::any_of(
        allowed_, [&](const HostPattern& pattern) { return pattern.matches(host, port); });
}

std::optional<Refusal> EgressPolicy::check(const Url& url, std::span<const Header> headers) const {
    const auto check_one = [this](const Url& one) -> std::optional<Refusal> {
        if (allows_host(one.host(), one.port())) return std::nullopt;
        return Refusal{Refusal::Reason::not_allowed,
                       "requests to host \"" + one.host() + "\" are not allowed",
                       "The host is not in net.allowed_hosts."};
    };
    if (auto refusal = check_one(url)) return refusal;
    const std::string* host = find_header(headers, "Host");
    if (host == nullptr) return std::nullopt;
    const bool is_host = host->find_first_of("/?#") == std::string::npos;
    const auto asked =
        Url::parse((url.scheme() == UrlScheme::http ? "http://" : "https://") + *host);
    if (!is_host || !asked) {
        return Refusal{Refusal::Reason::malformed, "invalid value of HTTP header \"Host\"",
                       "It must be the name of a host, optionally followed by \":\" and a port."};
    }
    return check_one(*asked);
}

}  // namespace securatlas::core
