// Which hosts and addresses requests may go to.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/net/ip_address.hpp"
#include "securatlas/core/net/request.hpp"
#include "securatlas/core/net/url.hpp"
#include "securatlas/core/result.hpp"

namespace securatlas::core {

// Blocked unless an administrator decides otherwise: link-local addresses, which include the
// metadata service of most clouds (169.254.169.254), and services that hand out credentials at
// other addresses.
inline constexpr std::string_view kDefaultBlockedNetworks =
    "169.254.0.0/16, "   // link-local (RFC 3927): AWS, Azure, Google, DigitalOcean and others
    "fe80::/10, "        // link-local (RFC 4291, 2.5.6)
    "fd00:ec2::254, "    // AWS
    "fd20:ce::254, "     // Google
    "100.100.100.200, "  // Alibaba
    "192.0.0.192, "      // Oracle
    "168.63.129.16";     // Azure

// `message` and `detail` are phrased for errmsg and errdetail; they may quote the pattern.
struct HostPatternError {
    std::string message;
    std::string detail;
};

// Hosts by their name, as it is in the URL:
//
//   *               every host
//   example.com     this one
//   *.example.com its subdomains, at any depth, but not itself 192.0.2.1, 2001:db8::1 or
//   [2001:db8::1]
//                   this address, in any of its forms
//
// each optionally followed by a port such as ":443" (an IPv6 address is then in brackets); without
// one it matches all ports.
class HostPattern {
  public:
    static Result<HostPattern, HostPatternError> parse(std::string_view text);

    // `host` as core::Url::host() has it. Case and a dot at its end do not matter.
    bool matches(std::string_view host, std::uint16_t port) const;

  private:
    enum class Kind { any, name, below, address };

    HostPattern() = default;

    Kind kind_ = Kind::any;
    std::string name_;  // in lower case; with its dot in front if `below`
    std::optional<IpAddress> address_;
    std::optional<std::uint16_t> port_;
};

// Patterns are separated by commas, with any white space around them. An empty text is an empty
// list.
Result<std::vector<HostPattern>, HostPatternError> parse_host_patterns(std::string_view text);

// `message` and `detail` are phrased for errmsg and errdetail.
struct Refusal {
    enum class Reason { not_allowed, malformed };
    Reason reason;
    std::string message;
    std::string detail;
};

// Immutable. blocks() decides by address, not by name, and is asked about the very address that is
// about to be connected to, so that DNS cannot change between check and use.
class EgressPolicy {
  public:
    // Allows every host and blocks nothing.
    EgressPolicy();
    // Allows no host if `allowed` is empty.
    EgressPolicy(std::vector<Network> blocked, std::vector<HostPattern> allowed);

    // True if the address, or an IPv4 address that it may stand for (IpAddress::carried_ipv4), is
    // in a blocked network.
    bool blocks(const IpAddress& address) const;

    // True if a pattern matches.
    bool allows_host(std::string_view host, std::uint16_t port) const;

    // Whether a request may be made and sent: nullopt if the URL's host is allowed, and so is that
    // of a Host header, by which a server with many names chooses the site.
    std::optional<Refusal> check(const Url& url, std::span<const Header> headers) const;

  private:
    std::vector<Network> blocked_;
    std::vector<HostPattern> allowed_;
};

}  // namespace securatlas::core
