// The resolver's threads. This program's getaddrinfo goes before the system's: names that end in
// ".held.test" are not answered before the test says so.
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <string_view>

#include "fixture.hpp"

namespace securatlas::http {
namespace {

class HeldResolver {
  public:
    // In the resolver's thread.
    void hold() {
        std::unique_lock lock(mutex_);
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        takes_signals_ = sigismember(&mask, SIGTERM) == 0 || sigismember(&mask, SIGUSR1) == 0;
        is_waiting_ = true;
        changed_.notify_all();
        changed_.wait(lock, [this] { return is_released_; });
        is_waiting_ = false;
        changed_.notify_all();
    }
    bool is_waiting() {
        const std::lock_guard lock(mutex_);
        return is_waiting_;
    }
    bool takes_signals() {
        const std::lock_guard lock(mutex_);
        return takes_signals_;
    }
    void release() {
        std::unique_lock lock(mutex_);
        is_released_ = true;
        changed_.notify_all();
        changed_.wait(lock, [this] { return !is_waiting_; });
    }

  private:
    std::mutex mutex_;
    std::condition_variable changed_;
    bool is_waiting_ = false;
    bool is_released_ = false;
    bool takes_signals_ = false;
};

// Never destroyed: a resolver's thread may outlive main.
HeldResolver& held_resolver() {
    static auto& resolver = *new HeldResolver;
    return resolver;
}

using EngineResolverTest = EngineTest;

TEST_F(EngineResolverTest, AResolverThatHangsBlocksNobodyAndTakesNoSignals) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.answer("quick");
        return true;
    });
    Request stuck = request("http://name.held.test/");
    stuck.timeout = std::chrono::milliseconds(100);
    start(std::move(stuck));
    start(request(server.url("/")));
    const std::vector<Completed> completed = complete_all();
    EXPECT_TRUE(held_resolver().is_waiting());
    EXPECT_FALSE(held_resolver().takes_signals());
    held_resolver().release();

    ASSERT_EQ(completed.size(), 2U);
    EXPECT_EQ(completed[0].body, "quick");
    EXPECT_EQ(completed[1].outcome, core::Outcome::unsent);
    EXPECT_TRUE(completed[1].timed_out);
    EXPECT_TRUE(completed[1].error.starts_with("Timeout of 100 ms reached. Total time: 1"))
        << completed[1].error;
    EXPECT_TRUE(
        completed[1].error.ends_with("TCP/SSL handshake time: 0.000000 ms, HTTP "
                                     "Request/Response time: 0.000000 ms)"))
        << completed[1].error;
}

}  // namespace
}  // namespace securatlas::http

extern "C" __attribute__((visibility("default"))) int getaddrinfo(const char* node,
                                                                  const char* service,
                                                                  const addrinfo* hints,
                                                                  addrinfo** result) {
    if (node != nullptr && std::string_view(node).ends_with(".held.test")) {
        securatlas::http::held_resolver().hold();
        return EAI_NONAME;
    }
    using Function = int (*)(const char*, const char*, const addrinfo*, addrinfo**);
    static const auto system = reinterpret_cast<Function>(dlsym(RTLD_NEXT, "getaddrinfo"));
    return system(node, service, hints, result);
}
