// How much memory the bodies of all responses take together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace securatlas::http {

// When it is used up, bodies wait, but the oldest one that has begun goes on, so that something
// ends at all: no more than max and one body are held. Bodies that are complete count until they
// are taken; as long as any waits for that, the oldest one waits, too.
class ByteBudget {
  public:
    // A body; the lower, the older.
    using Ticket = std::uint64_t;

    explicit ByteBudget(std::size_t max) : max_(max) {}

    // At any time. What is held stays.
    void resize(std::size_t max) { max_ = max; }

    Ticket new_ticket() { return ++last_ticket_; }

    bool may_take(Ticket ticket, std::size_t size) const;

    // The body grows by so many bytes; false: not now. Throws std::bad_alloc.
    bool take(Ticket ticket, std::size_t size);

    // The body is given up. Does nothing if it has no bytes.
    void release(Ticket ticket);

    // The body is complete.
    void complete(Ticket ticket);

    // All bodies that are complete are somebody else's from now on.
    void hand_out() { complete_ = 0; }

    std::size_t held() const { return growing_bytes_ + complete_; }

  private:
    std::size_t max_;
    Ticket last_ticket_ = 0;
    std::map<Ticket, std::size_t> growing_;
    std::size_t growing_bytes_ = 0;
    std::size_t complete_ = 0;
};

}  // namespace securatlas::http
