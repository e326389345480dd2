#include "redirect.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <optional>

#include "curl_handles.hpp"
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

// Resolves a Location relative to `base`; nullopt: it cannot be requested. Uses the header itself,
// because CURLINFO_REDIRECT_URL does not show credentials in the URL since libcurl 8.23.
std::optional<core::Url> resolve(const core::Url& base, const std::string& location) {
    const UrlHandle url(curl_url());
    if (!url) throw std::bad_alloc();
    constexpr unsigned kFlags = CURLU_DISALLOW_USER | CURLU_URLENCODE;
    if (location.empty() ||
        curl_url_set(url.get(), CURLUPART_URL, base.text().c_str(), 0) != CURLUE_OK ||
        curl_url_set(url.get(), CURLUPART_URL, location.c_str(), kFlags) != CURLUE_OK) {
        return std::nullopt;
    }
    char* text = nullptr;
    if (curl_url_get(url.get(), CURLUPART_URL, &text, 0) != CURLUE_OK) return std::nullopt;
    const CurlText owner(text);
    const auto parsed = core::Url::parse(text);
    return parsed ? std::optional(parsed.value()) : std::nullopt;
}

}  // namespace

bool redirect(Request& request, int status, const std::string& location,
              core::FollowRedirects mode) {
    if (mode == core::FollowRedirects::none || !is_redirect(status)) return false;
    const auto to = resolve(request.url, location);
    if (!to) return false;

    const bool loses_body = becomes_get(request.method, status);
    const Method method = loses_body ? Method::get : request.method;
    if (request.url.origin() != to->origin()) {
        const bool has_body = method != Method::head && !loses_body && !request.body.empty();
        const bool is_harmless = (method == Method::get || method == Method::head) && !has_body;
        if (mode != core::FollowRedirects::any || !is_harmless) return false;
        std::erase_if(request.headers,
                      [](const core::Header& header) { return !goes_anywhere(header); });
    }
    if (loses_body) {
        request.body.clear();
        request.may_resend = true;
        std::erase_if(request.headers, describes_body);
    }
    request.method = method;
    request.url = *to;
    return true;
}

}  // namespace securatlas::http
