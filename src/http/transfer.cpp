#include "transfer.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string_view>
#include <utility>

#include "failure.hpp"
#include "redirect.hpp"
#include "securatlas/core/net/header_rules.hpp"
#include "securatlas/core/net/url.hpp"

namespace securatlas::http {

namespace {

constexpr std::chrono::milliseconds kMinTimeout{1};
constexpr std::chrono::milliseconds kMaxTimeout{3'600'000};
constexpr int kMaxHops = 10;
// No libcurl asks ("Expect: 100-continue") before it sends a shorter body.
constexpr std::size_t kNeverAsked = 1024;

// To libcurl "Name:" means to leave out a header of its own, and "Name;" a header with an empty
// value.
void add_header(HeaderLines& lines, const core::Header& header) {
    const bool is_blank = header.value.find_first_not_of(" \t") == std::string::npos;
    if (is_blank) {
        lines.add({header.name, ";"});
    } else {
        lines.add({header.name, ": ", header.value});
    }
}

}  // namespace

template <class Value>
void Transfer::set(CURLoption option, Value value) {
    if (setup_ == CURLE_OK) setup_ = curl_easy_setopt(easy_.get(), option, value);
}

// The options that are the same for all requests.
Transfer::Transfer(EngineState& state)
    : state_(state),
      user_agent_(state.options.user_agent),
      ca_file_(state.options.ca_file),
      url_(curl_url()),
      easy_(curl_easy_init()) {
    if (!url_ || !easy_) throw std::bad_alloc();
    set(CURLOPT_CURLU, url_.get());
    set(CURLOPT_PRIVATE, static_cast<void*>(this));
    set(CURLOPT_ERRORBUFFER, error_buffer_.data());
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, static_cast<void*>(this));
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set(CURLOPT_WRITEDATA, static_cast<void*>(this));
    set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::on_open_socket);
    set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
    // A connection may outlive the transfer that has opened it.
    set(CURLOPT_CLOSESOCKETFUNCTION, &Transfer::on_close_socket);
    set(CURLOPT_CLOSESOCKETDATA, static_cast<void*>(&state_.epoll));
    set(CURLOPT_PREREQFUNCTION, &Transfer::on_ready_to_send);
    set(CURLOPT_PREREQDATA, static_cast<void*>(this));

    set(CURLOPT_NOSIGNAL, 1L);
    // Without this, a transfer that times out in the resolver waits for the resolver's thread.
    set(CURLOPT_QUICK_EXIT, 1L);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    set(CURLOPT_FOLLOWLOCATION, 0L);
    // Else it would look for one in the environment, for each request.
    set(CURLOPT_PROXY, "");
    set(CURLOPT_NOPROXY, "*");
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    set(CURLOPT_TCP_NODELAY, 1L);
    set(CURLOPT_HTTP_CONTENT_DECODING, 0L);
    set(CURLOPT_SHARE, state_.share.get());
    if (!ca_file_.empty()) set(CURLOPT_CAINFO, ca_file_.c_str());
    // A libcurl built without HTTP/2 rejects this option and uses HTTP/1.1.
    curl_easy_setopt(easy_.get(), CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
}

bool Transfer::is_reusable() const {
    return user_agent_ == state_.options.user_agent && ca_file_ == state_.options.ca_file;
}

CURLcode Transfer::prepare(Request request) {
    request_.emplace(std::move(request));
    request_->timeout = std::clamp(request_->timeout, kMinTimeout, kMaxTimeout);
    ticket_ = state_.budget.new_ticket();
    started_at_ = Clock::now();
    return prepare_hop();
}

CURLcode Transfer::prepare_hop() {
    error_buffer_.fill(0);
    if (setup_ != CURLE_OK) return setup_;
    if (!host_is_allowed()) return CURLE_ABORTED_BY_CALLBACK;
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(request_->timeout - earlier_).count();
    if (left <= 0) return CURLE_OPERATION_TIMEDOUT;
    set_url();
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(left));
    // Otherwise libcurl's default limit for connecting could be shorter than the request's timeout.
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(left));
    // Wait for the first connection to show whether it can multiplex (HTTP/2), rather than open one
    // for each request.
    set(CURLOPT_PIPEWAIT, request_->url.scheme() == core::UrlScheme::https ? 1L : 0L);
    set_method();
    set_headers();
    return std::exchange(setup_, CURLE_OK);
}

bool Transfer::redirect() {
    const std::string* location = core::find_header(head_.headers(), "Location");
    if (location == nullptr || hops_ == kMaxHops) return false;
    long status = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
    const auto mode = state_.options.follow_redirects;
    if (!http::redirect(*request_, static_cast<int>(status), *location, mode)) return false;
    ++hops_;
    earlier_ = elapsed();
    forget_response();
    return true;
}

// Clears what the response of one hop has left.
void Transfer::forget_response() {
    state_.budget.release(ticket_);
    state_.paused.erase(ticket_);
    state_.resting.erase(ticket_);
    static_cast<void>(head_.take_headers());
    body_ = std::string();
    decoder_.reset();
    is_body_known_ = false;
    consumed_ = 0;
    truncated_ = false;
    sends_ = 0;
    opened_ = false;
    blocked_.clear();
}

core::Duration Transfer::elapsed() const {
    return std::chrono::duration_cast<core::Duration>(Clock::now() - started_at_);
}

bool Transfer::host_is_allowed() {
    if (state_.options.egress == nullptr) return true;
    const auto refusal = state_.options.egress->check(request_->url, request_->headers);
    if (!refusal) return true;
    stop_ = {
        .error = refusal->message, .detail = refusal->detail, .outcome = core::Outcome::invalid};
    return false;
}

// For a method that has a body, even an empty body is sent, so that there is a Content-Length.
bool Transfer::sends_body() const {
    switch (request_->method) {
        case core::Method::post:
        case core::Method::put:
        case core::Method::patch:
            return true;
        case core::Method::get:
        case core::Method::del:
        case core::Method::options:
            return !request_->body.empty();
        case core::Method::head:
            return false;
    }
    return false;
}

// Most requests have the URL of an earlier one.
void Transfer::set_url() {
    const std::string& text = request_->url.text();
    if (url_text_ == text) return;
    url_text_.clear();
    const CURLUcode code =
        curl_url_set(url_.get(), CURLUPART_URL, text.c_str(), CURLU_DISALLOW_USER);
    if (code == CURLUE_OUT_OF_MEMORY) throw std::bad_alloc();
    if (code == CURLUE_OK) {
        url_text_ = text;
        return;
    }
    setup_ = CURLE_URL_MALFORMAT;
    std::string_view(curl_url_strerror(code)).copy(error_buffer_.data(), error_buffer_.size() - 1);
}

// The order matters: each of these options resets others, including those of the previous request.
void Transfer::set_method() {
    set(CURLOPT_NOBODY, 0L);
    set(CURLOPT_HTTPGET, 1L);
    set(CURLOPT_CUSTOMREQUEST, static_cast<const char*>(nullptr));
    if (request_->method == core::Method::head) {
        set(CURLOPT_NOBODY, 1L);
        return;
    }
    if (sends_body()) {
        set(CURLOPT_POST, 1L);
        set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_->body.size()));
        set(CURLOPT_POSTFIELDS, request_->body.data());
    }
    const bool is_implied =
        request_->method == (sends_body() ? core::Method::post : core::Method::get);
    if (!is_implied) set(CURLOPT_CUSTOMREQUEST, core::method_name(request_->method).data());
}

void Transfer::set_headers() {
    header_lines_.clear();
    // libcurl prints each line byte by byte, that of CURLOPT_USERAGENT twice.
    const bool has_agent = core::find_header(request_->headers, "User-Agent") != nullptr;
    if (!has_agent && !user_agent_.empty()) header_lines_.add({"User-Agent: ", user_agent_});
    // So that it sends a longer body without asking.
    if (request_->body.size() > kNeverAsked) header_lines_.add({"Expect:"});
    if (core::find_header(request_->headers, "Accept-Encoding") == nullptr) {
        header_lines_.add({"Accept-Encoding: gzip"});
    }
    for (const core::Header& header : request_->headers) {
        if (!core::is_framing_header(header.name)) add_header(header_lines_, header);
    }
    // Otherwise libcurl adds the Content-Type of a form.
    if (sends_body() && core::find_header(request_->headers, "Content-Type") == nullptr) {
        header_lines_.add({"Content-Type:"});
    }
    set(CURLOPT_HTTPHEADER, header_lines_.list());
}

bool Transfer::is_answered(CURLcode code) const {
    if (code == CURLE_WRITE_ERROR) return truncated_;
    return code == CURLE_OK && (!decoder_ || decoder_->is_complete());
}

Completed Transfer::finish(CURLcode code) {
    if (code == CURLE_OK && !is_answered(code)) code = CURLE_BAD_CONTENT_ENCODING;
    Completed completed = is_answered(code) ? success() : failure(code);
    completed.id = request_->id;
    curl_off_t microseconds = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_TOTAL_TIME_T, &microseconds);
    completed.duration = hops_ > 0 ? elapsed() : core::Duration(microseconds);
    drop();
    return completed;
}

Completed Transfer::success() {
    Completed completed;
    long status = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_RESPONSE_CODE, &status);
    completed.status_code = static_cast<int>(status);
    completed.headers = head_.take_headers();
    completed.body = std::move(body_);
    state_.budget.complete(ticket_);
    completed.truncated = truncated_;
    if (const auto* type = core::find_header(completed.headers, "Content-Type")) {
        completed.content_type = *type;
    }
    if (core::find_header(completed.headers, "Retry-After") != nullptr) {
        curl_off_t seconds = 0;
        curl_easy_getinfo(easy_.get(), CURLINFO_RETRY_AFTER, &seconds);
        completed.retry_after = std::chrono::seconds(seconds);
    }
    completed.outcome =
        core::outcome_of_status(*completed.status_code, completed.retry_after.has_value());
    return completed;
}

Completed Transfer::failure(CURLcode code) {
    if (!blocked_.empty() && !opened_) {
        stop_ = {.error = "address is blocked by net.blocked_networks", .detail = blocked_};
        if (sends_ == 0) stop_->outcome = core::Outcome::invalid;
    }
    Completed completed;
    // A server that answered with a redirect may have processed the request.
    completed.outcome = outcome_of_failure(code, sends_ > 0 || hops_ > 0);
    completed.timed_out = code == CURLE_OPERATION_TIMEDOUT;
    if (stop_) {
        completed.outcome = stop_->outcome.value_or(completed.outcome);
        completed.error = stop_->error;
        completed.error_detail = stop_->detail;
        return completed;
    }
    completed.error = completed.timed_out
                          ? timeout_text(easy_.get(), phase(), request_->timeout, earlier_)
                          : curl_easy_strerror(code);
    completed.error_detail = error_buffer_.data();
    return completed;
}

// opened_ is false on a reused connection, which opens no socket.
Phase Transfer::phase() const {
    if (sends_ > 0) return Phase::exchanging;
    return opened_ ? Phase::connecting : Phase::resolving;
}

void Transfer::drop() {
    curl_easy_setopt(easy_.get(), CURLOPT_HTTPHEADER, nullptr);
    curl_easy_setopt(easy_.get(), CURLOPT_POSTFIELDS, nullptr);
    header_lines_.clear();
    request_.reset();
    earlier_ = core::Duration(0);
    hops_ = 0;
    forget_response();
    stop_.reset();
}

}  // namespace securatlas::http
