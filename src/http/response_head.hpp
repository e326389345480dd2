// Collects the headers of the final response from the lines that libcurl passes on.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "securatlas/core/net/request.hpp"

namespace securatlas::http {

class ResponseHead {
  public:
    // Names and values of all headers together.
    static constexpr std::size_t kMaxBytes = 256 * 1024;

    // Adds a status line, a header, the empty line or a trailer. A status line discards everything
    // before it (an informational response, or a redirect). False: the headers exceed kMaxBytes.
    bool add_line(std::string_view line);

    // The headers received so far.
    const std::vector<core::Header>& headers() const { return headers_; }

    // Returns the headers and starts again.
    std::vector<core::Header> take_headers();

  private:
    std::vector<core::Header> headers_;
    std::size_t bytes_ = 0;
    bool open_ = false;  // between a status line and the empty line after it
};

}  // namespace securatlas::http
