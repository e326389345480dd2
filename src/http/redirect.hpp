// Which redirects are followed, and with which request.
#pragma once

#include <string>

#include "securatlas/http/engine.hpp"

namespace securatlas::http {

// If a response with this status and Location is to be followed, turns the request into the next
// one; else returns false and changes nothing. A Location with credentials is not followed.
//
//   301, 302   POST becomes GET without a body; other methods stay
//   303        every method but HEAD becomes GET without a body
//   307, 308   method and body stay (RFC 9110, 15.4)
//
// Within the same origin (core::Url::origin) all headers stay, except those that describe a dropped
// body. To another origin only GET and HEAD without a body are sent, with no headers but Accept,
// Accept-Language and User-Agent, so that no credentials reach another server.
bool redirect(Request& request, int status, const std::string& location,
              core::FollowRedirects mode);

}  // namespace securatlas::http
