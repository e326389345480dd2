// What libcurl calls while a transfer runs.
#include <algorithm>
#include <new>

#include "peer_address.hpp"
#include "transfer.hpp"

namespace securatlas::http {

namespace {

constexpr const char* kOutOfMemory = "Out of memory";

}  // namespace

bool Transfer::address_is_blocked(const std::optional<core::IpAddress>& address) const {
    if (state_.options.egress == nullptr) return false;
    return !address || state_.options.egress->blocks(*address);
}

// What a write callback returns: the size, or CURL_WRITEFUNC_PAUSE; libcurl then brings the same
// bytes again.
std::size_t Transfer::append(const char* data, std::size_t size) {
    const std::size_t room = request_.max_response_bytes - body_.size();
    const std::size_t taken = std::min(size, room);
    if (taken > 0 && !state_.budget.take(ticket_, taken)) {
        state_.paused.emplace(ticket_, this);
        return CURL_WRITEFUNC_PAUSE;
    }
    truncated_ = truncated_ || size > room;
    body_.append(data, taken);
    return size;
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
        return self.append(data, size * count);
    } catch (const std::bad_alloc&) {
        self.stop_ = {.error = kOutOfMemory};
        return CURL_WRITEFUNC_ERROR;
    }
}

// A name may have several addresses, and libcurl tries one after the other: those that are blocked
// are passed over.
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
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

// Called again if libcurl found the connection dead after sending, and has opened another one. On a
// connection that was kept, the policy may have changed.
int Transfer::on_ready_to_send(void* transfer, char* remote_ip, char*, int, int) noexcept {
    auto& self = *static_cast<Transfer*>(transfer);
    try {
        if (self.address_is_blocked(core::IpAddress::parse(remote_ip))) {
            self.blocked_ = remote_ip;
            self.opened_ = false;
            return CURL_PREREQFUNC_ABORT;
        }
        if (self.sends_++ == 0 || self.request_.may_resend) return CURL_PREREQFUNC_OK;
        self.stop_ = {.error = curl_easy_strerror(CURLE_GOT_NOTHING)};
    } catch (const std::bad_alloc&) {
    }
    return CURL_PREREQFUNC_ABORT;
}

}  // namespace securatlas::http
