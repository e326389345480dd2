// What the transfers of one engine share.
#pragma once

#include <cstdint>
#include <map>
#include <utility>

#include "byte_budget.hpp"
#include "curl_handles.hpp"
#include "securatlas/http/engine.hpp"

namespace securatlas::http {

class Transfer;

struct EngineState {
    explicit EngineState(EngineOptions chosen)
        : options(std::move(chosen)), budget(options.max_bytes_held) {}

    EngineOptions options;
    ByteBudget budget;
    // Those that wait until the budget has room, the oldest first.
    std::map<ByteBudget::Ticket, Transfer*> paused;
    // Counts calls of drive(). Those that have had their share of one wait for the next.
    std::uint64_t turn = 0;
    std::map<ByteBudget::Ticket, Transfer*> resting;
    // TLS sessions. Names and connections are shared by the multi handle.
    ShareHandle share{curl_share_init()};
};

}  // namespace securatlas::http
