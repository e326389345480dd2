#include "securatlas/pg/shared/http_table.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "securatlas/pg/border/encoding.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/shared/shared_memory.hpp"

namespace securatlas::pg {
namespace {

constexpr core::Duration kUnknown{-1};

// Copies the message of a library or server: made valid in the database encoding, and not truncated
// within a character.
template <std::size_t N>
void assign_message(std::array<char, N>& to, const std::string& message) {
    const std::string text = valid_text(message);
    const int length = pg_mbcliplen(text.data(), static_cast<int>(text.size()), N - 1);
    assign_text(to, std::string_view(text).substr(0, static_cast<std::size_t>(length)));
}

HttpDatabaseState* find_entry(HttpState& http, DatabaseOid database) noexcept {
    for (HttpDatabaseState& entry : http.databases) {
        if (entry.database == database) return &entry;
    }
    return nullptr;
}

HttpDatabaseState* find_or_add(HttpState& http, DatabaseOid database) noexcept {
    HttpDatabaseState* entry = find_entry(http, database);
    if (entry != nullptr) return entry;
    entry = find_entry(http, 0);
    if (entry == nullptr) return nullptr;
    memset(static_cast<void*>(entry), 0, sizeof *entry);
    entry->database = database;
    entry->started = core::kLongAgo;
    entry->updated = core::kLongAgo;
    return entry;
}

void forget_hosts(HttpState& http, DatabaseOid database) noexcept {
    for (HttpHostState& entry : http.hosts) {
        if (entry.database == database) entry.database = 0;
    }
}

std::vector<HttpHostState> host_entries(const std::vector<HostStatus>& hosts, core::Instant time) {
    std::vector<HttpHostState> entries;
    const std::size_t count = (std::min)(hosts.size(), kMaxHosts);
    entries.reserve(count);
    for (const HostStatus& host : std::span(hosts).first(count)) {
        HttpHostState& entry = entries.emplace_back();
        entry.database = MyDatabaseId;
        assign_text(entry.host, host.host);
        entry.in_flight = host.in_flight;
        entry.requests = host.requests;
        entry.failures = host.failures;
        entry.limited = host.limited;
        entry.breaker = host.breaker;
        entry.next_try = host.next_try;
        entry.p50 = host.p50.value_or(kUnknown);
        entry.p95 = host.p95.value_or(kUnknown);
        assign_message(entry.last_error, host.last_error);
        entry.updated = time;
    }
    return entries;
}

void show(HttpDatabaseState& entry, const HttpStatus& status,
          const std::array<char, 256>& last_error, core::Instant time) noexcept {
    if (entry.pid != MyProcPid) {
        entry.pid = MyProcPid;
        entry.started = time;
        entry.sent_before = entry.sent;
        entry.failed_before = entry.failed;
    }
    entry.updated = time;
    entry.waiting = status.waiting;
    entry.sent = entry.sent_before + status.sent;
    entry.failed = entry.failed_before + status.failed;
    entry.last_error = last_error;
    const std::size_t shown = (std::min)(status.in_flight.size(), kMaxInFlightShown);
    std::copy_n(status.in_flight.begin(), shown, entry.in_flight);
    entry.in_flight_shown = static_cast<std::int32_t>(shown);
    entry.in_flight_count = static_cast<std::int64_t>(status.in_flight.size());
}

HostStatus host_status(const HttpHostState& entry, bool worker_is_up) {
    const auto known = [](core::Duration duration) {
        return duration == kUnknown ? std::nullopt : std::optional(duration);
    };
    return {.host = entry.host.data(),
            .in_flight = worker_is_up ? entry.in_flight : 0,
            .requests = entry.requests,
            .failures = entry.failures,
            .limited = worker_is_up && entry.limited,
            .breaker = entry.breaker,
            .next_try = entry.next_try,
            .p50 = known(entry.p50),
            .p95 = known(entry.p95),
            .last_error = entry.last_error.data(),
            .updated = entry.updated};
}

}  // namespace

void HttpTable::publish(const HttpStatus& status) {
    SharedState& state = require_shared_state();
    const core::Instant time = now();
    const std::vector<HttpHostState> hosts = host_entries(status.hosts, time);
    std::array<char, 256> last_error{};
    assign_message(last_error, status.last_error);
    SharedLock lock(state.http);
    HttpDatabaseState* entry = find_or_add(state.http, MyDatabaseId);
    if (entry == nullptr) return;
    show(*entry, status, last_error, time);
    forget_hosts(state.http, MyDatabaseId);
    auto next = hosts.begin();
    for (HttpHostState& place : state.http.hosts) {
        if (next == hosts.end()) break;
        if (place.database == 0) place = *next++;
    }
}

void HttpTable::notify_recorded() noexcept {
    SharedState* state = shared_state();
    if (state != nullptr) ConditionVariableBroadcast(&state->http.recorded);
}

Cancelled HttpTable::take_cancelled(DatabaseOid database) {
    SharedState& state = require_shared_state();
    Cancelled cancelled;
    // Nothing is allocated under the lock, and mostly nothing at all.
    std::array<std::int64_t, kCancelledCapacity> ids;
    std::size_t count = 0;
    {
        SharedLock lock(state.http);
        HttpDatabaseState* entry = find_entry(state.http, database);
        if (entry == nullptr) return cancelled;
        count = static_cast<std::size_t>(std::exchange(entry->cancelled_count, 0));
        std::copy_n(entry->cancelled, count, ids.begin());
        cancelled.overflowed = std::exchange(entry->overflowed, false);
    }
    cancelled.ids.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count));
    return cancelled;
}

void HttpTable::notify_cancelled(DatabaseOid database, const std::int64_t* ids, std::size_t count,
                                 bool overflowed) noexcept {
    SharedState* state = shared_state();
    if (state == nullptr) return;
    {
        SharedLock lock(state->http);
        HttpDatabaseState* entry = find_or_add(state->http, database);
        if (entry == nullptr) return;
        const auto room = static_cast<std::size_t>(kCancelledCapacity - entry->cancelled_count);
        if (overflowed || count > room) {
            entry->overflowed = true;
        } else {
            std::copy_n(ids, count, entry->cancelled + entry->cancelled_count);
            entry->cancelled_count += static_cast<std::int32_t>(count);
        }
    }
    notify_recorded();
    SharedLock lock(*state);
    DatabaseState* entry = find_database(*state, database);
    if (entry != nullptr) entry->http_bell.ring();
}

HttpWorkerStatus HttpTable::worker(DatabaseOid database) {
    HttpWorkerStatus seen;
    SharedState* state = shared_state();
    if (state == nullptr) return seen;
    seen.pid = DatabaseTable::http_worker_pid(database);
    std::array<char, 256> last_error{};
    {
        SharedLock lock(state->http);
        const HttpDatabaseState* entry = find_entry(state->http, database);
        if (entry == nullptr) return seen;
        seen.started = entry->started;
        seen.updated = entry->updated;
        seen.sent = entry->sent;
        seen.failed = entry->failed;
        last_error = entry->last_error;
        if (entry->pid == seen.pid) {
            seen.in_flight = entry->in_flight_count;
            seen.waiting = entry->waiting;
        } else {
            seen.started = core::kLongAgo;
        }
    }
    seen.last_error = last_error.data();
    return seen;
}

std::vector<std::int64_t> HttpTable::in_flight(DatabaseOid database) {
    std::vector<std::int64_t> ids;
    SharedState* state = shared_state();
    if (state == nullptr) return ids;
    const Pid pid = DatabaseTable::http_worker_pid(database);
    ids.reserve(kMaxInFlightShown);
    SharedLock lock(state->http);
    const HttpDatabaseState* entry = find_entry(state->http, database);
    if (entry == nullptr || pid == 0 || entry->pid != pid) return ids;
    ids.assign(entry->in_flight, entry->in_flight + entry->in_flight_shown);
    return ids;
}

std::vector<HostStatus> HttpTable::hosts(DatabaseOid database) {
    std::vector<HostStatus> hosts;
    SharedState* state = shared_state();
    if (state == nullptr) return hosts;
    const Pid pid = DatabaseTable::http_worker_pid(database);
    std::vector<HttpHostState> entries;
    entries.reserve(kMaxHosts);
    bool worker_is_up = false;
    {
        SharedLock lock(state->http);
        const HttpDatabaseState* worker = find_entry(state->http, database);
        worker_is_up = worker != nullptr && pid != 0 && worker->pid == pid;
        for (const HttpHostState& entry : state->http.hosts) {
            if (entry.database == database) entries.push_back(entry);
        }
    }
    for (const HttpHostState& entry : entries) hosts.push_back(host_status(entry, worker_is_up));
    return hosts;
}

void HttpTable::forget(DatabaseOid database) noexcept {
    SharedState* state = shared_state();
    if (state == nullptr) return;
    SharedLock lock(state->http);
    HttpDatabaseState* entry = find_entry(state->http, database);
    if (entry != nullptr) entry->database = 0;
    forget_hosts(state->http, database);
}

}  // namespace securatlas::pg
