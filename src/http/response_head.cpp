#include "response_head.hpp"

#include <utility>

#include "securatlas/core/text.hpp"

namespace securatlas::http {

// A response has about so many headers.
static constexpr std::size_t kUsual = 8;

bool ResponseHead::add_line(std::string_view line) {
    if (line.starts_with("HTTP/")) {
        headers_.clear();
        headers_.reserve(kUsual);
        bytes_ = 0;
        open_ = true;
        return true;
    }
    if (!open_) return true;
    const std::string_view text = core::trim(line);
    if (text.empty()) {
        open_ = false;
        return true;
    }
    bytes_ += text.size();
    if (bytes_ > kMaxBytes) return false;
    const bool is_continued = line.front() == ' ' || line.front() == '\t';
    if (is_continued && !headers_.empty()) {
        headers_.back().value.append(" ").append(text);
        return true;
    }
    const std::size_t colon = text.find(':');
    if (colon == std::string_view::npos) return true;
    headers_.push_back({std::string(core::trim(text.substr(0, colon))),
                        std::string(core::trim(text.substr(colon + 1)))});
    return true;
}

std::vector<core::Header> ResponseHead::take_headers() {
    bytes_ = 0;
    open_ = false;
    return std::exchange(headers_, {});
}

}  // namespace securatlas::http
