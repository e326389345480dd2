#include "../../../src/http/kept_memory.hpp"

#include <curl/curl.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace securatlas::http {
namespace {

// A text in libcurl's memory. `size` must not be 0.
char* text_of(std::size_t size, char letter) {
    const std::string text(size, letter);
    return curl_easy_escape(nullptr, text.data(), static_cast<int>(text.size()));
}

bool is_text_of(const char* text, std::size_t size, char letter) {
    return text != nullptr && std::string(text) == std::string(size, letter);
}

class KeptMemoryTest : public testing::Test {
  protected:
    static void SetUpTestSuite() { initialize_curl(); }

    const std::vector<std::size_t> sizes_{1,    31,     32,     33,     2047,    2048,
                                          2049, 16'384, 16'416, 16'417, 100'000, 3'000'000};
};

TEST_F(KeptMemoryTest, BlocksAreUsedAgainAndHoldWhatIsWritten) {
    const KeptMemory kept;
    for (const char letter : {'a', 'b', 'c'}) {
        std::vector<char*> texts;
        for (int repeat = 0; repeat < 3; ++repeat) {
            for (const std::size_t size : sizes_) texts.push_back(text_of(size, letter));
        }
        for (std::size_t i = 0; i < texts.size(); ++i) {
            EXPECT_TRUE(is_text_of(texts[i], sizes_[i % sizes_.size()], letter)) << i;
            curl_free(texts[i]);
        }
    }
}

TEST_F(KeptMemoryTest, AFreedBlockIsTheNextOneOfItsSize) {
    const KeptMemory kept;
    char* const first = text_of(100, 'a');
    curl_free(first);
    char* const second = text_of(100, 'b');
    EXPECT_EQ(first, second);
    EXPECT_TRUE(is_text_of(second, 100, 'b'));
    curl_free(second);
}

// As libcurl's resolver does, and as the owner does when the thread has ended.
TEST_F(KeptMemoryTest, BlocksMayBeFreedInAnotherThread) {
    char* from_other = nullptr;
    char* from_kept = nullptr;
    std::thread([&] { from_other = text_of(50, 'a'); }).join();
    {
        const KeptMemory kept;
        EXPECT_TRUE(is_text_of(from_other, 50, 'a'));
        curl_free(from_other);
        from_kept = text_of(50, 'b');
        char* const other = text_of(60, 'c');
        std::thread([other] { curl_free(other); }).join();
    }
    EXPECT_TRUE(is_text_of(from_kept, 50, 'b'));
    curl_free(from_kept);
}

}  // namespace
}  // namespace securatlas::http
