// Lists in settings.
#pragma once

#include <string_view>
#include <vector>

#include "securatlas/core/text.hpp"

namespace securatlas::core {

// The items between the commas, without surrounding white space. A blank text has no items;
// otherwise items may be empty. The result points into `text`.
inline std::vector<std::string_view> split_list(std::string_view text) {
    std::vector<std::string_view> items;
    if (trim(text).empty()) return items;
    for (;;) {
        const std::size_t comma = text.find(',');
        items.push_back(trim(text.substr(0, comma)));
        if (comma == std::string_view::npos) return items;
        text.remove_prefix(comma + 1);
    }
}

}  // namespace securatlas::core
