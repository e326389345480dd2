// Owning pointers for libcurl's handles.
#pragma once

#include <curl/curl.h>

#include <memory>

namespace securatlas::http {

struct CloseEasy {
    void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
};
struct CloseMulti {
    void operator()(CURLM* multi) const { curl_multi_cleanup(multi); }
};
struct CloseShare {
    void operator()(CURLSH* share) const { curl_share_cleanup(share); }
};
struct CloseUrl {
    void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
struct FreeText {
    void operator()(char* text) const { curl_free(text); }
};

using EasyHandle = std::unique_ptr<CURL, CloseEasy>;
using MultiHandle = std::unique_ptr<CURLM, CloseMulti>;
using ShareHandle = std::unique_ptr<CURLSH, CloseShare>;
using UrlHandle = std::unique_ptr<CURLU, CloseUrl>;
using CurlText = std::unique_ptr<char, FreeText>;

}  // namespace securatlas::http
