#include "byte_budget.hpp"

namespace securatlas::http {

bool ByteBudget::may_take(Ticket ticket, std::size_t size) const {
    if (used() < max_ && size <= max_ - used()) return true;
    const bool is_oldest = growing_.empty() || growing_.begin()->first == ticket;
    return is_oldest && complete_ == 0;
}

bool ByteBudget::reserve(Ticket ticket, std::size_t size) {
    if (!may_take(ticket, size)) return false;
    growing_[ticket] += size;
    growing_bytes_ += size;
    return true;
}

void ByteBudget::release(Ticket ticket) {
    const auto found = growing_.find(ticket);
    if (found == growing_.end()) return;
    growing_bytes_ -= found->second;
    growing_.erase(found);
}

void ByteBudget::complete(Ticket ticket) {
    const std::size_t before = growing_bytes_;
    release(ticket);
    complete_ += before - growing_bytes_;
}

}  // namespace securatlas::http
