#include "gzip_decoder.hpp"

#include <new>

namespace securatlas::http {

namespace {

constexpr int kGzipOnly = 16 + MAX_WBITS;

}  // namespace

GzipDecoder::GzipDecoder() {
    if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw std::bad_alloc();
}

GzipDecoder::~GzipDecoder() { inflateEnd(&stream_); }

GzipDecoder::Step GzipDecoder::decode(std::string_view input, std::span<char> output) {
    if (has_failed_ || is_complete_) return {input.size(), 0};
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    stream_.avail_in = static_cast<uInt>(input.size());
    stream_.next_out = reinterpret_cast<Bytef*>(output.data());
    stream_.avail_out = static_cast<uInt>(output.size());
    switch (inflate(&stream_, Z_NO_FLUSH)) {
        case Z_OK:
        case Z_BUF_ERROR:  // it needs more input
            break;
        case Z_STREAM_END:
            is_complete_ = true;
            break;
        case Z_MEM_ERROR:
            throw std::bad_alloc();
        default:
            has_failed_ = true;
    }
    return {input.size() - stream_.avail_in, output.size() - stream_.avail_out};
}

}  // namespace securatlas::http
