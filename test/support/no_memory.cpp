// To be preloaded by the linker into a server: makes one C++ allocation of one process fail. The
// test names the process and the allocation in the file $NO_MEMORY.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

struct Control {
    volatile std::int32_t pid;
    volatile std::int32_t left;    // the n-th allocation from now on fails; 0: none
    volatile std::int32_t failed;  // number of allocations that were made to fail
};

Control* control() {
    static Control* const mapped = []() -> Control* {
        const char* const path = std::getenv("NO_MEMORY");
        const int fd = path == nullptr ? -1 : open(path, O_RDWR);
        if (fd < 0) return nullptr;
        void* const memory =
            mmap(nullptr, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        return memory == MAP_FAILED ? nullptr : static_cast<Control*>(memory);
    }();
    return mapped;
}

bool fails() {
    Control* const wanted = control();
    if (wanted == nullptr || wanted->left <= 0 || wanted->pid != getpid()) return false;
    wanted->left = wanted->left - 1;
    if (wanted->left > 0) return false;
    wanted->failed = wanted->failed + 1;
    return true;
}

}  // namespace

void* operator new(std::size_t size) {
    if (!fails()) {
        if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
    }
    throw std::bad_alloc();
}
