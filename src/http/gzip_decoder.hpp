// Decodes a body with "Content-Encoding: gzip", as much at a time as there is room for. libcurl's
// own decoder turns each 16 kB that it has read into up to 16 MB, which cannot be limited.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <span>
#include <string_view>

namespace securatlas::http {

class GzipDecoder {
  public:
    GzipDecoder();  // throws std::bad_alloc
    ~GzipDecoder();
    GzipDecoder(const GzipDecoder&) = delete;
    GzipDecoder& operator=(const GzipDecoder&) = delete;

    struct Step {
        std::size_t used = 0;  // of the input
        std::size_t made = 0;  // of the output
    };

    // Decodes until the output is full or the input is used up. If the output is full, there may be
    // more output for the same input. After an error it does nothing. Throws std::bad_alloc.
    Step decode(std::string_view input, std::span<char> output);

    // The input is not gzip, or is damaged.
    bool has_failed() const { return has_failed_; }
    // The end of the gzip stream was reached.
    bool is_complete() const { return is_complete_; }

  private:
    z_stream stream_{};
    bool has_failed_ = false;
    bool is_complete_ = false;
};

}  // namespace securatlas::http
