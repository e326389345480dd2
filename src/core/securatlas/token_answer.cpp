#include "securatlas/core/securatlas/token_answer.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>

namespace securatlas::core {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 32;
constexpr double kTenYears = 315'360'000;  // seconds

// The error codes of RFC 6749 and OpenID Connect that a token endpoint may return.
constexpr std::array<std::string_view, 13> kErrors = {
    "invalid_request",         "invalid_client", "invalid_grant",        "unauthorized_client",
    "unsupported_grant_type",  "invalid_scope",  "access_denied",        "server_error",
    "temporarily_unavailable", "slow_down",      "interaction_required", "login_required",
    "consent_required",
};

// RFC 6749, A.12 and A.17: 1*VSCHAR.
bool is_token(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

std::optional<double> number_of(std::string_view text) {
    double number = 0;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
    if (end != text.data() + text.size()) return std::nullopt;
    if (error == std::errc::result_out_of_range) return kTenYears;
    if (error != std::errc()) return std::nullopt;
    return number;
}

// Collects the members of the outermost object that are needed, and nothing else, so that a
// response costs no memory beyond its own, however deeply it is nested.
class Reader : public nlohmann::json_sax<Json> {
  public:
    std::optional<std::string> access_token;
    std::optional<std::string> refresh_token;
    std::optional<std::string> error;
    std::optional<double> expires_in;

    bool null() override { return read_value(); }
    bool boolean(bool) override { return read_value(); }
    bool number_integer(number_integer_t value) override {
        return read_value(static_cast<double>(value));
    }
    bool number_unsigned(number_unsigned_t value) override {
        return read_value(static_cast<double>(value));
    }
    bool number_float(number_float_t value, const string_t&) override { return read_value(value); }
    bool binary(binary_t&) override { return false; }  // there is none in JSON
    bool string(string_t& value) override {
        if (depth_ != 1) return depth_ != 0;
        if (key_ == "access_token")
            keep_token(access_token, value);
        else if (key_ == "refresh_token")
            keep_token(refresh_token, value);
        else if (key_ == "expires_in")
            expires_in = number_of(value);
        else if (key_ == "error")
            error = std::move(value);
        return true;
    }
    bool key(string_t& value) override {
        if (depth_ == 1) key_ = std::move(value);
        return true;
    }
    bool start_object(std::size_t) override {
        if (depth_ > 0) (void)read_value();
        return ++depth_ <= kMaxDepth;
    }
    bool end_object() override {
        --depth_;
        return true;
    }
    bool start_array(std::size_t) override { return read_value() && ++depth_ <= kMaxDepth; }
    bool end_array() override {
        --depth_;
        return true;
    }
    bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
        return false;
    }

  private:
    // A value that is not a string; false if it is the outermost one, which must be an object.
    bool read_value(std::optional<double> number = std::nullopt) {
        if (depth_ != 1) return depth_ != 0;
        if (key_ == "access_token") access_token.reset();
        if (key_ == "refresh_token") refresh_token.reset();
        if (key_ == "error") error = "";
        if (key_ == "expires_in") expires_in = number;
        return true;
    }

    static void keep_token(std::optional<std::string>& token, std::string& value) {
        token.reset();
        if (is_token(value)) token = std::move(value);
    }

    int depth_ = 0;
    std::string key_;
};

std::chrono::microseconds lifetime_of(std::optional<double> seconds) {
    if (!seconds || !(*seconds > 0)) return TokenAnswer{}.lifetime;
    const double microseconds = std::min(*seconds, kTenYears) * 1e6;
    return std::chrono::microseconds(
        std::max<std::int64_t>(1, static_cast<std::int64_t>(microseconds)));
}

std::string error_of(const std::optional<std::string>& error) {
    if (!error) return {};
    const bool is_known = std::find(kErrors.begin(), kErrors.end(), *error) != kErrors.end();
    return is_known ? *error : "an unknown error";
}

}  // namespace

TokenAnswer read_token_answer(std::string_view body) {
    Reader reader;
    TokenAnswer answer;
    if (!Json::sax_parse(body.begin(), body.end(), &reader)) {
        answer.error = "no JSON object";
        return answer;
    }
    answer.access_token = std::move(reader.access_token);
    answer.refresh_token = std::move(reader.refresh_token);
    answer.lifetime = lifetime_of(reader.expires_in);
    answer.error = error_of(reader.error);
    if (!answer.access_token && answer.error.empty()) answer.error = "no access token";
    return answer;
}

}  // namespace securatlas::core
