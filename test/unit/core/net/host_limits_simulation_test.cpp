// Ten minutes of a worker's life in virtual time: a hundred hosts, some slow, some down for a
// while, requests in waves. What is promised holds at each step, and all that was asked for is
// done.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <queue>
#include <random>

#include "securatlas/core/net/host_limits.hpp"

namespace securatlas::core {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Simulation {
  public:
    Simulation(HostLimitsOptions options, std::uint64_t seed)
        : options_(options), limits_(options), random_(seed) {}

    struct Site {
        Duration latency = milliseconds(20);
        Duration down_from{0};
        Duration down_until{0};
        std::deque<Duration> waiting{};  // since when
        std::size_t in_flight = 0;
        std::size_t probes = 0;
        int answered = 0;
        int failed = 0;
        int failed_unsent = 0;
        Duration longest_wait{0};
        std::deque<Duration> starts{};  // of the last second
    };

    Site& site(const std::string& name) { return sites_[name]; }
    void arrive(const std::string& name, int count) {
        for (int i = 0; i < count; ++i) site(name).waiting.push_back(now_);
    }

    // Until then, or until nothing is left to do.
    void run(Duration until) {
        while (now_ < until) {
            start_all();
            check();
            std::optional<Duration> next = std::exchange(ask_again_at_, std::nullopt);
            if (!flights_.empty() && (!next || flights_.top().ends_at < *next)) {
                next = flights_.top().ends_at;
            }
            if (!next) {
                // No request may still wait when no event is left that would start it.
                for (const auto& [name, site] : sites_) EXPECT_TRUE(site.waiting.empty()) << name;
                return;
            }
            ASSERT_GT(*next, now_);
            now_ = *next;
            while (!flights_.empty() && flights_.top().ends_at <= now_) end_first();
        }
    }

    Duration now() const { return now_; }
    void sleep_until(Duration at) { now_ = std::max(now_, at); }
    std::size_t most_in_flight() const { return most_in_flight_; }

  private:
    struct Flight {
        Duration ends_at;
        Duration started_at;
        std::string name;
        bool is_probe;
        bool is_dead;
        bool operator<(const Flight& other) const { return ends_at > other.ends_at; }
    };

    double random() { return std::uniform_real_distribution<double>(0.0, 1.0)(random_); }

    void start_all() {
        for (auto& [name, site] : sites_) {
            while (!site.waiting.empty()) {
                const Duration since = site.waiting.front();
                const HostDecision decision = limits_.decide(name, since, now_);
                if (const auto* wait = std::get_if<WaitFor>(&decision)) {
                    if (wait->until && (!ask_again_at_ || *wait->until < *ask_again_at_)) {
                        ask_again_at_ = wait->until;
                    }
                    break;
                }
                site.waiting.pop_front();
                if (std::holds_alternative<HostIsDown>(decision)) {
                    EXPECT_EQ(std::get<HostIsDown>(decision).error, "refused");
                    ++site.failed_unsent;
                    continue;
                }
                start(name, site, since, std::get<StartNow>(decision).is_probe);
            }
        }
    }

    void start(const std::string& name, Site& site, Duration since, bool is_probe) {
        ++site.in_flight;
        site.probes += is_probe ? 1 : 0;
        site.longest_wait = std::max(site.longest_wait, now_ - since);
        site.starts.push_back(now_);
        const bool is_dead = now_ >= site.down_from && now_ < site.down_until;
        const Duration latency = is_dead ? Duration(milliseconds(5)) : site.latency;
        flights_.push({now_ + latency, now_, name, is_probe, is_dead});
    }

    void end_first() {
        const Flight flight = flights_.top();
        flights_.pop();
        Site& site = sites_[flight.name];
        --site.in_flight;
        ++(flight.is_dead ? site.failed : site.answered);
        limits_.ended(flight.name, flight.is_probe,
                      flight.is_dead ? Outcome::unsent : Outcome::answered,
                      now_ - flight.started_at, flight.is_dead ? "refused" : "", now_, random());
    }

    void check() {
        EXPECT_LE(flights_.size(), options_.max_total);
        EXPECT_EQ(limits_.in_flight(), flights_.size());
        most_in_flight_ = std::max(most_in_flight_, flights_.size());
        for (auto& [name, site] : sites_) {
            EXPECT_LE(site.in_flight, options_.max_per_host);
            if (options_.requests_per_second == 0.0) continue;
            while (!site.starts.empty() && site.starts.front() <= now_ - seconds(1)) {
                site.starts.pop_front();
            }
            EXPECT_LE(static_cast<double>(site.starts.size()),
                      1.1 * options_.requests_per_second + 1.0)
                << name;
        }
    }

    HostLimitsOptions options_;
    HostLimits limits_;
    std::mt19937_64 random_;
    std::map<std::string, Site> sites_;
    std::priority_queue<Flight> flights_;
    Duration now_ = seconds(1);
    std::optional<Duration> ask_again_at_;  // the earliest of all decisions to wait
    std::size_t most_in_flight_ = 0;
};

TEST(HostLimitsSimulation, AHostThatHangsDoesNotHoldTheOthers) {
    Simulation simulation({.max_total = 100, .max_per_host = 60}, 1);
    simulation.site("slow").latency = seconds(30);
    simulation.arrive("slow", 1000);
    simulation.run(seconds(2));
    for (int i = 0; i < 30; ++i) simulation.arrive("quick" + std::to_string(i), 20);
    simulation.run(seconds(700));
    EXPECT_EQ(simulation.site("slow").answered, 1000);
    for (int i = 0; i < 30; ++i) {
        const auto& site = simulation.site("quick" + std::to_string(i));
        EXPECT_EQ(site.answered, 20);
        EXPECT_LT(site.longest_wait, seconds(1));
    }
    EXPECT_GT(simulation.most_in_flight(), 80U);
}

TEST(HostLimitsSimulation, AHostThatIsDownIsLeftAloneAndFoundAgain) {
    Simulation simulation({.max_total = 100, .max_per_host = 10}, 2);
    auto& site = simulation.site("a");
    site.down_from = seconds(10);
    site.down_until = seconds(100);
    for (int second = 1; second < 200; ++second) {
        simulation.arrive("a", 10);
        simulation.run(seconds(second + 1));
        simulation.sleep_until(seconds(second + 1));
    }
    simulation.run(seconds(1000));
    // Five to open it and those that were started with them, then probes with longer and longer
    // pauses between them.
    EXPECT_GE(site.failed, 5 + 5);
    EXPECT_LE(site.failed, 10 + 10);
    EXPECT_EQ(static_cast<std::size_t>(site.failed), site.probes - 1 + 10);
    EXPECT_EQ(site.answered + site.failed + site.failed_unsent, 1990);
    EXPECT_GT(site.failed_unsent, 300);
    // All that came after the last failed probe was answered.
    EXPECT_GT(site.answered, 1000);
}

TEST(HostLimitsSimulation, ManyHostsWithARate) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
        const HostLimitsOptions options{
            .max_total = 64, .max_per_host = 8, .requests_per_second = 20.0};
        Simulation simulation(options, seed);
        std::mt19937_64 random(seed);
        int asked = 0;
        for (int host = 0; host < 100; ++host) {
            auto& site = simulation.site(std::to_string(host));
            site.latency = milliseconds(1 + random() % 500);
            if (host % 10 == 0) {
                site.down_from = seconds(5);
                site.down_until = seconds(15 + random() % 50);
            }
        }
        for (int wave = 1; wave < 60; ++wave) {
            for (int i = 0; i < 200; ++i) {
                simulation.arrive(std::to_string(random() % 100), 1);
                ++asked;
            }
            simulation.run(seconds(wave + 1));
            simulation.sleep_until(seconds(wave + 1));
        }
        simulation.run(seconds(10'000));
        int done = 0;
        for (int host = 0; host < 100; ++host) {
            const auto& site = simulation.site(std::to_string(host));
            done += site.answered + site.failed + site.failed_unsent;
            EXPECT_EQ(site.failed + site.failed_unsent > 0, host % 10 == 0) << host;
        }
        EXPECT_EQ(done, asked);
    }
}

}  // namespace
}  // namespace securatlas::core
