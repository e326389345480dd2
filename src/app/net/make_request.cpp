#include "securatlas/app/net/make_request.hpp"

#include "securatlas/core/net/header_rules.hpp"
#include "securatlas/core/net/secret_reference.hpp"
#include "securatlas/core/net/url.hpp"
#include "securatlas/core/net/webhook_signature.hpp"
#include "securatlas/core/text.hpp"
#include "securatlas/pg/border/encoding.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/net/requests.hpp"
#include "securatlas/pg/net/secrets.hpp"
#include "securatlas/pg/net/settings.hpp"

namespace securatlas::app {
namespace {

constexpr const char* kNull = "22004";     // null_value_not_allowed
constexpr const char* kInvalid = "22023";  // invalid_parameter_value
constexpr int kMaxTimeout = 3'600'000;
constexpr int kMaxAttempts = 1000;
constexpr std::size_t kMaxKeyBytes = 255;
constexpr core::Duration kMaxExpiry = std::chrono::hours(24 * 3653);

pg::Error null_argument(const char* name) {
    return pg::Error(kNull, std::string(name) + " cannot be NULL");
}

// The error for a required argument that is NULL. It is the same as in pg_net, where a constraint
// of the table raises it.
pg::Error null_in_queue(const char* column) {
    return pg::Error("23502",  // not_null_violation
                     "null value in column \"" + std::string(column) +
                         "\" of relation \"http_request_queue\" violates not-null constraint",
                     "Argument \"" + std::string(column) + "\" cannot be NULL.");
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

// In UTF-8, as texts are percent-encoded.
std::string utf8(const std::string& text) {
    if (auto converted = pg::to_utf8(text)) return std::move(*converted);
    throw pg::Error("22P05", "parameter or form field cannot be converted to UTF-8");
}

core::Url url_of(const RequestArguments& arguments) {
    if (!arguments.url) throw null_in_queue("url");
    core::Url url = checked(core::Url::parse(*arguments.url));
    for (const pg::JsonMember& member : members_of(arguments.params, "params")) {
        url = checked(url.with_parameter(utf8(member.name), utf8(member.value)));
    }
    return url;
}

core::Header header_of(const pg::JsonMember& member) {
    using Kind = pg::JsonMember::Kind;
    core::Header header{member.name, member.value};
    if (const auto error = core::check_header(header)) {
        throw pg::Error(kInvalid, error->message, error->detail);
    }
    check_signature(header);
    if (member.kind == Kind::null || member.kind == Kind::nested) {
        throw pg::Error(kInvalid, "invalid value of HTTP header \"" + member.name + "\"",
                        "It must be a string, a number or a boolean.");
    }
    return header;
}

std::vector<core::Header> headers_of(const RequestArguments& arguments) {
    std::vector<core::Header> headers;
    for (const pg::JsonMember& member : members_of(arguments.headers, "headers")) {
        core::Header header = header_of(member);
        if (core::find_header(headers, header.name) != nullptr) {
            throw pg::Error(kInvalid, "HTTP header \"" + header.name + "\" is given more than once",
                            "Names of headers are not case-sensitive.");
        }
        headers.push_back(std::move(header));
    }
    return headers;
}

// nullptr: this kind of body has no default.
const char* content_type_of(BodyArgument::Kind kind) {
    switch (kind) {
        case BodyArgument::Kind::none:
        case BodyArgument::Kind::bytes:
            return nullptr;
        case BodyArgument::Kind::json:
            return "application/json";
        case BodyArgument::Kind::form:
            return "application/x-www-form-urlencoded";
    }
    return nullptr;
}

// Values may be strings, numbers and booleans. Adds the names of the secrets in them to `secrets`.
std::string form_of(const ObjectArgument& form, std::vector<std::string>& secrets) {
    using Kind = pg::JsonMember::Kind;
    if (form.state == ObjectArgument::State::null) throw null_argument("form");
    std::string encoded;
    for (const pg::JsonMember& member : members_of(form, "form")) {
        if (member.kind == Kind::null || member.kind == Kind::nested) {
            throw pg::Error(kInvalid, "invalid value of form field \"" + member.name + "\"",
                            "It must be a string, a number or a boolean.");
        }
        if (!encoded.empty()) encoded += '&';
        encoded += core::percent_encode(utf8(member.name)) + '=' +
                   core::percent_encode(utf8(member.value));
        for (std::string& name : core::secret_names(member.value))
            secrets.push_back(std::move(name));
    }
    return encoded;
}

std::optional<std::string> body_of(BodyArgument& body, std::vector<std::string>& secrets) {
    if (body.kind == BodyArgument::Kind::none) return std::nullopt;
    std::string text =
        body.kind == BodyArgument::Kind::form ? form_of(body.form, secrets) : std::move(body.text);
    if (text.size() > pg::requests::kMaxBodyBytes) {
        throw pg::Error("54000", "body of the HTTP request is too long",
                        "It has " + std::to_string(text.size()) + " bytes; at most " +
                            std::to_string(pg::requests::kMaxBodyBytes) + " are allowed.");
    }
    return text;
}

std::chrono::milliseconds timeout_of(const RequestArguments& arguments) {
    if (!arguments.timeout_milliseconds) throw null_in_queue("timeout_milliseconds");
    const int timeout = *arguments.timeout_milliseconds;
    if (timeout < 1 || timeout > kMaxTimeout) {
        throw pg::Error(kInvalid, "invalid timeout_milliseconds: " + std::to_string(timeout),
                        "It must be between 1 and " + std::to_string(kMaxTimeout) + ".");
    }
    return std::chrono::milliseconds(timeout);
}

core::Method method_of(const RequestArguments& arguments) {
    if (!arguments.method) throw null_argument("method");
    if (const auto method = core::parse_method(*arguments.method)) return *method;
    throw pg::Error(kInvalid, "unknown HTTP method \"" + *arguments.method + "\"", "",
                    "Use one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS.");
}

void check_destination(const core::Url& url, const std::vector<core::Header>& headers) {
    const auto refusal = pg::egress_policy()->check(url, headers);
    if (!refusal) return;
    const bool is_malformed = refusal->reason == core::Refusal::Reason::malformed;
    throw pg::Error(is_malformed ? kInvalid : "42501", refusal->message, refusal->detail);
}

// Separates the headers that hold credentials, which will be sealed.
void set_headers(pg::requests::NewRequest& request, const RequestArguments& arguments,
                 std::vector<core::Header> headers) {
    const char* type = content_type_of(arguments.body.kind);
    if (type != nullptr && core::find_header(headers, "Content-Type") == nullptr) {
        headers.push_back({"Content-Type", type});
    }
    if (const std::string* key = core::find_header(headers, core::kIdempotencyKey)) {
        request.idempotency_key = *key;
    }
    for (core::Header& header : headers) {
        for (std::string& name : core::secret_names(header.value)) {
            request.header_secrets.push_back(std::move(name));
        }
        auto& kind =
            core::is_sensitive_header(header.name) ? request.sensitive_headers : request.headers;
        kind.push_back(std::move(header));
    }
}

void check_secrets(const pg::requests::NewRequest& request) {
    std::vector<std::string> names = request.header_secrets;
    names.insert(names.end(), request.form_secrets.begin(), request.form_secrets.end());
    if (names.empty()) return;
    pg::secrets::check_usable(names, request.created_by.value_or(pg::current_role()));
}

void set_attempts(pg::requests::NewRequest& request, const RequestArguments& arguments) {
    if (arguments.max_attempts) {
        if (*arguments.max_attempts < 1 || *arguments.max_attempts > kMaxAttempts) {
            throw pg::Error(kInvalid,
                            "invalid max_attempts: " + std::to_string(*arguments.max_attempts),
                            "It must be between 1 and " + std::to_string(kMaxAttempts) + ".");
        }
        request.max_attempts = arguments.max_attempts;
    }
    if (arguments.retry) {
        const auto retry = core::parse_retry_mode(*arguments.retry);
        if (!retry) {
            throw pg::Error(kInvalid, "invalid retry: \"" + *arguments.retry + "\"", "",
                            "Use one of never, unsent, idempotent, always.");
        }
        request.retry = *retry;
    }
    if (!arguments.idempotency_key) return;
    const std::string& key = *arguments.idempotency_key;
    const auto error = core::check_header({core::kIdempotencyKey, key});
    if (error || key.empty() || key.size() > kMaxKeyBytes) {
        throw pg::Error(kInvalid, "invalid idempotency_key",
                        "It must have 1 to " + std::to_string(kMaxKeyBytes) +
                            " characters, none of which is a control character.");
    }
    if (!request.idempotency_key.empty() && request.idempotency_key != key) {
        throw pg::Error(kInvalid, "idempotency_key and HTTP header \"Idempotency-Key\" differ");
    }
    request.idempotency_key = key;
}

void set_times(pg::requests::NewRequest& request, const RequestArguments& arguments) {
    if (arguments.not_before) {
        if (*arguments.not_before == core::kNever || *arguments.not_before == core::kLongAgo) {
            throw pg::Error("22008", "not_before must be finite");
        }
        request.not_before = arguments.not_before;
    }
    if (!arguments.expires_in) return;
    if (*arguments.expires_in <= core::Duration(0) || *arguments.expires_in > kMaxExpiry) {
        throw pg::Error("22008", "invalid expires_in",
                        "It must be more than zero and at most 10 years.");
    }
    if (arguments.not_before && *arguments.not_before >= pg::now() + *arguments.expires_in) {
        throw pg::Error(kInvalid, "the request would expire before it may be sent",
                        "The time of not_before is later than expires_in from now.");
    }
    request.expires_in = arguments.expires_in;
}

void set_response_rules(pg::requests::NewRequest& request, const RequestArguments& arguments) {
    if (!arguments.store_response) throw null_argument("store_response");
    const auto store = pg::requests::parse_store_response(*arguments.store_response);
    if (!store) {
        throw pg::Error(kInvalid, "invalid store_response: \"" + *arguments.store_response + "\"",
                        "", "Use one of full, headers, status, sealed.");
    }
    request.store_response = *store;
    if (!arguments.on_response) return;
    const pg::CallbackFunction function =
        pg::check_callback(*arguments.on_response, request.created_by.value_or(pg::current_role()));
    request.on_response = function.signature;
    request.on_response_owner = function.owner;
}

}  // namespace

void check_signature(const core::Header& header) {
    if (!core::equal_ignoring_case(header.name, core::kWebhookSignature)) return;
    const auto names = core::secret_names(header.value);
    if (names.empty() || header.value == "{{secret:" + names.front() + "}}") return;
    throw pg::Error(kInvalid, "invalid value of HTTP header \"" + header.name + "\"",
                    "The secret that signs the request must be all of it.",
                    "For example: {\"webhook-signature\": \"{{secret:name}}\"}.");
}

std::int64_t make_request(RequestArguments arguments) {
    pg::requests::NewRequest request;
    request.method = method_of(arguments);
    const core::Url url = url_of(arguments);
    request.url = url.text();
    request.host = url.origin();
    request.timeout = timeout_of(arguments);
    request.created_by = arguments.created_by;
    std::vector<core::Header> headers = headers_of(arguments);
    check_destination(url, headers);
    set_headers(request, arguments, std::move(headers));
    request.body = body_of(arguments.body, request.form_secrets);
    check_secrets(request);
    set_attempts(request, arguments);
    set_times(request, arguments);
    set_response_rules(request, arguments);
    return pg::requests::enqueue(request);
}

std::string url_encoded(const std::string& text) { return core::percent_encode(utf8(text)); }

std::string url_with_parameters(const std::string& url,
                                const std::vector<std::string>& parameters) {
    core::Url longer = checked(core::Url::parse(url));
    for (const std::string& parameter : parameters) {
        longer = checked(longer.with_query(parameter));
    }
    return longer.text();
}

}  // namespace securatlas::app
