#include "transfer.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <string_view>
#include <utility>

#include "failure.hpp"
#include "securatlas/core/header_rules.hpp"

namespace securatlas::http {

namespace {

constexpr std::chrono::milliseconds kMinTimeout{1};
constexpr std::chrono::milliseconds kMaxTimeout{3'600'000};

void append_line(StringList& list, const std::string& line) {
    curl_slist* longer = curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) throw std::bad_alloc();
    static_cast<void>(list.release());
    list.reset(longer);
}

// libcurl takes "Name:" as an order to leave a header of its own out, and "Name;" as an empty one.
std::string header_line(const core::Header& header) {
    const bool is_blank = header.value.find_first_not_of(" \t") == std::string::npos;
    return is_blank ? header.name + ";" : header.name + ": " + header.value;
}

}  // namespace

template <class Value>
void Transfer::set(CURLoption option, Value value) {
    if (setup_ == CURLE_OK) setup_ = curl_easy_setopt(easy_.get(), option, value);
}

// The options that are the same for all requests.
Transfer::Transfer(const std::string& user_agent) : easy_(curl_easy_init()) {
    if (!easy_) throw std::bad_alloc();
    set(CURLOPT_PRIVATE, static_cast<void*>(this));
    set(CURLOPT_ERRORBUFFER, error_buffer_.data());
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, static_cast<void*>(this));
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set(CURLOPT_WRITEDATA, static_cast<void*>(this));
    set(CURLOPT_PREREQFUNCTION, &Transfer::on_ready_to_send);
    set(CURLOPT_PREREQDATA, static_cast<void*>(this));

    set(CURLOPT_NOSIGNAL, 1L);
    // Without it, a transfer that times out in the resolver waits for its thread.
    set(CURLOPT_QUICK_EXIT, 1L);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_PROXY, "");
    set(CURLOPT_SSL_VERIFYPEER, 1L);
    set(CURLOPT_SSL_VERIFYHOST, 2L);
    set(CURLOPT_TCP_NODELAY, 1L);
    set(CURLOPT_ACCEPT_ENCODING, "");
    set(CURLOPT_USERAGENT, user_agent.c_str());
    // A libcurl that was built without HTTP/2 refuses it, and speaks HTTP/1.1.
    curl_easy_setopt(easy_.get(), CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_2TLS));
}

CURLcode Transfer::prepare(Request request) {
    request_ = std::move(request);
    request_.timeout = std::clamp(request_.timeout, kMinTimeout, kMaxTimeout);
    error_buffer_.front() = '\0';
    if (setup_ != CURLE_OK) return setup_;
    const auto timeout = static_cast<long>(request_.timeout.count());
    set(CURLOPT_URL, request_.url.c_str());
    set(CURLOPT_TIMEOUT_MS, timeout);
    // libcurl's own limit for this step would end a request before its time.
    set(CURLOPT_CONNECTTIMEOUT_MS, timeout);
    set_method();
    set_headers();
    return std::exchange(setup_, CURLE_OK);
}

// With a method that expects a body, one of zero bytes is sent, too, so that the server sees a
// Content-Length.
bool Transfer::sends_body() const {
    switch (request_.method) {
        case core::Method::post:
        case core::Method::put:
        case core::Method::patch:
            return true;
        case core::Method::get:
        case core::Method::del:
        case core::Method::options:
            return !request_.body.empty();
        case core::Method::head:
            return false;
    }
    return false;
}

// The order matters: each of these options undoes others, and so also what the former request set.
void Transfer::set_method() {
    set(CURLOPT_NOBODY, 0L);
    set(CURLOPT_HTTPGET, 1L);
    set(CURLOPT_CUSTOMREQUEST, static_cast<const char*>(nullptr));
    if (request_.method == core::Method::head) {
        set(CURLOPT_NOBODY, 1L);
        return;
    }
    if (sends_body()) {
        set(CURLOPT_POST, 1L);
        set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request_.body.size()));
        set(CURLOPT_POSTFIELDS, request_.body.data());
    }
    const bool is_implied =
        request_.method == (sends_body() ? core::Method::post : core::Method::get);
    if (!is_implied) set(CURLOPT_CUSTOMREQUEST, core::method_name(request_.method).data());
}

void Transfer::set_headers() {
    StringList lines;
    append_line(lines, "Expect:");
    for (const core::Header& header : request_.headers) {
        if (!core::is_framing_header(header.name)) append_line(lines, header_line(header));
    }
    // libcurl would call a body a form.
    if (sends_body() && core::find_header(request_.headers, "Content-Type") == nullptr) {
        append_line(lines, "Content-Type:");
    }
    set(CURLOPT_HTTPHEADER, lines.get());
    header_lines_ = std::move(lines);
}

Completed Transfer::finish(CURLcode code) {
    Completed completed = code == CURLE_OK ? success() : failure(code);
    completed.id = request_.id;
    curl_off_t microseconds = 0;
    curl_easy_getinfo(easy_.get(), CURLINFO_TOTAL_TIME_T, &microseconds);
    completed.duration = core::Duration(microseconds);
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
    completed.truncated = truncated_;
    if (const auto* type = core::find_header(completed.headers, "Content-Type")) {
        completed.content_type = *type;
    }
    const bool has_retry_after = core::find_header(completed.headers, "Retry-After") != nullptr;
    completed.outcome = core::outcome_of_status(*completed.status_code, has_retry_after);
    return completed;
}

Completed Transfer::failure(CURLcode code) {
    Completed completed;
    completed.outcome = outcome_of_failure(code, sends_ > 0);
    completed.timed_out = code == CURLE_OPERATION_TIMEDOUT;
    if (stopped_by_ != nullptr) {
        completed.error = stopped_by_;
        return completed;
    }
    completed.error = completed.timed_out ? timeout_text(easy_.get(), request_.timeout)
                                          : curl_easy_strerror(code);
    completed.error_detail = error_buffer_.data();
    return completed;
}

void Transfer::drop() {
    curl_easy_setopt(easy_.get(), CURLOPT_HTTPHEADER, nullptr);
    curl_easy_setopt(easy_.get(), CURLOPT_POSTFIELDS, nullptr);
    header_lines_.reset();
    request_ = Request{};
    static_cast<void>(head_.take_headers());
    body_ = std::string();
    truncated_ = false;
    sends_ = 0;
    stopped_by_ = nullptr;
}

bool Transfer::append(const char* data, std::size_t size) {
    const std::size_t room = request_.max_response_bytes - body_.size();
    truncated_ = truncated_ || size > room;
    try {
        body_.append(data, std::min(size, room));
    } catch (const std::bad_alloc&) {
        return false;
    }
    return true;
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count,
                                void* transfer) noexcept {
    auto& self = *static_cast<Transfer*>(transfer);
    try {
        if (self.head_.add_line({data, size * count})) return size * count;
        self.stopped_by_ = "Response headers are too large";
    } catch (const std::bad_alloc&) {
        self.stopped_by_ = curl_easy_strerror(CURLE_OUT_OF_MEMORY);
    }
    return CURL_WRITEFUNC_ERROR;
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count,
                              void* transfer) noexcept {
    auto& self = *static_cast<Transfer*>(transfer);
    if (self.append(data, size * count)) return size * count;
    self.stopped_by_ = curl_easy_strerror(CURLE_OUT_OF_MEMORY);
    return CURL_WRITEFUNC_ERROR;
}

// Called again if libcurl found the connection dead after sending, and has opened another one.
int Transfer::on_ready_to_send(void* transfer, char*, char*, int, int) noexcept {
    auto& self = *static_cast<Transfer*>(transfer);
    if (self.sends_++ == 0 || self.request_.may_resend) return CURL_PREREQFUNC_OK;
    self.stopped_by_ = curl_easy_strerror(CURLE_GOT_NOTHING);
    return CURL_PREREQFUNC_ABORT;
}

}  // namespace securatlas::http
