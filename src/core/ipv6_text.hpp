// The text form of an IPv6 address (RFC 4291, 2.2), without brackets and zone.
#pragma once

#include <string_view>

namespace securatlas::core {

bool is_ipv6_text(std::string_view text);

}  // namespace securatlas::core
