// The callbacks that libcurl calls while a transfer runs.
#include <unistd.h>

#include <algorithm>
#include <new>
#include <utility>

#include "peer_address.hpp"
#include "securatlas/core/text.hpp"
#include "transfer.hpp"

namespace securatlas::http {

namespace {

constexpr const char* kOutOfMemory = "Out of memory";
// For one body in one call of drive(), so that it does not delay all others.
constexpr std::size_t kMaxBytesInTurn = 1024 * 1024;

// True for transfer codings other than chunked. They were not asked for, and libcurl decodes them
// itself, without a limit on their size.
bool is_packed_by_transfer(const std::vector<core::Header>& headers) {
    return std::ranges::any_of(headers, [](const core::Header& header) {
        return core::equal_ignoring_case(header.name, "Transfer-Encoding") &&
               !core::equal_ignoring_case(header.value, "chunked") &&
               !core::equal_ignoring_case(header.value, "identity");
    });
}

}  // namespace

bool Transfer::address_is_blocked(const std::optional<core::IpAddress>& address) const {
    if (state_.options.egress == nullptr) return false;
    return !address || state_.options.egress->blocks(*address);
}

// Whether more bytes of the body have to wait, until other bodies have freed memory or until all
// others had their turn.
bool Transfer::must_pause(std::size_t size) {
    if (turn_ != state_.turn) received_in_turn_ = 0;
    turn_ = state_.turn;
    if (received_in_turn_ >= kMaxBytesInTurn) {
        state_.resting.emplace(ticket_, this);
        return true;
    }
    if (size == 0 || state_.budget.may_take(ticket_, size)) return false;
    state_.paused.emplace(ticket_, this);
    return true;
}

// Call after must_pause(). False: the body is longer than max_response_bytes.
bool Transfer::append(std::string_view data) {
    const std::string_view wanted = data.substr(0, request_->max_response_bytes - body_.size());
    if (!wanted.empty()) state_.budget.reserve(ticket_, wanted.size());
    received_in_turn_ += data.size();
    body_.append(wanted);
    truncated_ = wanted.size() < data.size();
    return !truncated_;
}

// The result of the write callback: the size, or CURL_WRITEFUNC_PAUSE, after which libcurl delivers
// the same bytes again. CURL_WRITEFUNC_ERROR ends the transfer when the body is too long: the rest
// is not needed, and the server might send it forever.
std::size_t Transfer::receive_body(std::string_view data) {
    if (!std::exchange(is_body_known_, true)) {
        if (is_packed_by_transfer(head_.headers())) {
            stop_ = {.error = curl_easy_strerror(CURLE_BAD_CONTENT_ENCODING)};
            return CURL_WRITEFUNC_ERROR;
        }
        const auto* coding = core::find_header(head_.headers(), "Content-Encoding");
        if (coding != nullptr && core::equal_ignoring_case(*coding, "gzip")) decoder_.emplace();
    }
    return decoder_ ? receive_packed(data) : receive_plain(data);
}

std::size_t Transfer::receive_plain(std::string_view data) {
    const std::size_t room = request_->max_response_bytes - body_.size();
    if (must_pause(std::min(room, data.size()))) return CURL_WRITEFUNC_PAUSE;
    return append(data) ? data.size() : CURL_WRITEFUNC_ERROR;
}

std::size_t Transfer::receive_packed(std::string_view data) {
    std::array<char, CURL_MAX_WRITE_SIZE> unpacked;
    for (GzipDecoder::Step step{0, unpacked.size()};
         consumed_ < data.size() || step.made == unpacked.size();) {
        const std::size_t room = request_->max_response_bytes - body_.size();
        if (must_pause(std::min(room, unpacked.size()))) return CURL_WRITEFUNC_PAUSE;
        step = decoder_->decode(data.substr(consumed_), unpacked);
        consumed_ += step.used;
        if (decoder_->has_failed()) {
            stop_ = {.error = curl_easy_strerror(CURLE_BAD_CONTENT_ENCODING)};
            return CURL_WRITEFUNC_ERROR;
        }
        if (!append({unpacked.data(), step.made})) return CURL_WRITEFUNC_ERROR;
    }
    consumed_ = 0;
    return data.size();
}

std::size_t Transfer::on_header(char* data, std::size_t size, std::size_t count,
                                void* transfer) noexcept {
    auto& self = *static_cast<Transfer*>(transfer);
    try {
        if (self.head_.add_line({data, size * count})) return size * count;
        self.stop_ = {.error = "Response headers are too large"};
    } catch (const std::bad_alloc&) {
        self.stop_ = {.error = kOutOfMemory};
    }
    return CURL_WRITEFUNC_ERROR;
}

std::size_t Transfer::on_body(char* data, std::size_t size, std::size_t count,
                              void* transfer) noexcept {
    auto& self = *static_cast<Transfer*>(transfer);
    try {
        return self.receive_body({data, size * count});
    } catch (const std::bad_alloc&) {
        self.stop_ = {.error = kOutOfMemory};
        return CURL_WRITEFUNC_ERROR;
    }
}

// If a name has several addresses, libcurl tries one after the other; refusing the blocked ones
// skips them.
curl_socket_t Transfer::on_open_socket(void* transfer, curlsocktype,
                                       curl_sockaddr* address) noexcept {
    auto& self = *static_cast<Transfer*>(transfer);
    try {
        if (self.address_is_blocked(ip_address(address->addr))) {
            self.blocked_ = ip_text(address->addr);
            return CURL_SOCKET_BAD;
        }
    } catch (const std::bad_alloc&) {
        return CURL_SOCKET_BAD;
    }
    self.opened_ = true;
    const curl_socket_t opened =
        socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (opened != CURL_SOCKET_BAD) self.state_.epoll.own(opened);
    return opened;
}

int Transfer::on_close_socket(void* epoll, curl_socket_t socket) noexcept {
    static_cast<Epoll*>(epoll)->disown(socket);
    return close(socket);
}

// Called again if libcurl finds the connection dead after sending and opens another one. Checks the
// address on a reused connection too, because the policy may have changed.
int Transfer::on_ready_to_send(void* transfer, char* remote_ip, char*, int, int) noexcept {
    auto& self = *static_cast<Transfer*>(transfer);
    try {
        if (self.address_is_blocked(core::IpAddress::parse(remote_ip))) {
            self.blocked_ = remote_ip;
            self.opened_ = false;
            return CURL_PREREQFUNC_ABORT;
        }
        if (self.sends_++ == 0 || self.request_->may_resend) return CURL_PREREQFUNC_OK;
        self.stop_ = {.error = curl_easy_strerror(CURLE_GOT_NOTHING)};
    } catch (const std::bad_alloc&) {
    }
    return CURL_PREREQFUNC_ABORT;
}

}  // namespace securatlas::http
