#include "securatlas/core/net/ip_address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "securatlas/core/text.hpp"
#include "split.hpp"

namespace securatlas::core {

namespace {

// A decimal number up to `max` without leading zeros.
std::optional<unsigned> parse_number(std::string_view text, unsigned max) {
    if (text.empty() || text.size() > 3 || !std::ranges::all_of(text, is_digit)) {
        return std::nullopt;
    }
    if (text.size() > 1 && text.front() == '0') return std::nullopt;
    unsigned value = 0;
    for (const char c : text) value = value * 10 + static_cast<unsigned>(c - '0');
    return value <= max ? std::optional(value) : std::nullopt;
}

bool starts_with(std::span<const std::uint8_t> bytes, std::initializer_list<int> prefix) {
    return std::ranges::equal(prefix, bytes.first(prefix.size()));
}

}  // namespace

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
    const bool is_ipv6 = text.find(':') != std::string_view::npos;
    if (text.size() >= INET6_ADDRSTRLEN || text.find('\0') != std::string_view::npos) {
        return std::nullopt;
    }
    const std::string terminated(text);
    IpAddress address;
    address.size_ = is_ipv6 ? 16 : 4;
    if (inet_pton(is_ipv6 ? AF_INET6 : AF_INET, terminated.c_str(), address.bytes_.data()) != 1) {
        return std::nullopt;
    }
    return address;
}

std::optional<IpAddress> IpAddress::from_bytes(std::span<const std::uint8_t> bytes) {
    if (bytes.size() != 4 && bytes.size() != 16) return std::nullopt;
    IpAddress address;
    std::ranges::copy(bytes, address.bytes_.begin());
    address.size_ = static_cast<std::uint8_t>(bytes.size());
    return address;
}

std::vector<IpAddress> IpAddress::carried_ipv4() const {
    std::vector<IpAddress> carried;
    if (is_ipv4()) return carried;
    const auto add = [&](std::array<std::size_t, 4> places) {
        IpAddress address;
        for (std::size_t i = 0; i < 4; ++i) address.bytes_[i] = bytes_[places[i]];
        address.size_ = 4;
        carried.push_back(address);
    };
    if (starts_with(bytes_, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}) ||
        starts_with(bytes_, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) ||
        starts_with(bytes_, {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) {
        add({12, 13, 14, 15});
    } else if (starts_with(bytes_, {0, 0x64, 0xff, 0x9b, 0, 1})) {
        // Prefixes of 48, 56, 64 and 96 bits; byte 8 is always left out.
        add({6, 7, 9, 10});
        add({7, 9, 10, 11});
        add({9, 10, 11, 12});
        add({12, 13, 14, 15});
    } else if (starts_with(bytes_, {0x20, 0x02})) {
        add({2, 3, 4, 5});
    }
    return carried;
}

Result<Network, NetworkError> Network::parse(std::string_view text) {
    const auto fail = [text](std::string detail) {
        return Failure{
            NetworkError{"invalid network \"" + std::string(text) + "\"", std::move(detail)}};
    };
    const std::size_t slash = text.find('/');
    const auto first = IpAddress::parse(text.substr(0, slash));
    if (!first) {
        return fail(
            "A network is an IPv4 or IPv6 address, optionally followed by \"/\" and a number "
            "of bits.");
    }
    const auto bits = static_cast<unsigned>(first->bytes().size() * 8);
    if (slash == std::string_view::npos) return Network(*first, static_cast<int>(bits));
    const auto prefix = parse_number(text.substr(slash + 1), bits);
    if (!prefix) {
        return fail("The number of bits must be from 0 to " + std::to_string(bits) + ".");
    }
    for (unsigned bit = *prefix; bit < bits; ++bit) {
        if ((first->bytes()[bit / 8] & (0x80U >> bit % 8)) != 0) {
            return fail("The address has bits set after the first " + std::to_string(*prefix) +
                        ".");
        }
    }
    return Network(*first, static_cast<int>(*prefix));
}

bool Network::contains(const IpAddress& address) const {
    if (address.is_ipv4() != first_.is_ipv4()) return false;
    const auto whole = static_cast<std::size_t>(prefix_ / 8);
    if (!std::ranges::equal(address.bytes().first(whole), first_.bytes().first(whole))) {
        return false;
    }
    if (prefix_ % 8 == 0) return true;
    const int differing = address.bytes()[whole] ^ first_.bytes()[whole];
    return differing >> (8 - prefix_ % 8) == 0;
}

Result<std::vector<Network>, NetworkError> parse_networks(std::string_view text) {
    std::vector<Network> networks;
    for (const std::string_view item : split_list(text)) {
        const auto network = Network::parse(item);
        if (!network) return Failure{network.error()};
        networks.push_back(*network);
    }
    return networks;
}

}  // namespace securatlas::core
