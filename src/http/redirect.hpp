// Which redirects are followed, and with what.
#pragma once

#include <string>

#include "securatlas/http/engine.hpp"

namespace securatlas::http {

// Turns the request into the one that follows it, if a response with this status and Location is to
// be followed; else false, and nothing is changed. One with credentials in its URL is not.
//
//   301, 302   POST becomes GET without a body, other methods stay
//   303        every method but HEAD becomes GET without a body
//   307, 308   method and body stay (RFC 9110, 15.4)
//
// Within the same origin (core::Url::origin) all headers stay, but those that describe a body that
// is gone. To another origin goes only a GET or HEAD without a body, and only with Accept,
// Accept-Language and User-Agent: no credential is sent to whom it was not meant for.
bool redirect(Request& request, int status, const std::string& location,
              core::FollowRedirects mode);

}  // namespace securatlas::http
