#include "securatlas/core/net/header_rules.hpp"

#include <algorithm>
#include <array>

#include "securatlas/core/text.hpp"

namespace securatlas::core {

namespace {

bool is_token_char(char c) {
    constexpr std::string_view kPunctuation = "!#$%&'*+-.^_`|~";
    return is_alphanumeric(c) || kPunctuation.find(c) != std::string_view::npos;
}

std::optional<HeaderError> check_name(std::string_view name) {
    if (name.empty()) {
        return HeaderError{HeaderPart::name, "invalid HTTP header name", "The name is empty."};
    }
    if (name.size() > kMaxHeaderNameBytes) {
        return HeaderError{
            HeaderPart::name, "HTTP header name is too long",
            "A name has at most " + std::to_string(kMaxHeaderNameBytes) + " characters."};
    }
    if (!std::ranges::all_of(name, is_token_char)) {
        return HeaderError{HeaderPart::name, "invalid HTTP header name",
                           "A name consists of ASCII letters, digits and the characters "
                           "!#$%&'*+-.^_`|~."};
    }
    return std::nullopt;
}

std::optional<HeaderError> check_value(const Header& header) {
    if (header.value.size() > kMaxHeaderValueBytes) {
        return HeaderError{
            HeaderPart::value, "value of HTTP header \"" + header.name + "\" is too long",
            "A value has at most " + std::to_string(kMaxHeaderValueBytes) + " bytes."};
    }
    if (std::ranges::any_of(header.value, [](char c) { return is_control(c) && c != '\t'; })) {
        return HeaderError{HeaderPart::value,
                           "invalid value of HTTP header \"" + header.name + "\"",
                           "Control characters, such as line breaks, are not allowed."};
    }
    return std::nullopt;
}

}  // namespace

std::optional<HeaderError> check_header(const Header& header) {
    if (auto error = check_name(header.name)) return error;
    return check_value(header);
}

std::string charset(std::string_view content_type) {
    for (std::size_t end = content_type.find(';'); end != std::string_view::npos;
         end = content_type.find(';')) {
        content_type.remove_prefix(end + 1);
        const std::string_view parameter = trim(content_type.substr(0, content_type.find(';')));
        const std::size_t equals = std::min(parameter.find('='), parameter.size());
        if (equals == parameter.size()) continue;
        if (!equal_ignoring_case(trim(parameter.substr(0, equals)), "charset")) continue;
        std::string_view value = trim(parameter.substr(equals + 1));
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
            value = value.substr(1, value.size() - 2);
        }
        return std::string(value);
    }
    return {};
}

bool is_sensitive_header(std::string_view name) {
    constexpr std::array<std::string_view, 10> kTelling = {
        "authorization", "cookie",   "apikey", "api_key",    "token",
        "secret",        "password", "passwd", "credential", "passphrase"};
    const std::string lower = lower_case(name);
    if (std::ranges::any_of(kTelling, [&lower](std::string_view part) {
            return lower.find(part) != std::string::npos;
        })) {
        return true;
    }
    if (lower == "x-auth" || lower == "key") return true;
    return lower.ends_with("-key") && lower != "idempotency-key";
}

bool is_framing_header(std::string_view name) {
    constexpr std::array<std::string_view, 9> kFraming = {"content-length",
                                                          "transfer-encoding",
                                                          "connection",
                                                          "keep-alive",
                                                          "proxy-connection",
                                                          "expect",
                                                          "te",
                                                          "trailer",
                                                          "upgrade"};
    return std::ranges::any_of(
        kFraming, [name](std::string_view framing) { return equal_ignoring_case(name, framing); });
}

}  // namespace securatlas::core
