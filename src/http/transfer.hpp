// One request on its way: an easy handle, what it sends, and what has come back so far.
#pragma once

#include <array>
#include <cstddef>
#include <string>

#include "curl_handles.hpp"
#include "response_head.hpp"
#include "securatlas/http/exchange.hpp"

namespace securatlas::http {

// Made once and used for one request after another. Its address does not change: libcurl keeps
// it, and has it as CURLOPT_PRIVATE.
class Transfer {
  public:
    // Throws std::bad_alloc.
    explicit Transfer(const std::string& user_agent);
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    // Makes the handle ready to be added to a multi handle. CURLE_OK, or why libcurl refuses; then
    // finish() follows at once. Throws std::bad_alloc.
    CURLcode prepare(Request request);

    // What came of it. The handle is in no multi handle any more. Frees what belonged to the
    // request.
    Completed finish(CURLcode code);

    // Frees what belonged to the request, without a result.
    void drop();

    CURL* easy() const { return easy_.get(); }
    core::RequestId id() const { return request_.id; }

  private:
    template <class Value>
    void set(CURLoption option, Value value);
    void set_method();
    void set_headers();
    bool sends_body() const;
    Completed success();
    Completed failure(CURLcode code);
    bool append(const char* data, std::size_t size);

    static std::size_t on_header(char* data, std::size_t size, std::size_t count,
                                 void* transfer) noexcept;
    static std::size_t on_body(char* data, std::size_t size, std::size_t count,
                               void* transfer) noexcept;
    static int on_ready_to_send(void* transfer, char* remote_ip, char* local_ip, int remote_port,
                                int local_port) noexcept;

    CURLcode setup_ = CURLE_OK;  // the first option that was refused
    Request request_;
    StringList header_lines_;
    ResponseHead head_;
    std::string body_;
    bool truncated_ = false;
    int sends_ = 0;                     // how often the request was about to go out
    const char* stopped_by_ = nullptr;  // set by a callback that ends the transfer: why
    std::array<char, CURL_ERROR_SIZE> error_buffer_{};
    EasyHandle easy_;  // goes first: it points to the others
};

}  // namespace securatlas::http
