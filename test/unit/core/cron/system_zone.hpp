// The zones of the system's zone database, as the C library reads them.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "securatlas/core/cron/zone.hpp"

namespace securatlas::core::test {

// Sets the process's zone while it lives. Throws std::invalid_argument if the system lacks it.
class ProcessZone {
  public:
    explicit ProcessZone(const std::string& name) {
        if (!std::filesystem::exists("/usr/share/zoneinfo/" + name)) {
            throw std::invalid_argument("no zone " + name);
        }
        setenv("TZ", name.c_str(), 1);
        tzset();
    }
    ~ProcessZone() {
        unsetenv("TZ");
        tzset();
    }
    ProcessZone(const ProcessZone&) = delete;
    ProcessZone& operator=(const ProcessZone&) = delete;

    std::chrono::seconds offset_at(std::chrono::sys_seconds instant) const {
        const std::time_t time = instant.time_since_epoch().count();
        std::tm fields{};
        localtime_r(&time, &fields);
        return std::chrono::seconds(fields.tm_gmtoff);
    }
};

// Knows the changes from 1900 to 2040; nothing changes after them.
class SystemZone : public Zone {
  public:
    explicit SystemZone(const std::string& name) {
        using std::chrono::sys_days, std::chrono::year;
        constexpr std::chrono::hours kStep(6);
        const ProcessZone zone(name);
        const std::chrono::sys_seconds end = sys_days{year(2040) / 1 / 1};
        std::chrono::sys_seconds instant = sys_days{year(1900) / 1 / 1};
        spans_.push_back({kLongAgo, zone.offset_at(instant)});
        for (; instant < end; instant += kStep) {
            const auto offset = zone.offset_at(instant + kStep);
            if (offset == spans_.back().offset) continue;
            auto before = instant, after = instant + kStep;
            while (after - before > std::chrono::seconds(1)) {
                const auto middle = before + (after - before) / 2;
                (zone.offset_at(middle) == offset ? after : before) = middle;
            }
            spans_.push_back({after, offset});
        }
    }

    ZoneSpan span_at(Instant instant) const override {
        const auto next = std::ranges::upper_bound(spans_, instant, {}, &Span::begin);
        return {std::prev(next)->offset, next == spans_.end() ? kNever : next->begin};
    }

  private:
    struct Span {
        Instant begin;
        std::chrono::seconds offset;
    };
    std::vector<Span> spans_;
};

inline const SystemZone& system_zone(const std::string& name) {
    static std::map<std::string, SystemZone> zones;
    return zones.try_emplace(name, name).first->second;
}

}  // namespace securatlas::core::test
