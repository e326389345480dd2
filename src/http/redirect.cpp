#include "redirect.hpp"

#include <algorithm>
#include <array>

#include "securatlas/core/net/header_rules.hpp"
#include "securatlas/core/net/url.hpp"

namespace securatlas::http {

namespace {

using core::Method;

bool is_redirect(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

bool becomes_get(Method method, int status) {
    if (status == 303) return method != Method::head && method != Method::get;
    return (status == 301 || status == 302) && method == Method::post;
}

bool is_one_of(const core::Header& header, std::span<const std::string_view> names) {
    return std::ranges::any_of(names, [&header](std::string_view name) {
        return core::find_header({&header, 1}, name) != nullptr;
    });
}

bool describes_body(const core::Header& header) {
    constexpr std::array<std::string_view, 5> kNames = {"Content-Type", "Content-Encoding",
                                                        "Content-Language", "Content-Location",
                                                        "Content-Disposition"};
    return is_one_of(header, kNames);
}

bool goes_anywhere(const core::Header& header) {
    constexpr std::array<std::string_view, 3> kNames = {"Accept", "Accept-Language", "User-Agent"};
    return is_one_of(header, kNames);
}

}  // namespace

bool redirect(Request& request, int status, std::string_view location, FollowRedirects mode) {
    if (mode == FollowRedirects::none || !is_redirect(status)) return false;
    const auto from = core::Url::parse(request.url);
    const auto to = core::Url::parse(location);
    if (!from || !to) return false;

    const bool loses_body = becomes_get(request.method, status);
    const Method method = loses_body ? Method::get : request.method;
    if (from->origin() != to->origin()) {
        const bool has_body = method != Method::head && !loses_body && !request.body.empty();
        const bool is_harmless = (method == Method::get || method == Method::head) && !has_body;
        if (mode != FollowRedirects::any || !is_harmless) return false;
        std::erase_if(request.headers,
                      [](const core::Header& header) { return !goes_anywhere(header); });
    }
    if (loses_body) {
        request.body.clear();
        request.may_resend = true;
        std::erase_if(request.headers, describes_body);
    }
    request.method = method;
    request.url = to->text();
    return true;
}

}  // namespace securatlas::http
