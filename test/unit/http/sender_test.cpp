// The sender: a thread between the queue and the engine. The tests are its owner, and are run with
// ThreadSanitizer too.
#include "securatlas/http/sender.hpp"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <thread>

#include "support/loopback_server.hpp"

namespace securatlas::http {
namespace {

using core::RequestId;
using test::Connection;
using test::LoopbackServer;
using test::LoopbackSocket;
using test::ReceivedRequest;

core::Duration monotonic() {
    return std::chrono::duration_cast<core::Duration>(
        std::chrono::steady_clock::now().time_since_epoch());
}

core::Instant wall_clock() {
    return std::chrono::time_point_cast<core::Duration>(std::chrono::system_clock::now());
}

class SenderTest : public testing::Test {
  protected:
    using Clock = std::chrono::steady_clock;

    static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }

    static SenderOptions options(std::size_t slots = 64) {
        SenderOptions chosen;
        chosen.engine.user_agent = "x";
        chosen.engine.max_idle_connections = static_cast<int>(slots);
        chosen.limits.max_total = slots;
        chosen.limits.max_per_host = slots;
        return chosen;
    }

    // Ids count from 1.
    core::QueuedRequest row(const std::string& url) {
        core::QueuedRequest row;
        row.id = RequestId{++last_id_};
        row.url = core::Url::parse(url).value();
        row.host = row.url->origin();
        row.timeout = std::chrono::seconds(60);
        row.ready_at = wall_clock();
        row.max_attempts = 1;
        return row;
    }

    // As if these were the rows that the queue has.
    void add(std::vector<core::QueuedRequest> rows) {
        const core::ReadPlan plan = sender_->plan_read(wall_clock(), monotonic());
        core::ReadRequests read;
        read.requests = std::move(rows);
        sender_->add(std::move(read), plan, monotonic());
    }
    void add(core::QueuedRequest row) {
        std::vector<core::QueuedRequest> rows;
        rows.push_back(std::move(row));
        add(std::move(rows));
    }

    // Waits as the owner does, until the condition holds; false: it does not after a minute.
    bool wait_until(const std::function<bool(const SenderState&)>& condition) {
        const auto give_up = Clock::now() + std::chrono::minutes(1);
        while (Clock::now() < give_up) {
            if (condition(sender_->look(monotonic()))) return true;
            pollfd wait{sender_->wait_fd(), POLLIN, 0};
            poll(&wait, 1, 10);
        }
        return false;
    }

    // The next results, in the order of their ends.
    std::vector<core::EndedRequest> wait_for_ends(std::size_t count) {
        std::vector<core::EndedRequest> ended;
        EXPECT_TRUE(wait_until([&](const SenderState&) {
            for (auto& one : sender_->take_results().ended) ended.push_back(std::move(one));
            return ended.size() >= count;
        }));
        return ended;
    }

    std::int64_t last_id_ = 0;
    std::unique_ptr<Sender> sender_ = make_sender(options());
};

LoopbackServer::Handler echo() {
    return [](Connection& connection, const ReceivedRequest& request) {
        connection.answer(request.target);
        return true;
    };
}

TEST_F(SenderTest, EveryRequestHasOneResult) {
    const LoopbackServer server(echo());
    constexpr int kRows = 2000;
    std::map<RequestId, std::string> targets;
    std::vector<core::QueuedRequest> rows;
    for (int i = 0; i < kRows; ++i) {
        rows.push_back(row(server.url("/" + std::to_string(i))));
        targets[rows.back().id] = "/" + std::to_string(i);
    }
    add(std::move(rows));
    for (const core::EndedRequest& one : wait_for_ends(kRows)) {
        EXPECT_EQ(one.status_code, 200);
        EXPECT_EQ(targets[one.id], one.body);
        EXPECT_EQ(targets.erase(one.id), 1U);
    }
    EXPECT_TRUE(targets.empty());
    const SenderState state = sender_->look(monotonic());
    EXPECT_EQ(state.waiting + state.in_flight + state.results, 0U);
    EXPECT_EQ(sender_->statistics(monotonic(), 10).sent, kRows);
}

TEST_F(SenderTest, ResultsMakeItsDescriptorReadableUntilTheOwnerLooks) {
    const LoopbackServer server(echo());
    const auto is_readable = [this](int timeout) {
        pollfd wait{sender_->wait_fd(), POLLIN, 0};
        return poll(&wait, 1, timeout) == 1;
    };
    (void)sender_->look(monotonic());
    add(row(server.url("/")));
    SenderState state;
    while (state.results == 0) {
        ASSERT_TRUE(is_readable(60'000));
        state = sender_->look(monotonic());
    }
    EXPECT_TRUE(state.group_is_complete);
    EXPECT_EQ(sender_->take_results().ended.size(), 1U);
}

// Each waking of the owner costs more than recording a result.
TEST_F(SenderTest, TheOwnerIsNotToldOfMoreResultsBeforeItHasTakenThose) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest& request) {
        if (request.target == "/slow") connection.wait_for_close();
        connection.answer("");
        return request.target != "/slow";
    });
    add(row(server.url("/slow")));
    add(row(server.url("/quick")));
    ASSERT_TRUE(wait_until([](const SenderState& state) { return state.results == 1; }));
    add(row(server.url("/quick")));
    while (sender_->statistics(monotonic(), 0).sent < 2) std::this_thread::yield();
    (void)sender_->ids_in_flight();
    pollfd wait{sender_->wait_fd(), POLLIN, 0};
    EXPECT_EQ(poll(&wait, 1, 0), 0);
    EXPECT_EQ(sender_->take_results().ended.size(), 2U);
    add(row(server.url("/quick")));
    EXPECT_EQ(poll(&wait, 1, 60'000), 1);
}

TEST_F(SenderTest, ReadingGoesOnBehindTheLastRow) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest&) {
        connection.wait_for_close();
        return false;
    });
    const core::Duration now = monotonic();
    core::ReadPlan plan = sender_->plan_read(wall_clock(), now);
    EXPECT_TRUE(plan.looks_at_all);
    std::vector<core::QueuedRequest> rows;
    const core::Instant ready_at = wall_clock();
    for (int i = 0; i < plan.room; ++i) {
        rows.push_back(row(server.url("/")));
        rows.back().ready_at = ready_at;
    }
    core::ReadRequests read;
    read.requests = std::move(rows);
    sender_->add(std::move(read), plan, now);
    plan = sender_->plan_read(wall_clock(), now);
    EXPECT_FALSE(plan.looks_at_all);
    ASSERT_EQ(plan.hosts.size(), 1U);
    EXPECT_EQ(plan.hosts[0].behind.ready_at, ready_at);
    EXPECT_EQ(plan.hosts[0].behind.id, last_id_);
    sender_->look_at_all();
    EXPECT_TRUE(sender_->plan_read(wall_clock(), now).looks_at_all);
}

TEST_F(SenderTest, WhatIsInMemoryIsNotReadAgain) {
    const LoopbackServer server([](Connection& connection, const ReceivedRequest& request) {
        if (request.target == "/slow") connection.wait_for_close();
        connection.answer("");
        return request.target != "/slow";
    });
    sender_->configure(options(2));  // one host may use one of two
    add(row(server.url("/quick")));
    ASSERT_TRUE(wait_until([](const SenderState& state) { return state.results == 1; }));
    std::vector<core::QueuedRequest> rows;
    rows.push_back(row(server.url("/slow")));
    rows.push_back(row(server.url("/waiting")));
    add(std::move(rows));
    ASSERT_TRUE(wait_until([](const SenderState& state) {
        return state.results == 1 && state.in_flight == 1 && state.waiting == 1;
    }));
    const auto excluded = sender_->plan_read(wall_clock(), monotonic()).excluded;
    EXPECT_EQ(std::set(excluded.begin(), excluded.end()), (std::set<std::int64_t>{1, 2, 3}));
    (void)sender_->take_results();
    sender_->drop_waiting();
    EXPECT_EQ(sender_->plan_read(wall_clock(), monotonic()).excluded, std::vector<std::int64_t>{2});
}

TEST_F(SenderTest, ACancelledRequestHasNoResult) {
    std::atomic<bool> arrived = false;
    std::atomic<bool> closed = false;
    const LoopbackServer server([&](Connection& connection, const ReceivedRequest& request) {
        if (request.target != "/slow") {
            connection.answer(request.target);
            return true;
        }
        arrived = true;
        connection.wait_for_close();
        closed = true;
        return false;
    });
    add(row(server.url("/slow")));
    ASSERT_TRUE(wait_until([&](const SenderState&) { return arrived.load(); }));
    EXPECT_EQ(sender_->ids_in_flight(), std::vector<std::int64_t>{1});
    sender_->cancel(RequestId{1});
    EXPECT_TRUE(sender_->ids_in_flight().empty());
    ASSERT_TRUE(wait_until([&](const SenderState&) { return closed.load(); }));
    // The same id may be there again at once.
    last_id_ = 0;
    add(row(server.url("/again")));
    const auto ended = wait_for_ends(1);
    ASSERT_EQ(ended.size(), 1U);
    EXPECT_EQ(ended.front().body, "/again");
    sender_->cancel(RequestId{77});
}

// At any moment of its way: waiting, in flight, ended.
TEST_F(SenderTest, CancellingManyWhileTheyRunLosesNoOther) {
    const LoopbackServer server(echo());
    std::set<RequestId> wanted;
    for (int round = 0; round < 20; ++round) {
        std::vector<core::QueuedRequest> rows;
        std::vector<RequestId> cancelled;
        for (int i = 0; i < 50; ++i) {
            rows.push_back(row(server.url("/")));
            if (i % 2 == 0) {
                cancelled.push_back(rows.back().id);
            } else {
                wanted.insert(rows.back().id);
            }
        }
        add(std::move(rows));
        for (const RequestId id : cancelled) sender_->cancel(id);
    }
    EXPECT_TRUE(wait_until([&](const SenderState& state) {
        for (const auto& one : sender_->take_results().ended) wanted.erase(one.id);
        return wanted.empty() && state.in_flight == 0 && state.waiting == 0;
    }));
}

TEST_F(SenderTest, ItStopsWhateverIsInFlight) {
    std::atomic<bool> arrived = false;
    std::atomic<bool> closed = false;
    const LoopbackServer server([&](Connection& connection, const ReceivedRequest&) {
        arrived = true;
        connection.wait_for_close();
        closed = true;
        return false;
    });
    add(row(server.url("/")));
    ASSERT_TRUE(wait_until([&](const SenderState&) { return arrived.load(); }));
    sender_->stop();
    sender_->stop();
    EXPECT_FALSE(closed.load());
    sender_.reset();
    const auto give_up = Clock::now() + std::chrono::minutes(1);
    while (!closed && Clock::now() < give_up) std::this_thread::yield();
    EXPECT_TRUE(closed.load());
}

// While the owner is busy with the tables, bodies wait at the servers.
TEST_F(SenderTest, BodiesCountUntilTheirResultsAreTaken) {
    constexpr std::size_t kMegabyte = 1'000'000;
    SenderOptions small = options();
    small.engine.max_buffered_bytes = 3 * kMegabyte;
    small.max_response_bytes = 2 * kMegabyte;
    sender_->configure(small);
    const std::string body(kMegabyte, 'x');
    const LoopbackServer server([&body](Connection& connection, const ReceivedRequest&) {
        connection.answer(body);
        return true;
    });
    std::vector<core::QueuedRequest> rows;
    for (int i = 0; i < 12; ++i) rows.push_back(row(server.url("/")));
    add(std::move(rows));
    std::size_t ended = 0;
    while (ended < 12) {
        ASSERT_TRUE(wait_until([](const SenderState& state) { return state.results > 0; }));
        std::size_t bytes = 0;
        for (const auto& one : sender_->take_results().ended) {
            EXPECT_EQ(one.body.size(), kMegabyte);
            bytes += one.body.size();
            ++ended;
        }
        EXPECT_LE(bytes, 3 * kMegabyte);
    }
}

TEST_F(SenderTest, ARefusedRequestIsTriedAgainOrEnds) {
    const LoopbackSocket closed;  // refuses connections
    core::QueuedRequest again = row(closed.url("/"));
    again.retry = core::RetryMode::unsent;
    again.max_attempts = 2;
    add(std::move(again));
    add(row(closed.url("/")));
    SenderResults all;
    ASSERT_TRUE(wait_until([&](const SenderState&) {
        SenderResults results = sender_->take_results();
        for (auto& one : results.ended) all.ended.push_back(std::move(one));
        for (auto& one : results.retried) all.retried.push_back(std::move(one));
        return all.ended.size() + all.retried.size() == 2;
    }));
    ASSERT_EQ(all.retried.size(), 1U);
    EXPECT_EQ(all.retried.front().id, RequestId{1});
    EXPECT_EQ(all.retried.front().attempts, 1);
    ASSERT_EQ(all.ended.size(), 1U);
    EXPECT_FALSE(all.ended.front().error.empty());
    const SenderStatistics figures = sender_->statistics(monotonic(), 10);
    EXPECT_EQ(figures.failed, 2);
    ASSERT_EQ(figures.hosts.size(), 1U);
    EXPECT_EQ(figures.hosts.front().is.failures, 2);
}

TEST_F(SenderTest, AnExpiredRowIsNotSent) {
    const LoopbackServer server(echo());
    core::QueuedRequest late = row(server.url("/"));
    late.expires_at = wall_clock();
    add(std::move(late));
    const auto ended = wait_for_ends(1);
    ASSERT_EQ(ended.size(), 1U);
    EXPECT_TRUE(ended.front().expired);
    EXPECT_EQ(server.connections(), 0U);
}

// Rows of a slow host wait; the owner is told when to read them again.
TEST_F(SenderTest, AHostWhoseRateIsUsedUpOpensLater) {
    const LoopbackServer server(echo());
    SenderOptions slow = options();
    slow.limits.requests_per_second = 0.01;
    sender_->configure(slow);
    std::vector<core::QueuedRequest> rows;
    for (int i = 0; i < 3; ++i) rows.push_back(row(server.url("/")));
    add(std::move(rows));
    EXPECT_EQ(wait_for_ends(1).size(), 1U);
    EXPECT_TRUE(wait_until([](const SenderState& state) {
        return state.waiting == 0 && state.next_opening.has_value() && state.has_more;
    }));
}

// What the kernel shows of a thread of this process.
std::string signals_blocked_in(const std::string& task) {
    std::ifstream status("/proc/self/task/" + task + "/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("SigBlk:")) return line.substr(line.find_first_not_of(" \t", 7));
    }
    return "";
}

std::set<std::string> threads() {
    std::set<std::string> all;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
        all.insert(entry.path().filename());
    }
    return all;
}

TEST_F(SenderTest, ItsThreadGetsNoSignals) {
    const auto before = threads();
    const auto another = make_sender(options());
    std::size_t found = 0;
    for (const std::string& task : threads()) {
        if (before.contains(task)) continue;
        ++found;
        for (const int signal : {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGURG, SIGCHLD}) {
            const auto mask = std::stoull(signals_blocked_in(task), nullptr, 16);
            EXPECT_NE(mask & (1ULL << (signal - 1)), 0U) << signal;
        }
    }
    EXPECT_EQ(found, 1U);
    sigset_t mine;
    sigemptyset(&mine);
    pthread_sigmask(SIG_SETMASK, nullptr, &mine);
    EXPECT_EQ(sigismember(&mine, SIGTERM), 0);
}

}  // namespace
}  // namespace securatlas::http
