#include "securatlas/core/net/secret_reference.hpp"

#include <algorithm>

#include "securatlas/core/net/url.hpp"

namespace securatlas::core {

namespace {

constexpr std::string_view kBegin = "{{secret:";
constexpr std::string_view kEnd = "}}";

std::string reference(std::string_view name) {
    std::string text(kBegin);
    return text.append(name).append(kEnd);
}

std::string replace_all(std::string_view text, std::string_view what, std::string_view by) {
    std::string replaced;
    for (;;) {
        const std::size_t at = text.find(what);
        replaced.append(text.substr(0, at));
        if (at == std::string_view::npos) return replaced;
        replaced.append(by);
        text.remove_prefix(at + what.size());
    }
}

}  // namespace

std::vector<std::string> secret_names(std::string_view text) {
    std::vector<std::string> names;
    for (;;) {
        const std::size_t begin = text.find(kBegin);
        if (begin == std::string_view::npos) return names;
        text.remove_prefix(begin + kBegin.size());
        const std::size_t end = text.find(kEnd);
        if (end == std::string_view::npos) return names;
        std::string name(text.substr(0, end));
        if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
        text.remove_prefix(end + kEnd.size());
    }
}

std::string put_secret(std::string_view text, std::string_view name, std::string_view value) {
    return replace_all(text, reference(name), value);
}

std::string put_secret_encoded(std::string_view text, std::string_view name,
                               std::string_view value) {
    return replace_all(text, percent_encode(reference(name)), percent_encode(value));
}

}  // namespace securatlas::core
