#include "securatlas/pg/border/encoding.hpp"

#include <algorithm>
#include <array>

#include "securatlas/core/text.hpp"
#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "catalog/namespace.h"
}

namespace securatlas::pg {
namespace {

constexpr int kUnknown = -1;

int encoding_of(std::string_view charset) {
    if (charset.empty() || core::equal_ignoring_case(charset, "us-ascii")) return PG_UTF8;
    if (charset.size() >= NAMEDATALEN || charset.find('\0') != std::string_view::npos) {
        return kUnknown;
    }
    const std::string name(charset);
    const int encoding = pg_char_to_encoding(name.c_str());
    return encoding == PG_SQL_ASCII ? kUnknown : encoding;
}

std::size_t valid_length(std::string_view text, int encoding) {
    return static_cast<std::size_t>(
        pg_encoding_verifymbstr(encoding, text.data(), static_cast<int>(text.size())));
}

// In pieces, because the conversion buffer must have four times the size of its input.
std::optional<std::string> convert_by(Oid conversion, std::string_view text, int from, int to) {
    std::array<unsigned char, 64 * 1024> piece;
    std::string converted;
    while (!text.empty()) {
        const int used = call([&] {
            // PostgreSQL does not write to the source.
            auto* source = reinterpret_cast<unsigned char*>(const_cast<char*>(text.data()));
            return pg_do_encoding_conversion_buf(conversion, from, to, source,
                                                 static_cast<int>(text.size()), piece.data(),
                                                 static_cast<int>(piece.size()), true);
        });
        if (used == 0) return std::nullopt;
        converted += reinterpret_cast<const char*>(piece.data());  // terminated, without zero bytes
        text.remove_prefix(static_cast<std::size_t>(used));
    }
    return converted;
}

// `text` must be valid in `from`.
std::optional<std::string> convert(std::string_view text, int from, int to) {
    if (from == to) return std::string(text);
    const Oid conversion = call([from, to] { return FindDefaultConversionProc(from, to); });
    if (OidIsValid(conversion)) return convert_by(conversion, text, from, to);
    if (from == PG_UTF8 || to == PG_UTF8) return std::nullopt;
    const auto between = convert(text, from, PG_UTF8);
    return between ? convert(*between, PG_UTF8, to) : std::nullopt;
}

}  // namespace

std::optional<std::string> to_utf8(std::string_view text) {
    const int encoding = GetDatabaseEncoding();
    if (encoding == PG_SQL_ASCII) return std::string(text);
    return convert(text, encoding, PG_UTF8);
}

std::optional<std::string> to_database_text(std::string_view bytes, std::string_view charset,
                                            bool is_cut) {
    const int to = GetDatabaseEncoding();
    const int from = to == PG_SQL_ASCII ? PG_SQL_ASCII : encoding_of(charset);
    if (from == kUnknown) return std::nullopt;
    const std::size_t valid = valid_length(bytes, from);
    if (valid < bytes.size()) {
        const auto longest = static_cast<std::size_t>(pg_encoding_max_length(from));
        if (!is_cut || bytes.size() - valid >= longest) return std::nullopt;
    }
    return convert(bytes.substr(0, valid), from, to);
}

std::string message_text(std::string_view message) {
    if (auto text = to_database_text(message, {}, false)) return std::move(*text);
    return valid_text(message);
}

std::string valid_text(std::string_view text) {
    std::string valid(text);
    if (valid_length(text, GetDatabaseEncoding()) == text.size()) return valid;
    std::replace_if(
        valid.begin(), valid.end(),
        [](char c) { return c == '\0' || (static_cast<unsigned char>(c) & 0x80) != 0; }, '?');
    return valid;
}

}  // namespace securatlas::pg
