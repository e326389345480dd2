// Networks and host patterns: what is accepted holds what it says, and errors explain themselves.
#include <arpa/inet.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "securatlas/core/net/egress_policy.hpp"

namespace {

using securatlas::core::EgressPolicy;
using securatlas::core::IpAddress;
using securatlas::core::Network;

void require(bool condition) {
    if (!condition) std::abort();
}

// The C library reads the same addresses.
void check_address(std::string_view text) {
    const std::string terminated(text);
    if (terminated.find('\0') != std::string::npos) return;
    const auto address = IpAddress::parse(text);
    std::uint8_t raw[16] = {};
    const int family = text.find(':') == std::string_view::npos ? AF_INET : AF_INET6;
    require(address.has_value() == (inet_pton(family, terminated.c_str(), raw) == 1));
    if (address) {
        require(address->is_ipv4() == (family == AF_INET));
        require(std::ranges::equal(address->bytes(), std::span(raw, address->bytes().size())));
    }
}

void check_network(std::string_view text) {
    const auto network = Network::parse(text);
    if (!network) {
        require(!network.error().message.empty() && !network.error().detail.empty());
        return;
    }
    const auto first = IpAddress::parse(text.substr(0, text.find('/')));
    require(first && network->contains(*first));
    require(EgressPolicy({*network}, {}).blocks(*first));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    check_address(text);
    check_network(text);
    if (const auto networks = securatlas::core::parse_networks(text)) {
        const EgressPolicy policy(*networks, {});
        if (const auto address = IpAddress::from_bytes({data, std::min<std::size_t>(size, 16)})) {
            const bool is_in_one = std::ranges::any_of(
                *networks, [&](const Network& network) { return network.contains(*address); });
            require(!is_in_one || policy.blocks(*address));
        }
    }
    const auto patterns = securatlas::core::parse_host_patterns(text);
    if (!patterns) {
        require(!patterns.error().message.empty() && !patterns.error().detail.empty());
        return 0;
    }
    // A name or an address alone matches itself, on every port.
    const bool is_plain = text.find_first_of("*,[ \t\r\n") == std::string_view::npos &&
                          (text.find(':') == std::string_view::npos || IpAddress::parse(text));
    if (is_plain && !text.empty()) require(EgressPolicy({}, *patterns).allows_host(text, 443));
    return 0;
}
