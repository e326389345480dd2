#include "securatlas/http/library.hpp"

#include <curl/curl.h>

#include <stdexcept>

namespace securatlas::http {

void initialize_library() {
    const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK) throw std::runtime_error(curl_easy_strerror(code));
}

}  // namespace securatlas::http
