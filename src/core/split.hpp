// Lists as settings hold them.
#pragma once

#include <string_view>
#include <vector>

namespace securatlas::core {

inline std::string_view trim_blanks(std::string_view text) {
    constexpr std::string_view kBlanks = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kBlanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

// What is between the commas, without blanks around it. A blank text has no items; else an item may
// be empty. They point into `text`.
inline std::vector<std::string_view> split_list(std::string_view text) {
    std::vector<std::string_view> items;
    if (trim_blanks(text).empty()) return items;
    for (;;) {
        const std::size_t comma = text.find(',');
        items.push_back(trim_blanks(text.substr(0, comma)));
        if (comma == std::string_view::npos) return items;
        text.remove_prefix(comma + 1);
    }
}

}  // namespace securatlas::core
