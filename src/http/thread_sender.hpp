// One mutex guards what both threads use. It is held while rows and results are moved, never while
// libcurl works, so that the owner waits for microseconds at most.
//
// Each turn of the thread does the same: start what the hosts' limits allow, let libcurl do what it
// can, and collect what has ended; then sleep until libcurl's descriptor is ready or the owner has
// called. The owner is told of results once until it takes them, and again when it should record or
// read without waiting any longer: it has its own idea of when to do either.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "attempt.hpp"
#include "event_fd.hpp"
#include "host_queues.hpp"
#include "securatlas/http/sender.hpp"

namespace securatlas::http {

inline core::Duration monotonic() {
    return std::chrono::duration_cast<core::Duration>(
        std::chrono::steady_clock::now().time_since_epoch());
}

class ThreadSender final : public Sender {
  public:
    explicit ThreadSender(SenderOptions options);
    ~ThreadSender() override { stop(); }
    ThreadSender(const ThreadSender&) = delete;
    ThreadSender& operator=(const ThreadSender&) = delete;

    void stop() noexcept override;
    int wait_fd() const override { return to_owner_.fd(); }
    void configure(SenderOptions options) override;
    SenderState look(core::Duration now) override;
    void look_at_all() override;
    core::ReadPlan plan_read(core::Instant wall_clock, core::Duration now) override;
    void add(core::ReadRequests rows, const core::ReadPlan& plan, core::Duration now) override;
    void drop_waiting() override;
    void cancel(core::RequestId id) override;
    SenderResults take_results() override;
    std::vector<std::int64_t> ids_in_flight() override;
    SenderStatistics statistics(core::Duration now, std::size_t most_hosts) override;

  private:
    using Lock = std::lock_guard<std::mutex>;

    // What the thread has to do with the engine, decided under the lock and done without it.
    struct Orders {
        std::optional<EngineOptions> options;
        std::vector<core::RequestId> aborted;
        std::size_t released = 0;  // bytes of bodies
        std::vector<Request> starting;
    };

    // What the owner knows, because it has seen it or was told to look.
    struct Told {
        bool results = false;  // that there are some
        bool group = false;
        bool reading = false;   // that there is a wish to read
        bool starving = false;  // ... which should not wait
    };

    void run() noexcept;
    bool turn();
    bool take_orders(Orders& orders);
    bool carry_out(Orders& orders);
    void sleep();

    // Under the lock:
    void call_thread();
    void tell_owner();
    bool is_group_complete() const;
    void check_alive() const;
    std::size_t count_results() const { return results_.ended.size() + results_.retried.size(); }
    void start_waiting(std::vector<Request>& starting);
    HostQueues::Step consider(core::QueuedRequest& row, std::vector<Request>& starting);
    void start(core::QueuedRequest row, bool is_probe, std::vector<Request>& starting);
    void end_unsent(core::QueuedRequest row, const std::string& error);
    void collect(std::vector<Completed> completed);
    void add_result(Verdict verdict, core::AttemptFigures figures);
    double random() { return std::uniform_real_distribution<double>(0.0, 1.0)(random_); }

    const std::unique_ptr<Engine> engine_;  // used by the thread only
    const EventFd to_thread_;
    const EventFd to_owner_;

    std::mutex mutex_;  // guards everything below

    // A row is added to queues_, goes to the engine (attempts_) as soon as its host's limits allow,
    // and then into results_.
    HostQueues queues_;
    core::HostLimits limits_;
    std::unordered_map<core::RequestId, Attempt> attempts_;
    SenderResults results_;
    std::size_t result_bytes_ = 0;  // of bodies
    core::Duration first_result_at_{0};

    // Orders for the thread.
    std::optional<EngineOptions> options_;
    std::vector<core::RequestId> aborted_;
    std::size_t released_ = 0;
    std::size_t max_response_bytes_;
    bool stops_ = false;
    bool is_asleep_ = false;

    // Whether something has changed since rows were last offered a slot, and when to offer them
    // again even if nothing has.
    bool may_start_ = false;
    std::optional<core::Duration> start_again_at_;
    std::vector<std::pair<std::string, core::Duration>> to_close_;

    Told told_;
    bool has_moved_ = false;    // a row has left its queue, or memory has become free
    bool has_closed_ = false;   // a host's rows were dropped until some time
    SenderStatistics figures_;  // counts and the last error
    bool figures_changed_ = false;
    core::Duration figures_at_{0};
    std::exception_ptr end_;  // what ended the thread
    std::mt19937_64 random_{std::random_device{}()};

    std::thread thread_;
};

}  // namespace securatlas::http
