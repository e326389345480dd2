// Memory for libcurl, which allocates and frees some forty blocks for each request.
#pragma once

#include <array>
#include <cstddef>

namespace securatlas::http {

// Initializes libcurl with it, unless something else in the process has initialized libcurl before.
// The first call must come before the process has threads. Throws std::runtime_error.
void initialize_curl();

// While it lives, blocks that libcurl frees in this thread are kept for the next request, up to a
// limit. malloc() would do the same more slowly: the lists of its own that a thread has are short,
// and what is not in them is locked and merged with its neighbours. One for each thread.
class KeptMemory {
  public:
    KeptMemory();
    ~KeptMemory();
    KeptMemory(const KeptMemory&) = delete;
    KeptMemory& operator=(const KeptMemory&) = delete;

    struct Block;

    // A kept block of this size; null: there is none.
    Block* take(std::size_t size);
    // False: it is not kept.
    bool keep(Block* block);

  private:
    // For each size that blocks have: the multiples of 32 up to 2048, and that of libcurl's
    // buffers.
    std::array<Block*, 65> blocks_{};
    std::size_t bytes_ = 0;
};

}  // namespace securatlas::http
