// A URL that is accepted holds what url.hpp promises, and is read again as the same URL.
#include <cstdint>
#include <cstdlib>

#include "securatlas/core/net/url.hpp"

namespace {

using securatlas::core::Url;

void require(bool condition) {
    if (!condition) std::abort();
}

void check_promises(const Url& url) {
    require(url.port() != 0);
    require(!url.host().empty());
    const std::string& text = url.text();
    for (const char c : text) require(static_cast<unsigned char>(c) > ' ' && c != 127 && c != '#');
    const std::size_t path = text.find('/', text.find("://") + 3);
    require(path != std::string::npos);
    require(text.substr(0, path).find('@') == std::string::npos);
}

bool same(const Url& a, const Url& b) { return a.text() == b.text() && a.origin() == b.origin(); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto url = Url::parse(text);
    if (!url) {
        require(!url.error().message.empty() && !url.error().detail.empty());
        return 0;
    }
    check_promises(*url);
    require(same(Url::parse(url->text()).value(), *url));
    for (const auto& longer : {url->with_parameter(text, text), url->with_query(text)}) {
        if (!longer) continue;
        check_promises(*longer);
        require(longer->origin() == url->origin());
        require(same(Url::parse(longer->text()).value(), *longer));
    }
    return 0;
}
