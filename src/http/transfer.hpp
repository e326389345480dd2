// One request in progress: its easy handle, what it sends, and what it has received so far.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "byte_budget.hpp"
#include "curl_handles.hpp"
#include "engine_state.hpp"
#include "failure.hpp"
#include "gzip_decoder.hpp"
#include "header_lines.hpp"
#include "response_head.hpp"
#include "securatlas/http/exchange.hpp"

namespace securatlas::http {

// Used for one request after another. It must not move in memory, because libcurl keeps its address
// (CURLOPT_PRIVATE).
class Transfer {
  public:
    // `state` must outlive it. Throws std::bad_alloc.
    explicit Transfer(EngineState& state);
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    // Prepares the handle to be added to a multi handle. Returns CURLE_OK, or why libcurl refuses;
    // then call finish() at once. Throws std::bad_alloc.
    CURLcode prepare(Request request);

    // True if the transfer ended with a response; that includes one that was ended here because its
    // body is too long.
    bool is_answered(CURLcode code) const;

    // For an answered transfer: true if the response is a redirect to be followed. Then call
    // prepare_hop(), which does for it what prepare() does for a request.
    bool redirect();
    CURLcode prepare_hop();

    // Returns the result and frees what belonged to the request. The handle must not be in a multi
    // handle.
    Completed finish(CURLcode code);

    // Frees what belonged to the request, without a result.
    void drop();

    // False: it was made with options that have changed since.
    bool is_reusable() const;

    CURL* easy() const { return easy_.get(); }
    core::RequestId id() const { return request_->id; }

  private:
    using Clock = std::chrono::steady_clock;

    // Set by callbacks that end the transfer.
    struct Stop {
        std::string error;
        std::string detail = {};
        std::optional<core::Outcome> outcome = {};  // nullopt: depends on how far the transfer got
    };

    template <class Value>
    void set(CURLoption option, Value value);
    void set_url();
    void set_method();
    void set_headers();
    bool sends_body() const;
    bool host_is_allowed();
    bool address_is_blocked(const std::optional<core::IpAddress>& address) const;
    core::Duration elapsed() const;
    Completed success();
    Completed failure(CURLcode code);
    void forget_response();
    Phase phase() const;
    std::size_t receive_body(std::string_view data);
    std::size_t receive_plain(std::string_view data);
    std::size_t receive_packed(std::string_view data);
    bool must_pause(std::size_t size);
    bool append(std::string_view data);

    static std::size_t on_header(char* data, std::size_t size, std::size_t count,
                                 void* transfer) noexcept;
    static std::size_t on_body(char* data, std::size_t size, std::size_t count,
                               void* transfer) noexcept;
    static curl_socket_t on_open_socket(void* transfer, curlsocktype purpose,
                                        curl_sockaddr* address) noexcept;
    static int on_close_socket(void* epoll, curl_socket_t socket) noexcept;
    static int on_ready_to_send(void* transfer, char* remote_ip, char* local_ip, int remote_port,
                                int local_port) noexcept;

    EngineState& state_;
    const std::string user_agent_;
    const std::string ca_file_;
    CURLcode setup_ = CURLE_OK;  // of the first option that was rejected
    std::optional<Request> request_;
    ByteBudget::Ticket ticket_ = 0;
    Clock::time_point started_at_;
    core::Duration earlier_{0};  // duration of the earlier hops
    int hops_ = 0;               // redirects followed
    HeaderLines header_lines_;
    ResponseHead head_;
    std::string body_;
    bool truncated_ = false;
    bool is_body_known_ = false;  // its Content-Encoding was checked
    std::optional<GzipDecoder> decoder_;
    std::size_t consumed_ = 0;  // of the bytes that libcurl delivers again after a pause
    std::uint64_t turn_ = 0;    // of the engine, in which received_in_turn_ bytes came
    std::size_t received_in_turn_ = 0;
    int sends_ = 0;        // how often this hop was about to be sent
    bool opened_ = false;  // a socket to an allowed address was opened
    std::string blocked_;  // a blocked address
    std::optional<Stop> stop_;
    std::array<char, CURL_ERROR_SIZE> error_buffer_{};
    UrlHandle url_;         // what libcurl reads the URL from
    std::string url_text_;  // the URL that it has; empty: none
    EasyHandle easy_;       // destroyed first, because it points to the others
};

}  // namespace securatlas::http
