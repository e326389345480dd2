// IP addresses from socket addresses.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>

#include "securatlas/core/net/ip_address.hpp"

namespace securatlas::http {

// nullopt: neither IPv4 nor IPv6. The socket address must have the length of its family.
inline std::optional<core::IpAddress> ip_address(const sockaddr& address) {
    std::array<std::uint8_t, 16> bytes{};
    if (address.sa_family == AF_INET) {
        const auto& ipv4 = reinterpret_cast<const sockaddr_in&>(address);
        std::memcpy(bytes.data(), &ipv4.sin_addr, sizeof ipv4.sin_addr);
        return core::IpAddress::from_bytes(std::span(bytes).first(sizeof ipv4.sin_addr));
    }
    if (address.sa_family == AF_INET6) {
        const auto& ipv6 = reinterpret_cast<const sockaddr_in6&>(address);
        std::memcpy(bytes.data(), &ipv6.sin6_addr, sizeof ipv6.sin6_addr);
        return core::IpAddress::from_bytes(bytes);
    }
    return std::nullopt;
}

// "192.0.2.1"; "another family" if it is neither IPv4 nor IPv6.
inline std::string ip_text(const sockaddr& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const void* bytes = nullptr;
    if (address.sa_family == AF_INET) {
        bytes = &reinterpret_cast<const sockaddr_in&>(address).sin_addr;
    } else if (address.sa_family == AF_INET6) {
        bytes = &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr;
    } else {
        return "another family";
    }
    inet_ntop(address.sa_family, bytes, text.data(), text.size());
    return text.data();
}

}  // namespace securatlas::http
