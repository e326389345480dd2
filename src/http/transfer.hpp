// One request on its way: an easy handle, what it sends, and what has come back so far.
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
#include "response_head.hpp"
#include "securatlas/http/exchange.hpp"

namespace securatlas::http {

// Made once and used for one request after another. Its address does not change: libcurl keeps
// it, and has it as CURLOPT_PRIVATE.
class Transfer {
  public:
    // `state` lives longer. Throws std::bad_alloc.
    explicit Transfer(EngineState& state);
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    // Makes the handle ready to be added to a multi handle. CURLE_OK, or why libcurl refuses; then
    // finish() follows at once. Throws std::bad_alloc.
    CURLcode prepare(Request request);

    // The transfer has ended with a response, as far as it is wanted: one whose body is longer than
    // that is cut off by us.
    bool is_answered(CURLcode code) const;

    // If it is answered: true if the response is a redirect that is to be followed. prepare_hop()
    // then does for it what prepare() does for a request.
    bool redirect();
    CURLcode prepare_hop();

    // What came of it. The handle is in no multi handle any more. Frees what belonged to the
    // request.
    Completed finish(CURLcode code);

    // Frees what belonged to the request, without a result.
    void drop();

    // False: it was made with other options than those of now.
    bool is_reusable() const;

    CURL* easy() const { return easy_.get(); }
    core::RequestId id() const { return request_->id; }

  private:
    using Clock = std::chrono::steady_clock;

    // Set by what ends the transfer from our side.
    struct Stop {
        std::string error;
        std::string detail = {};
        std::optional<core::Outcome> outcome = {};  // nullopt: by how far it has come
    };

    template <class Value>
    void set(CURLoption option, Value value);
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
    std::size_t take_body(std::string_view data);
    std::size_t take_plain(std::string_view data);
    std::size_t take_packed(std::string_view data);
    bool must_pause(std::size_t size);
    bool append(std::string_view data);

    static std::size_t on_header(char* data, std::size_t size, std::size_t count,
                                 void* transfer) noexcept;
    static std::size_t on_body(char* data, std::size_t size, std::size_t count,
                               void* transfer) noexcept;
    static curl_socket_t on_open_socket(void* transfer, curlsocktype purpose,
                                        curl_sockaddr* address) noexcept;
    static int on_ready_to_send(void* transfer, char* remote_ip, char* local_ip, int remote_port,
                                int local_port) noexcept;

    EngineState& state_;
    const std::string user_agent_;
    const std::string ca_file_;
    CURLcode setup_ = CURLE_OK;  // the first option that was refused
    std::optional<Request> request_;
    ByteBudget::Ticket ticket_ = 0;
    Clock::time_point started_at_;
    core::Duration earlier_{0};  // the time of the hops before
    int hops_ = 0;               // redirects followed
    StringList header_lines_;
    ResponseHead head_;
    std::string body_;
    bool truncated_ = false;
    bool is_body_known_ = false;  // whether it is packed has been looked at
    std::optional<GzipDecoder> decoder_;
    std::size_t consumed_ = 0;  // of the bytes that libcurl brings again after a pause
    std::uint64_t turn_ = 0;    // of the engine, in which this was taken of the body:
    std::size_t taken_in_turn_ = 0;
    int sends_ = 0;        // how often this hop was about to go out
    bool opened_ = false;  // a socket, to an address that is not blocked
    std::string blocked_;  // an address that was
    std::optional<Stop> stop_;
    std::array<char, CURL_ERROR_SIZE> error_buffer_{};
    EasyHandle easy_;  // goes first: it points to the others
};

}  // namespace securatlas::http
