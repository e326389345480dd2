// What the http worker has read ahead of the table, by host, and what it is to read next. Each host
// has a queue of its own, so that one whose requests wait keeps no other from being read.
//
// A row is read into the queue of its host, started as soon as the host's limits allow, and counts
// by its bytes until it has ended. Hosts that may start nothing for a while (a breaker is open)
// keep no rows in memory: they are read again when their time has come.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "securatlas/core/time.hpp"
#include "securatlas/pg/net/requests.hpp"

namespace securatlas::app {

class HostQueues {
  public:
    // Bytes of request bodies, waiting or in flight, above which nothing more is read. One host may
    // have as many as are left, so that a busy one leaves room for others.
    static constexpr std::size_t kMaxBytes = 24 * 1024 * 1024;

    // `rows`: how many are read ahead, of all hosts together, about.
    explicit HostQueues(std::size_t rows) : most_rows_(rows) {}
    void set_rows(std::size_t rows) { most_rows_ = rows; }

    // ---- reading ---------------------------------------------------------------------------

    // The table may hold ready rows of any host.
    void look_at_all() { look_at_all_ = true; }
    bool wants_to_read(core::Duration monotonic) const;
    // Something may be read later, without being told.
    bool has_more() const;
    pg::requests::ReadPlan plan(core::Instant now, core::Duration monotonic,
                                const std::vector<std::int64_t>& in_flight) const;
    // What was read by the plan.
    void take(pg::requests::Ready ready, const pg::requests::ReadPlan& plan,
              core::Duration monotonic);

    // ---- starting --------------------------------------------------------------------------

    bool empty() const { return waiting_ == 0; }
    std::size_t waiting() const { return waiting_; }

    // What is to be done with the first row of a host.
    enum class Step {
        take,   // it was taken, and ended() follows or has been called
        leave,  // this host starts nothing now
        fail,   // as take; the other rows of the host end as they are read, too
    };
    // Offers first rows, host after host and one each, until a round takes none. `consider(row)`
    // moves from the row unless it returns leave.
    template <class F>
    void offer(F&& consider) {
        for (bool took = true; took && waiting_ > 0;) {
            took = false;
            for (const std::string& host : hosts_with_rows()) {
                Queue& queue = queues_.at(host);
                ++queue.in_flight;
                const Step step = consider(queue.rows.front());
                queue.is_down = step == Step::fail;
                if (step == Step::leave) {
                    --queue.in_flight;
                    continue;
                }
                queue.rows.pop_front();
                --waiting_;
                took = true;
            }
        }
    }

    // A row that was taken has ended. `bytes`: of its body.
    void ended(const std::string& host, std::size_t bytes);

    // Until then nothing for this host can start: drops its rows now; they are read again at that
    // time. Not from within offer().
    void close(const std::string& host, core::Duration until);

    // Removes a row that waits. False: it does not.
    bool remove(core::RequestId id);
    // Removes all rows that wait, and looks at all hosts; they are read again.
    void remove_all();

    // Requests of this host are kept from being started, in memory or in the table.
    bool is_waited_for(const std::string& host, core::Duration monotonic) const;

    // When the next closed host opens.
    std::optional<core::Duration> next_opening(core::Duration monotonic) const;

  private:
    struct Queue {
        std::deque<pg::requests::QueuedRequest> rows;
        std::size_t in_flight = 0;
        std::size_t bytes = 0;  // of rows, and of those in flight
        bool has_more = true;   // the table may hold more
        bool is_down = false;
        core::Duration closed_until{0};
        // While a long queue is worked off, it is read on from the last row taken, not each time
        // from its start, where the removed ones are; now and then from its start, for late
        // commits.
        core::Instant since = core::kLongAgo;
        core::Duration from_start_at{0};
    };

    std::size_t share() const;
    // `most`: share().
    std::size_t room(const Queue& queue, std::size_t most, core::Duration monotonic) const;
    bool wants_refill(const Queue& queue, std::size_t most, core::Duration monotonic) const;
    void note_read(Queue& queue, std::size_t room, std::size_t count, core::Instant last,
                   core::Duration monotonic);
    void forget_unused();
    void drop_rows(Queue& queue);
    std::vector<std::string> hosts_with_rows();

    std::size_t most_rows_;
    std::map<std::string, Queue> queues_;
    std::size_t waiting_ = 0;
    std::size_t bytes_ = 0;
    bool look_at_all_ = true;
    std::string after_;     // hosts behind this one are read next
    std::size_t turn_ = 0;  // whose turn it is to be offered first
};

}  // namespace securatlas::app
