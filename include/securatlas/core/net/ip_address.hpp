// IPv4 and IPv6 addresses, and networks of them.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/result.hpp"

namespace securatlas::core {

class IpAddress {
  public:
    // "192.0.2.1" (four numbers without leading zeros) or the forms of RFC 4291, 2.2
    // ("2001:db8::1", "::ffff:192.0.2.1"). No brackets, no zone.
    static std::optional<IpAddress> parse(std::string_view text);

    // In network byte order. nullopt: neither 4 nor 16 bytes.
    static std::optional<IpAddress> from_bytes(std::span<const std::uint8_t> bytes);

    bool is_ipv4() const { return size_ == 4; }
    // 4 or 16, in network byte order.
    std::span<const std::uint8_t> bytes() const { return {bytes_.data(), size_}; }

    // The IPv4 addresses that an IPv6 address may stand for; none if it stands for itself only:
    //
    //   ::ffff:0:0/96    IPv4-mapped (RFC 4291, 2.5.5.2)
    //   ::/96            IPv4-compatible (RFC 4291, 2.5.5.1)
    //   64:ff9b::/96     NAT64 (RFC 6052, 2.1)
    //   64:ff9b:1::/48   local NAT64 (RFC 8215): the address is at one of four places, which one
    //                    depends on the length of the prefix in use (RFC 6052, 2.2)
    //   2002::/16        6to4 (RFC 3056, 2)
    std::vector<IpAddress> carried_ipv4() const;

    bool operator==(const IpAddress&) const = default;

  private:
    IpAddress() = default;

    std::array<std::uint8_t, 16> bytes_{};  // zero after size_
    std::uint8_t size_ = 0;
};

// `message` and `detail` are phrased for errmsg and errdetail; they may quote the text.
struct NetworkError {
    std::string message;
    std::string detail;
};

// A network: all addresses that share a prefix.
class Network {
  public:
    // "10.0.0.0/8", "fe80::/10"; a single address is a network of one. Bits set after the prefix
    // are an error, since they are probably a mistake.
    static Result<Network, NetworkError> parse(std::string_view text);

    // An address is never in a network of the other family; see IpAddress::carried_ipv4().
    bool contains(const IpAddress& address) const;

    bool operator==(const Network&) const = default;

  private:
    Network(const IpAddress& first, int prefix) : first_(first), prefix_(prefix) {}

    IpAddress first_;
    int prefix_;
};

// Networks are separated by commas, with any white space around them. An empty text is an empty
// list.
Result<std::vector<Network>, NetworkError> parse_networks(std::string_view text);

}  // namespace securatlas::core
