// Measures libcurl alone: posts through a multi handle, with a fixed number in flight, and nothing
// else. An upper bound for the http worker, which also reads a queue and records responses.
//   http_loop URL [POSTS] [AT_A_TIME]
#include <curl/curl.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

constexpr std::string_view kBody = R"({"a": 1, "b": "some text"})";

std::size_t drop(char*, std::size_t size, std::size_t count, void*) { return size * count; }

CURL* make_post(const char* url, curl_slist* headers) {
    CURL* easy = curl_easy_init();
    if (easy == nullptr) std::abort();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, static_cast<long>(kBody.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, kBody.data());
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &drop);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, 30'000L);
    return easy;
}

bool is_success(const CURLMsg& message) {
    long status = 0;
    curl_easy_getinfo(message.easy_handle, CURLINFO_RESPONSE_CODE, &status);
    return message.data.result == CURLE_OK && status == 200;
}

// How many of the posts were answered with 200.
long run(CURLM* multi, const char* url, curl_slist* headers, long posts, long at_a_time) {
    long started = 0;
    long ended = 0;
    long good = 0;
    for (; started < posts && started < at_a_time; ++started) {
        curl_multi_add_handle(multi, make_post(url, headers));
    }
    while (ended < posts) {
        int running = 0;
        curl_multi_perform(multi, &running);
        int left = 0;
        while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
            good += is_success(*message) ? 1 : 0;
            ++ended;
            CURL* easy = message->easy_handle;
            curl_multi_remove_handle(multi, easy);
            if (started < posts) {
                curl_multi_add_handle(multi, easy);
                ++started;
            } else {
                curl_easy_cleanup(easy);
            }
        }
        if (ended < posts) curl_multi_poll(multi, nullptr, 0, 1000, nullptr);
    }
    return good;
}

}  // namespace

int main(int argc, char** argv) {
    const long posts = argc > 2 ? std::atol(argv[2]) : 10'000;
    const long at_a_time = argc > 3 ? std::atol(argv[3]) : 256;
    if (argc < 2 || posts < 1 || at_a_time < 1) {
        std::fprintf(stderr, "http_loop URL [POSTS] [AT_A_TIME]\n");
        return 2;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURLM* multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, at_a_time);
    curl_slist* headers = curl_slist_append(nullptr, "Content-Type: application/json");

    const auto began = std::chrono::steady_clock::now();
    const long good = run(multi, argv[1], headers, posts, at_a_time);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
    std::printf("%.0f posts/s, answered 200: %ld of %ld\n",
                static_cast<double>(posts) / took.count(), good, posts);

    curl_multi_cleanup(multi);
    curl_slist_free_all(headers);
    return good == posts ? 0 : 1;
}
