// Seals and unseals headers of a request.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/net/request.hpp"

namespace securatlas::pg {

// The headers must not contain NUL (core::check_header). Throws like seal().
std::string seal_headers(const std::vector<core::Header>& headers, std::int64_t request);

// nullopt: the bytes were not made by seal_headers() for this request with this cluster's key.
std::optional<std::vector<core::Header>> unseal_headers(std::string_view sealed,
                                                        std::int64_t request);

}  // namespace securatlas::pg
