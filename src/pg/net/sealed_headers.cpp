// The plain text is name, NUL, value, NUL for each header.
#include "net/sealed_headers.hpp"

#include "securatlas/pg/net/sealing.hpp"

namespace securatlas::pg {
namespace {

SealPurpose purpose_of(std::int64_t request) { return {"headers", std::to_string(request)}; }

// Removes and returns the text up to the next NUL, which is dropped. nullopt: there is none.
std::optional<std::string> take_part(std::string_view& text) {
    const std::size_t end = text.find('\0');
    if (end == std::string_view::npos) return std::nullopt;
    std::string part(text.substr(0, end));
    text.remove_prefix(end + 1);
    return part;
}

}  // namespace

std::string seal_headers(const std::vector<core::Header>& headers, std::int64_t request) {
    std::string plain;
    for (const core::Header& header : headers) {
        plain.append(header.name).append(1, '\0').append(header.value).append(1, '\0');
    }
    return seal(plain, purpose_of(request));
}

std::optional<std::vector<core::Header>> unseal_headers(std::string_view sealed,
                                                        std::int64_t request) {
    const auto plain = unseal(sealed, purpose_of(request));
    if (!plain) return std::nullopt;
    std::vector<core::Header> headers;
    std::string_view rest = *plain;
    while (!rest.empty()) {
        auto name = take_part(rest);
        auto value = take_part(rest);
        if (!name || !value) return std::nullopt;
        headers.push_back({std::move(*name), std::move(*value)});
    }
    return headers;
}

}  // namespace securatlas::pg
