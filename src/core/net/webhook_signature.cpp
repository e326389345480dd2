#include "securatlas/core/net/webhook_signature.hpp"

namespace securatlas::core {
namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kKeyPrefix = "whsec_";

std::string encode_base64(std::string_view bytes) {
    std::string text;
    for (std::size_t i = 0; i < bytes.size(); i += 3) {
        const std::size_t size = bytes.size() - i;
        std::uint32_t group = 0;
        for (std::size_t k = 0; k < 3; ++k) {
            const auto byte = k < size ? static_cast<unsigned char>(bytes[i + k]) : 0U;
            group = group << 8 | byte;
        }
        for (std::size_t k = 0; k < 4; ++k) {
            text += k <= size ? kDigits[group >> (18 - 6 * k) & 63] : '=';
        }
    }
    return text;
}

// Padding may be missing.
std::optional<std::string> decode_base64(std::string_view text) {
    while (text.ends_with('=')) text.remove_suffix(1);
    if (text.size() % 4 == 1) return std::nullopt;
    std::string bytes;
    std::uint32_t group = 0;
    int bits = 0;
    for (const char c : text) {
        const std::size_t digit = kDigits.find(c);
        if (digit == std::string_view::npos) return std::nullopt;
        group = (group << 6 | static_cast<std::uint32_t>(digit)) & 0xffffff;
        bits += 6;
        if (bits < 8) continue;
        bits -= 8;
        bytes += static_cast<char>(group >> bits & 0xff);
    }
    return bytes;
}

}  // namespace

std::string signed_content(std::string_view id, std::int64_t seconds, std::string_view body) {
    std::string content(id);
    content += '.';
    content += std::to_string(seconds);
    content += '.';
    content += body;
    return content;
}

std::optional<std::string> signing_key(std::string_view secret) {
    auto key = secret.starts_with(kKeyPrefix) ? decode_base64(secret.substr(kKeyPrefix.size()))
                                              : std::optional<std::string>(secret);
    if (key && key->empty()) key.reset();
    return key;
}

std::string signature_value(std::string_view hmac) { return "v1," + encode_base64(hmac); }

}  // namespace securatlas::core
