// Limits the memory that the bodies of all responses use together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace securatlas::http {

// When the budget is used up, bodies wait, except the oldest one that has begun, so that progress
// is always possible: at most max plus one body are in memory. Complete bodies count until they are
// handed out; as long as there is such a body, the oldest one waits, too.
class ByteBudget {
  public:
    // Identifies a body; lower tickets are older.
    using Ticket = std::uint64_t;

    explicit ByteBudget(std::size_t max) : max_(max) {}

    // May be called at any time. What is reserved stays reserved.
    void resize(std::size_t max) { max_ = max; }

    Ticket new_ticket() { return ++last_ticket_; }

    bool may_take(Ticket ticket, std::size_t size) const;

    // Reserves bytes by which the body grows; false: it has to wait. Throws std::bad_alloc.
    bool reserve(Ticket ticket, std::size_t size);

    // The body is dropped. Does nothing if it has no bytes.
    void release(Ticket ticket);

    // The body is complete.
    void complete(Ticket ticket);

    // So many bytes of complete bodies were handed out and do not count any more.
    void hand_out(std::size_t bytes) { complete_ -= bytes; }

    std::size_t used() const { return growing_bytes_ + complete_; }

  private:
    std::size_t max_;
    Ticket last_ticket_ = 0;
    std::map<Ticket, std::size_t> growing_;
    std::size_t growing_bytes_ = 0;
    std::size_t complete_ = 0;
};

}  // namespace securatlas::http
