// Whatever a token endpoint answers is read to tokens that a header can hold, a lifetime that a
// clock can be set by, and an error that holds nothing of the answer but a well-known word.
#include <cstdint>
#include <cstdlib>

#include "securatlas/core/securatlas/token_answer.hpp"

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

void require_token(const std::optional<std::string>& token) {
    if (!token) return;
    require(!token->empty());
    for (const char c : *token) require(c >= 0x20 && c <= 0x7e);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view body(reinterpret_cast<const char*>(data), size);
    const auto answer = securatlas::core::read_token_answer(body);
    require_token(answer.access_token);
    require_token(answer.refresh_token);
    require(answer.lifetime.count() > 0 && answer.lifetime <= std::chrono::hours(24 * 3650));
    require(answer.access_token.has_value() || !answer.error.empty());
    require(answer.error.size() < 32);
    for (const char c : answer.error) require(c == ' ' || c == '_' || (c >= 'A' && c <= 'z'));
    return 0;
}
