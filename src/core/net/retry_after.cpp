#include <algorithm>
#include <array>
#include <chrono>

#include "ascii.hpp"
#include "securatlas/core/backoff.hpp"
#include "securatlas/core/net/retry_policy.hpp"

namespace securatlas::core {

namespace {

namespace chrono = std::chrono;

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> kDays = {"Monday", "Tuesday",  "Wednesday", "Thursday",
                                                   "Friday", "Saturday", "Sunday"};

// Reads a text from the left. After the first mismatch ok() is false, and nothing else matters.
class Reader {
  public:
    explicit Reader(std::string_view text) : text_(text) {}

    bool ok() const { return ok_; }
    bool at_end() const { return text_.empty(); }

    bool skip(std::string_view prefix) {
        const bool found = text_.starts_with(prefix);
        if (found) text_.remove_prefix(prefix.size());
        return found;
    }

    void expect(std::string_view prefix) { ok_ = skip(prefix) && ok_; }

    // Exactly `width` digits.
    int number(std::size_t width) {
        if (text_.size() < width || !std::ranges::all_of(text_.substr(0, width), is_digit)) {
            ok_ = false;
            return 0;
        }
        int value = 0;
        for (const char c : text_.substr(0, width)) value = value * 10 + (c - '0');
        text_.remove_prefix(width);
        return value;
    }

    // The month's number, 1 to 12.
    unsigned month() {
        for (unsigned index = 0; index < kMonths.size(); ++index) {
            if (skip(kMonths[index])) return index + 1;
        }
        ok_ = false;
        return 1;
    }

  private:
    std::string_view text_;
    bool ok_ = true;
};

struct Date {
    int year = 0;
    unsigned month = 1;
    int day = 1;
    int hour = 0, minute = 0, second = 0;
};

void read_time(Reader& reader, Date& date) {
    date.hour = reader.number(2);
    reader.expect(":");
    date.minute = reader.number(2);
    reader.expect(":");
    date.second = reader.number(2);
}

// "06 Nov 1994 08:49:37 GMT"
Date read_fixed(Reader& reader) {
    Date date;
    date.day = reader.number(2);
    reader.expect(" ");
    date.month = reader.month();
    reader.expect(" ");
    date.year = reader.number(4);
    reader.expect(" ");
    read_time(reader, date);
    reader.expect(" GMT");
    return date;
}

// "06-Nov-94 08:49:37 GMT". A year that seems to be more than 50 years ahead is in the past.
Date read_rfc850(Reader& reader, Instant now) {
    Date date;
    date.day = reader.number(2);
    reader.expect("-");
    date.month = reader.month();
    reader.expect("-");
    const int this_year =
        static_cast<int>(chrono::year_month_day(chrono::floor<chrono::days>(now)).year());
    date.year = this_year / 100 * 100 + reader.number(2);
    if (date.year > this_year + 50) date.year -= 100;
    reader.expect(" ");
    read_time(reader, date);
    reader.expect(" GMT");
    return date;
}

// "Nov  6 08:49:37 1994"
Date read_asctime(Reader& reader) {
    Date date;
    date.month = reader.month();
    reader.expect(" ");
    date.day = reader.number(reader.skip(" ") ? 1 : 2);
    reader.expect(" ");
    read_time(reader, date);
    reader.expect(" ");
    date.year = reader.number(4);
    return date;
}

std::optional<Instant> to_instant(const Date& date) {
    const chrono::year_month_day day(chrono::year(date.year), chrono::month(date.month),
                                     chrono::day(static_cast<unsigned>(date.day)));
    // A leap second is 60.
    if (!day.ok() || date.hour > 23 || date.minute > 59 || date.second > 60) return std::nullopt;
    return chrono::sys_days(day) + chrono::hours(date.hour) + chrono::minutes(date.minute) +
           chrono::seconds(date.second);
}

std::optional<Instant> parse_http_date(std::string_view text, Instant now) {
    for (const std::string_view day : kDays) {
        Reader reader(text);
        Date date;
        if (reader.skip(day)) {
            reader.expect(", ");
            date = read_rfc850(reader, now);
        } else if (!reader.skip(day.substr(0, 3))) {
            continue;
        } else if (reader.skip(", ")) {
            date = read_fixed(reader);
        } else {
            reader.expect(" ");
            date = read_asctime(reader);
        }
        if (!reader.ok() || !reader.at_end()) return std::nullopt;
        return to_instant(date);
    }
    return std::nullopt;
}

std::string_view trim(std::string_view text) {
    const auto is_blank = [](char c) { return c == ' ' || c == '\t'; };
    while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
    while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
    return text;
}

// More digits than fit cannot overflow: the value stops growing at the cap.
Duration capped_seconds(std::string_view digits) {
    Duration wait(0);
    for (const char c : digits) {
        wait = std::min<Duration>(wait * 10 + chrono::seconds(c - '0'), kMaxRetryDelay);
    }
    return wait;
}

}  // namespace

std::optional<Duration> parse_retry_after(std::string_view value, Instant now) {
    value = trim(value);
    if (!value.empty() && std::ranges::all_of(value, is_digit)) return capped_seconds(value);
    const std::optional<Instant> at = parse_http_date(value, now);
    if (!at) return std::nullopt;
    if (*at <= now) return Duration(0);
    // Compared first: now may be so early that the difference overflows.
    if (now < *at - kMaxRetryDelay) return kMaxRetryDelay;
    return *at - now;
}

}  // namespace securatlas::core
