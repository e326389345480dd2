#include "response_head.hpp"

#include <utility>

namespace securatlas::http {

namespace {

std::string_view trim(std::string_view text) {
    constexpr std::string_view kBlank = " \t\r\n";
    const std::size_t first = text.find_first_not_of(kBlank);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

}  // namespace

bool ResponseHead::add_line(std::string_view line) {
    if (line.starts_with("HTTP/")) {
        headers_.clear();
        bytes_ = 0;
        open_ = true;
        return true;
    }
    if (!open_) return true;
    const std::string_view text = trim(line);
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
    headers_.push_back(
        {std::string(trim(text.substr(0, colon))), std::string(trim(text.substr(colon + 1)))});
    return true;
}

std::vector<core::Header> ResponseHead::take_headers() {
    bytes_ = 0;
    open_ = false;
    return std::exchange(headers_, {});
}

}  // namespace securatlas::http
