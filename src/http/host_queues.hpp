// The rows that the http worker has read ahead, by host, and what it has to read next. Each host
// has a queue of its own, so that a host whose requests wait does not keep others from being read.
//
// A row is read into the queue of its host, and started as soon as the host's limits allow; its
// body counts as used memory until it has ended. Hosts that cannot start anything for a while
// (their breaker is open) have no rows in memory: these are read again when the time has come.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "securatlas/core/net/outbox.hpp"
#include "securatlas/core/time.hpp"

namespace securatlas::http {

class HostQueues {
  public:
    // No more rows are read while request bodies, waiting or in flight, use this many bytes. One
    // host may use as many as are still free, so that a busy one leaves room for others.
    static constexpr std::size_t kMaxBytes = 24 * 1024 * 1024;

    // A host that has used up its rows before more were read gets twice as many the next time, up
    // to this many times its share.
    static constexpr std::size_t kMaxHaste = 8;

    // `rows`: about how many rows are read ahead, for all hosts together, unless they are used up
    // faster.
    explicit HostQueues(std::size_t rows) : most_rows_(rows) {}
    void set_rows(std::size_t rows) { most_rows_ = rows; }

    // ---- reading ---------------------------------------------------------------------------

    // The table may have ready rows of any host.
    void look_at_all() { look_at_all_ = true; }
    bool wants_to_read(core::Duration monotonic) const;
    // There may be rows to read later, even without a notification.
    bool has_more() const;
    core::ReadPlan plan(core::Instant now, core::Duration monotonic,
                        std::vector<std::int64_t> known) const;
    // Adds the rows that were read for the plan.
    void add(core::ReadRequests ready, const core::ReadPlan& plan, core::Duration monotonic);

    // ---- starting --------------------------------------------------------------------------

    bool empty() const { return waiting_ == 0; }
    std::size_t waiting() const { return waiting_; }

    // What becomes of the first row of a host.
    enum class Step {
        remove,          // it was started or has ended; ended() was called or follows
        leave,           // this host cannot start anything now
        remove_as_down,  // it has ended, and so will the host's other rows as they are read
    };
    // Offers the first row of each host in turn, until no row was removed in a whole round.
    // `consider(row)` may move from the row unless it returns leave.
    template <class F>
    void offer(F&& consider) {
        const std::vector<Queue*> queues = queues_with_rows();
        for (bool removed = true; removed && waiting_ > 0;) {
            removed = false;
            // Another host is first each time, because the first may get the last free slot.
            const std::size_t first = turn_++;
            for (std::size_t i = 0; i < queues.size(); ++i) {
                Queue* const queue = queues[(first + i) % queues.size()];
                if (queue->rows.empty()) continue;
                ++queue->in_flight;
                const Step step = consider(queue->rows.front());
                queue->is_down = step == Step::remove_as_down;
                if (step == Step::leave) {
                    --queue->in_flight;
                    continue;
                }
                queue->rows.pop_front();
                --waiting_;
                removed = true;
            }
        }
    }

    // A removed row has ended. `bytes`: length of its body.
    void ended(const std::string& host, std::size_t bytes);

    // Nothing for this host can start before `until`: drops its rows, which are read again at that
    // time. Do not call it within offer().
    void close(const std::string& host, core::Duration until);

    // Removes a waiting row. False: there is no such row.
    bool remove(core::RequestId id);
    // Removes all waiting rows and reads all hosts again.
    void remove_all();

    // Whether requests of this host, in memory or in the table, cannot be started now.
    bool is_waited_for(const std::string& host, core::Duration monotonic) const;

    // When the time of the next closed host is over.
    std::optional<core::Duration> next_opening(core::Duration monotonic) const;

  private:
    struct Queue {
        std::deque<core::QueuedRequest> rows;
        std::size_t in_flight = 0;
        std::size_t bytes = 0;  // of bodies of waiting rows and of those in flight
        bool has_more = true;   // the table may have more rows
        bool is_down = false;
        std::size_t haste = 1;  // how many times its share it gets
        core::Duration closed_until{0};
        // A long queue is read on from the last row read, because the index still has entries of
        // removed rows at its start; sometimes it is read from the start, to find rows that were
        // committed late.
        core::ReadPlan::Position behind;
        core::Duration from_start_at{0};
    };

    std::size_t share() const;
    // `most`: share().
    std::size_t room(const Queue& queue, std::size_t most, core::Duration monotonic) const;
    bool wants_refill(const Queue& queue, std::size_t most, core::Duration monotonic) const;
    void note_read(Queue& queue, std::size_t room, std::size_t count, core::ReadPlan::Position last,
                   core::Duration monotonic);
    static void note_haste(Queue& queue, int room);
    void forget_unused();
    void drop_rows(Queue& queue);
    std::vector<Queue*> queues_with_rows();

    std::size_t most_rows_;
    std::map<std::string, Queue> queues_;
    std::size_t waiting_ = 0;
    std::size_t bytes_ = 0;
    bool look_at_all_ = true;
    std::string after_;     // the next read begins after this host
    std::size_t turn_ = 0;  // position of the host that is offered first
};

}  // namespace securatlas::http
