#include "securatlas/core/net/request.hpp"

#include <algorithm>
#include <array>

#include "securatlas/core/text.hpp"

namespace securatlas::core {

std::string_view method_name(Method method) {
    switch (method) {
        case Method::get:
            return "GET";
        case Method::head:
            return "HEAD";
        case Method::post:
            return "POST";
        case Method::put:
            return "PUT";
        case Method::patch:
            return "PATCH";
        case Method::del:
            return "DELETE";
        case Method::options:
            return "OPTIONS";
    }
    return "";
}

std::optional<Method> parse_method(std::string_view text) {
    constexpr std::array kAll = {Method::get,   Method::head, Method::post,   Method::put,
                                 Method::patch, Method::del,  Method::options};
    for (const Method method : kAll) {
        if (equal_ignoring_case(text, method_name(method))) return method;
    }
    return std::nullopt;
}

bool is_idempotent(Method method) {
    switch (method) {
        case Method::get:
        case Method::head:
        case Method::put:
        case Method::del:
        case Method::options:
            return true;
        case Method::post:
        case Method::patch:
            return false;
    }
    return false;
}

const std::string* find_header(std::span<const Header> headers, std::string_view name) {
    const auto found = std::ranges::find_if(
        headers, [name](const Header& header) { return equal_ignoring_case(header.name, name); });
    return found == headers.end() ? nullptr : &found->value;
}

}  // namespace securatlas::core
