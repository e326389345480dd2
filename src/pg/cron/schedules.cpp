#include "securatlas/pg/cron/schedules.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <system_error>
#include <unordered_map>

#include "securatlas/pg/border/convert.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/cron/settings.hpp"

extern "C" {
#include "pgtime.h"
#include "storage/fd.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"
}

namespace securatlas::pg {
namespace {

class PgZone final : public core::Zone {
  public:
    explicit PgZone(const pg_tz* zone) : zone_(zone) {}

    core::ZoneSpan span_at(core::Instant instant) const override {
        const pg_time_t time =
            std::chrono::floor<std::chrono::seconds>(instant).time_since_epoch().count();
        long before = 0;
        long after = 0;
        int before_dst = 0;
        int after_dst = 0;
        pg_time_t boundary = 0;
        const int found =
            pg_next_dst_boundary(&time, &before, &before_dst, &boundary, &after, &after_dst, zone_);
        const core::Instant end = found == 1 && boundary > time
                                      ? core::Instant(std::chrono::seconds(boundary))
                                      : core::kNever;
        return {std::chrono::seconds(before), end};
    }

  private:
    const pg_tz* zone_;  // stays in PostgreSQL's zone cache for the life of the process
};

bool in_zone_database(const char* name) {
    return call([name] {
        bool found = false;
        pg_tzenum* zones = pg_tzenumerate_start();
        while (const pg_tz* zone = pg_tzenumerate_next(zones)) {
            if (pg_strcasecmp(pg_get_timezone_name(const_cast<pg_tz*>(zone)), name) == 0) {
                found = true;
                break;
            }
        }
        pg_tzenumerate_end(zones);
        return found;
    });
}

// pg_tzset() also accepts POSIX rules such as "XYZ5", whose canonical name is in upper case.
bool looks_like_posix_rule(std::string_view canonical) {
    return std::any_of(canonical.begin(), canonical.end(),
                       [](char c) { return c >= '0' && c <= '9'; }) &&
           std::none_of(canonical.begin(), canonical.end(),
                        [](char c) { return c >= 'a' && c <= 'z'; });
}

// Makes sure that a file can be opened, by having PostgreSQL close one of its own if necessary.
// Throws Error if there is none to close.
void free_a_descriptor(const std::string& name) {
    const int failure = call([] {
        const int fd = BasicOpenFile("/dev/null", O_RDONLY);
        if (fd < 0) return errno;
        close(fd);
        return 0;
    });
    if (failure == 0) return;
    throw Error("53000", "could not look up time zone \"" + name +
                             "\": " + std::generic_category().message(failure));
}

const pg_tz* load_zone(const std::string& name) {
    if (name.empty() || name.size() > TZ_STRLEN_MAX) return nullptr;
    const auto look = [&name] { return call([&name] { return pg_tzset(name.c_str()); }); };
    const pg_tz* zone = look();
    if (zone == nullptr) {
        // pg_tzset() opens a file, and fails in the same way if the file does not exist and if
        // there is no descriptor left.
        free_a_descriptor(name);
        zone = look();
    }
    if (zone == nullptr) return nullptr;
    const char* canonical = pg_get_timezone_name(const_cast<pg_tz*>(zone));
    if (looks_like_posix_rule(canonical) && !in_zone_database(canonical)) return nullptr;
    return zone;
}

// Rejects timestamps such as "tomorrow", whose meaning depends on when they are read.
bool depends_on_now(std::string_view text) {
    std::string lower(text);
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    for (const char* word : {"now", "today", "tomorrow", "yesterday"}) {
        if (lower.find(word) != std::string::npos) return true;
    }
    return false;
}

// Parses literals as in a session with DateStyle ISO, YMD and the given time zone.
class LiteralScope {
  public:
    explicit LiteralScope(pg_tz* zone)
        : zone_(session_timezone), style_(DateStyle), order_(DateOrder) {
        session_timezone = zone;
        DateStyle = USE_ISO_DATES;
        DateOrder = DATEORDER_YMD;
    }
    ~LiteralScope() {
        session_timezone = zone_;
        DateStyle = style_;
        DateOrder = order_;
    }
    LiteralScope(const LiteralScope&) = delete;
    LiteralScope& operator=(const LiteralScope&) = delete;

  private:
    pg_tz* zone_;
    int style_;
    int order_;
};

core::Result<core::Interval, std::string> read_interval(std::string_view text) {
    const std::string copy(text);
    try {
        const Interval* interval = call([&copy] {
            return DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(copy.c_str()),
                                                         ObjectIdGetDatum(InvalidOid),
                                                         Int32GetDatum(-1)));
        });
        return core::Interval{interval->month, interval->day, core::Duration(interval->time)};
    } catch (const Error& error) {
        // The error can be swallowed: input functions do nothing that would have to be rolled back.
        if (!is_no_schedule(error)) throw;
        return core::Failure{error.message()};
    }
}

core::Result<core::Instant, std::string> read_timestamp(std::string_view text, pg_tz* zone) {
    if (depends_on_now(text)) {
        return core::Failure{std::string("it must not depend on the current time")};
    }
    const std::string copy(text);
    try {
        LiteralScope scope(zone);
        const TimestampTz time = call([&copy] {
            return DatumGetTimestampTz(
                DirectFunctionCall3(timestamptz_in, CStringGetDatum(copy.c_str()),
                                    ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
        });
        if (TIMESTAMP_NOT_FINITE(time)) return core::Failure{std::string("it must be finite")};
        return to_instant(time);
    } catch (const Error& error) {
        if (!is_no_schedule(error)) throw;
        return core::Failure{error.message()};
    }
}

core::LiteralParsers literal_parsers(pg_tz* zone) {
    return {read_interval, [zone](std::string_view text) { return read_timestamp(text, zone); }};
}

Error unknown_zone(std::string_view name) {
    return Error("22023", "time zone \"" + std::string(name) + "\" not recognized", "",
                 "See the view pg_timezone_names for the names of time zones.");
}

pg_tz* require_pg_zone(std::string_view name) {
    const pg_tz* zone = load_zone(std::string(name));
    if (zone == nullptr) throw unknown_zone(name);
    return const_cast<pg_tz*>(zone);
}

core::Schedule parse(std::string_view text, pg_tz* zone) {
    auto parsed = core::parse_schedule(text, literal_parsers(zone));
    if (!parsed) {
        throw Error("22023", parsed.error().message, parsed.error().detail, parsed.error().hint);
    }
    return std::move(parsed).value();
}

}  // namespace

std::shared_ptr<const core::Zone> find_zone(std::string_view name) {
    // One object for each zone, for the life of the process; there are a few hundred at most.
    static auto& cache = *new std::unordered_map<const pg_tz*, std::shared_ptr<const core::Zone>>;
    const pg_tz* zone = load_zone(std::string(name));
    if (zone == nullptr) return nullptr;
    auto& cached = cache[zone];
    if (cached == nullptr) cached = std::make_shared<PgZone>(zone);
    return cached;
}

namespace {

ZonedSchedule parse_zoned(std::string_view text, std::string zone_name) {
    core::Schedule schedule = parse(text, require_pg_zone(zone_name));
    if (const auto named = schedule.zone()) {
        zone_name = *named;
        pg_tz* zone = require_pg_zone(zone_name);
        if (schedule.kind() == core::ScheduleKind::at) schedule = parse(text, zone);
    }
    return {std::make_shared<const core::Schedule>(std::move(schedule)), find_zone(zone_name),
            zone_name};
}

}  // namespace

ZonedSchedule read_schedule(std::string_view text, std::string_view timezone) {
    const std::string zone(timezone.empty() ? std::string_view(settings().timezone) : timezone);
    // A function checks what it writes, and the trigger on what was written needs it again.
    struct Last {
        std::string text;
        std::string zone;
        ZonedSchedule read;
    };
    static auto& last = *new Last;
    if (last.read.schedule == nullptr || last.text != text || last.zone != zone) {
        ZonedSchedule read = parse_zoned(text, zone);
        last = {std::string(text), zone, std::move(read)};
    }
    return last.read;
}

bool is_no_schedule(const Error& error) { return error.sqlstate().starts_with("22"); }

std::string schedule_problem(const Error& error) {
    std::string problem = error.message();
    problem += error.detail().empty() ? "." : " (" + error.detail() + ")";
    return problem + " Set a valid schedule, then call cron.resume().";
}

std::string format_utc(core::Instant instant) {
    return call([instant] {
        pg_tm parts;
        fsec_t microseconds = 0;
        int zone = 0;
        const TimestampTz time = to_timestamp(instant);
        if (timestamp2tm(time, nullptr, &parts, &microseconds, nullptr, nullptr) != 0) {
            ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
                            errmsg("timestamp out of range")));
        }
        char* text = static_cast<char*>(palloc(MAXDATELEN + 1));
        EncodeDateTime(&parts, microseconds, true, zone, "UTC", USE_ISO_DATES, text);
        return static_cast<const char*>(text);
    });
}

void require_zone(std::string_view timezone) { (void)require_pg_zone(timezone); }

}  // namespace securatlas::pg
