#include "kept_memory.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <utility>

namespace securatlas::http {

// What is in front of the bytes that libcurl gets.
struct alignas(std::max_align_t) KeptMemory::Block {
    std::size_t size;
    Block* next;  // while it is kept
};

namespace {

using Block = KeptMemory::Block;

constexpr std::size_t kStep = 32;
constexpr std::size_t kMostSmall = 64 * kStep;
constexpr std::size_t kBuffer = CURL_MAX_WRITE_SIZE + kStep;
constexpr std::size_t kMostKept = 4 * 1024 * 1024;

// A pointer, and of this model, because room for it must not be lacking when it is first used.
[[gnu::tls_model("initial-exec")]] thread_local constinit KeptMemory* kept = nullptr;

std::size_t rounded(std::size_t size) {
    if (size <= kMostSmall) return std::max(kStep, (size + kStep - 1) / kStep * kStep);
    return std::max(size, kBuffer);
}

std::size_t place_of(std::size_t size) {
    return size <= kMostSmall ? size / kStep - 1 : kMostSmall / kStep;
}

Block* block_of(void* bytes) { return static_cast<Block*>(bytes) - 1; }

void* take(std::size_t wanted) noexcept {
    const std::size_t size = rounded(wanted);
    Block* block = kept == nullptr ? nullptr : kept->take(size);
    if (block == nullptr) {
        if (size > SIZE_MAX - sizeof(Block)) return nullptr;
        void* const memory = std::malloc(sizeof(Block) + size);
        if (memory == nullptr) return nullptr;
        block = new (memory) Block{size, nullptr};
    }
    return block + 1;
}

void give_back(void* bytes) noexcept {
    if (bytes == nullptr) return;
    Block* const block = block_of(bytes);
    if (kept == nullptr || !kept->keep(block)) std::free(block);
}

void* resize(void* bytes, std::size_t wanted) noexcept {
    if (bytes == nullptr) return take(wanted);
    const std::size_t size = block_of(bytes)->size;
    if (wanted <= size) return bytes;
    void* const larger = take(wanted);
    if (larger == nullptr) return nullptr;
    std::memcpy(larger, bytes, size);
    give_back(bytes);
    return larger;
}

char* copy(const char* text) noexcept {
    const std::size_t size = std::strlen(text) + 1;
    void* const bytes = take(size);
    return bytes == nullptr ? nullptr : static_cast<char*>(std::memcpy(bytes, text, size));
}

void* take_zeroed(std::size_t count, std::size_t size) noexcept {
    if (size != 0 && count > SIZE_MAX / size) return nullptr;
    void* const bytes = take(count * size);
    return bytes == nullptr ? nullptr : std::memset(bytes, 0, count * size);
}

}  // namespace

KeptMemory::KeptMemory() { kept = this; }

KeptMemory::~KeptMemory() {
    kept = nullptr;
    for (Block* first : blocks_) {
        while (first != nullptr) std::free(std::exchange(first, first->next));
    }
}

KeptMemory::Block* KeptMemory::take(std::size_t size) {
    if (size > kBuffer) return nullptr;
    Block*& first = blocks_[place_of(size)];
    if (first == nullptr) return nullptr;
    bytes_ -= size;
    return std::exchange(first, first->next);
}

bool KeptMemory::keep(Block* block) {
    if (block->size > kBuffer || bytes_ + block->size > kMostKept) return false;
    Block*& first = blocks_[place_of(block->size)];
    block->next = std::exchange(first, block);
    bytes_ += block->size;
    return true;
}

void initialize_curl() {
    const CURLcode code =
        curl_global_init_mem(CURL_GLOBAL_DEFAULT, take, give_back, resize, copy, take_zeroed);
    if (code != CURLE_OK) throw std::runtime_error(curl_easy_strerror(code));
}

}  // namespace securatlas::http
