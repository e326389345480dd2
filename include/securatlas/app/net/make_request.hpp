// The SQL functions net.http_*: check a request and put it into the queue. Errors are pg::Error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/net/request.hpp"
#include "securatlas/core/time.hpp"
#include "securatlas/pg/border/json_member.hpp"
#include "securatlas/pg/net/callback_function.hpp"

namespace securatlas::app {

// A JSON object argument: its members, or why there are none (NULL, or another JSON value).
struct ObjectArgument {
    enum class State { object, null, other };
    State state = State::null;
    std::vector<pg::JsonMember> members;
};

// What the body is built from.
struct BodyArgument {
    enum class Kind { none, json, bytes, form };
    Kind kind = Kind::none;
    std::string text;     // json in UTF-8, or bytes
    ObjectArgument form;  // of kind form
};

struct RequestArguments {
    std::optional<std::string> method{};
    std::optional<std::string> url{};
    ObjectArgument params{};
    ObjectArgument headers{};
    BodyArgument body{};
    std::optional<int> timeout_milliseconds{};
    std::optional<int> max_attempts{};
    std::optional<std::string> retry{};
    std::optional<std::string> idempotency_key{};
    std::optional<core::Instant> not_before{};
    std::optional<core::Duration> expires_in{};
    std::optional<pg::FunctionOid> on_response{};
    std::optional<std::string> store_response = "full";
    std::optional<pg::RoleOid> created_by{};  // nullopt: the current role
};

// What signs a request (header webhook-signature) is a reference to a secret and nothing else.
// Throws Error otherwise; a value without a reference is sent as it is.
void check_signature(const core::Header& header);

// Returns the request's id.
std::int64_t make_request(RequestArguments arguments);

// The text in UTF-8, percent-encoded.
std::string url_encoded(const std::string& text);

// A URL with parameters ("name=value" each) appended to its query.
std::string url_with_parameters(const std::string& url, const std::vector<std::string>& parameters);

}  // namespace securatlas::app
