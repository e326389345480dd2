// A header that is accepted cannot end its line, and its name cannot hold a colon or a space.
#include <cstdint>
#include <cstdlib>

#include "securatlas/core/net/header_rules.hpp"

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    const std::size_t colon = input.find(':');
    const std::string_view rest =
        colon == std::string_view::npos ? std::string_view() : input.substr(colon + 1);
    const securatlas::core::Header header{std::string(input.substr(0, colon)), std::string(rest)};

    const auto error = securatlas::core::check_header(header);
    if (error) {
        require(!error->message.empty() && !error->detail.empty());
    } else {
        require(!header.name.empty());
        require(header.name.find_first_of(std::string_view(" \t\r\n:\0", 6)) == std::string::npos);
        require(header.value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
    }
    if (securatlas::core::is_framing_header(header.name)) {
        require(!securatlas::core::is_sensitive_header(header.name));
    }
    return 0;
}
