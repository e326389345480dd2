// State shared by the transfers of one engine.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "byte_budget.hpp"
#include "curl_handles.hpp"
#include "epoll.hpp"
#include "securatlas/http/engine.hpp"

namespace securatlas::http {

class Transfer;

struct EngineState {
    explicit EngineState(EngineOptions chosen)
        : options(std::move(chosen)), budget(options.max_buffered_bytes) {}

    EngineOptions options;
    ByteBudget budget;
    Epoll epoll;
    // Transfers that wait until the budget has room, oldest first.
    std::map<ByteBudget::Ticket, Transfer*> paused;
    // Counts calls of drive(). `resting` transfers have received their share in this one and wait
    // for the next.
    std::uint64_t turn = 0;
    std::map<ByteBudget::Ticket, Transfer*> resting;
    // For TLS sessions. DNS results and connections are shared by the multi handle anyway.
    ShareHandle share{curl_share_init()};
};

}  // namespace securatlas::http
