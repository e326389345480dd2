// What the SQL functions net.http_* do: check, and put into the queue. Errors are pg::Error.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "securatlas/core/request.hpp"
#include "securatlas/pg/json_member.hpp"

namespace securatlas::app {

// An argument that is a JSON object: its members, or why there are none.
struct ObjectArgument {
    enum class State { object, null, other };
    State state = State::null;
    std::vector<pg::JsonMember> members;
};

struct RequestArguments {
    core::Method method = core::Method::get;
    std::optional<std::string> url;
    ObjectArgument params;
    ObjectArgument headers;
    std::optional<std::string> body;  // JSON in UTF-8; nullopt: none
    std::optional<int> timeout_milliseconds;
};

// Returns the request's id.
std::int64_t make_request(RequestArguments arguments);

// A URL with parameters, "name=value" each, after those it has.
std::string url_with_parameters(const std::string& url, const std::vector<std::string>& parameters);

}  // namespace securatlas::app
