#include "securatlas/app/make_request.hpp"

#include "securatlas/core/header_rules.hpp"
#include "securatlas/core/url.hpp"
#include "securatlas/pg/error.hpp"
#include "securatlas/pg/requests.hpp"

namespace securatlas::app {
namespace {

constexpr const char* kNull = "22004";     // null_value_not_allowed
constexpr const char* kInvalid = "22023";  // invalid_parameter_value
constexpr int kMaxTimeout = 3'600'000;

pg::Error null_argument(const char* name, const char* hint = "") {
    return pg::Error(kNull, std::string(name) + " can not be NULL", "", hint);
}

core::Url checked(core::Result<core::Url, core::UrlError> url) {
    if (!url) throw pg::Error(kInvalid, url.error().message, url.error().detail);
    return std::move(url).value();
}

const std::vector<pg::JsonMember>& members_of(const ObjectArgument& argument, const char* name) {
    if (argument.state == ObjectArgument::State::other) {
        throw pg::Error(kInvalid, std::string(name) + " must be a JSON object", "",
                        "For example: {\"name\": \"value\"}.");
    }
    return argument.members;
}

core::Url url_of(const RequestArguments& arguments) {
    if (!arguments.url) throw null_argument("url");
    core::Url url = checked(core::Url::parse(*arguments.url));
    for (const pg::JsonMember& member : members_of(arguments.params, "params")) {
        url = checked(url.with_parameter(member.name, member.value));
    }
    return url;
}

core::Header header_of(const pg::JsonMember& member) {
    using Kind = pg::JsonMember::Kind;
    core::Header header{member.name, member.value};
    if (const auto error = core::check_header(header)) {
        throw pg::Error(kInvalid, error->message, error->detail);
    }
    if (member.kind == Kind::null || member.kind == Kind::nested) {
        throw pg::Error(kInvalid, "value of HTTP header \"" + member.name + "\" is not a text",
                        "It is null, an object or an array.");
    }
    return header;
}

std::vector<core::Header> headers_of(const RequestArguments& arguments) {
    if (arguments.headers.state == ObjectArgument::State::null) {
        throw null_argument("headers", "Use '{}' for no headers.");
    }
    std::vector<core::Header> headers;
    for (const pg::JsonMember& member : members_of(arguments.headers, "headers")) {
        core::Header header = header_of(member);
        if (core::find_header(headers, header.name) != nullptr) {
            throw pg::Error(kInvalid, "HTTP header \"" + header.name + "\" is given twice",
                            "Upper and lower case are the same in names of headers.");
        }
        headers.push_back(std::move(header));
    }
    if (arguments.body && core::find_header(headers, "Content-Type") == nullptr) {
        headers.push_back({"Content-Type", "application/json"});
    }
    return headers;
}

std::chrono::milliseconds timeout_of(const RequestArguments& arguments) {
    if (!arguments.timeout_milliseconds) throw null_argument("timeout_milliseconds");
    const int timeout = *arguments.timeout_milliseconds;
    if (timeout < 1 || timeout > kMaxTimeout) {
        throw pg::Error(kInvalid, "invalid timeout_milliseconds: " + std::to_string(timeout),
                        "It must be between 1 and " + std::to_string(kMaxTimeout) + ".");
    }
    return std::chrono::milliseconds(timeout);
}

}  // namespace

std::int64_t make_request(RequestArguments arguments) {
    pg::requests::NewRequest request;
    request.method = arguments.method;
    request.url = url_of(arguments).text();
    request.headers = headers_of(arguments);
    request.timeout = timeout_of(arguments);
    request.body = std::move(arguments.body);
    if (const std::string* key = core::find_header(request.headers, "Idempotency-Key")) {
        request.idempotency_key = *key;
    }
    return pg::requests::enqueue(request);
}

std::string url_with_parameters(const std::string& url,
                                const std::vector<std::string>& parameters) {
    core::Url longer = checked(core::Url::parse(url));
    for (const std::string& parameter : parameters) {
        longer = checked(longer.with_query(parameter));
    }
    return longer.text();
}

}  // namespace securatlas::app
