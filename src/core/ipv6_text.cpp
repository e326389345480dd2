#include "ipv6_text.hpp"

#include <algorithm>
#include <optional>

#include "ascii.hpp"

namespace securatlas::core {

namespace {

constexpr int kGroups = 8;

bool is_group(std::string_view text) {
    return !text.empty() && text.size() <= 4 && std::ranges::all_of(text, is_hex_digit);
}

// 0 to 255 without leading zeros.
bool is_octet(std::string_view text) {
    if (text.empty() || text.size() > 3 || !std::ranges::all_of(text, is_digit)) return false;
    if (text.size() > 1 && text.front() == '0') return false;
    return text.size() < 3 || text <= "255";
}

bool is_ipv4(std::string_view text) {
    for (int octet = 0; octet < 3; ++octet) {
        const std::size_t dot = text.find('.');
        if (dot == std::string_view::npos || !is_octet(text.substr(0, dot))) return false;
        text.remove_prefix(dot + 1);
    }
    return is_octet(text);
}

// How many groups "a:b:c" stands for; an IPv4 address at the end stands for two. An empty text has
// none. nullopt: it is not of that form.
std::optional<int> count_groups(std::string_view text, bool may_end_in_ipv4) {
    if (text.empty()) return 0;
    int groups = 0;
    for (;;) {
        const std::size_t colon = text.find(':');
        const std::string_view group = text.substr(0, colon);
        if (colon == std::string_view::npos && may_end_in_ipv4 && is_ipv4(group)) return groups + 2;
        if (!is_group(group)) return std::nullopt;
        ++groups;
        if (colon == std::string_view::npos) return groups;
        text.remove_prefix(colon + 1);
    }
}

}  // namespace

bool is_ipv6_text(std::string_view text) {
    const std::size_t gap = text.find("::");
    if (gap == std::string_view::npos) return count_groups(text, true) == kGroups;
    const std::optional<int> before = count_groups(text.substr(0, gap), false);
    const std::optional<int> after = count_groups(text.substr(gap + 2), true);
    // The gap stands for one group at least.
    return before && after && *before + *after < kGroups;
}

}  // namespace securatlas::core
