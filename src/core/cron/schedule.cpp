#include "securatlas/core/cron/schedule.hpp"

#include <algorithm>
#include <chrono>

#include "cron/cron_parser.hpp"

namespace securatlas::core {

namespace {

using Parsed = Result<Schedule::Body, Fault>;

// The same text as pg_cron's, as is the beginning of the message.
constexpr std::string_view kHint =
    "Use cron format (e.g. 5 4 * * *), or interval format '[1-59] seconds'";

constexpr std::size_t kMaxLength = 999;

// The range of "@at": years that have four digits.
constexpr Instant kFirstTime = std::chrono::sys_days{std::chrono::year(1) / 1 / 1};
constexpr Instant kTimesEnd = std::chrono::sys_days{std::chrono::year(10000) / 1 / 1};

struct Macro {
    std::string_view name;
    std::string_view fields;
};
constexpr Macro kMacros[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 * * * *"},
};

std::size_t skip_blanks(std::string_view text, std::size_t position) {
    while (position < text.size() && is_blank(text[position])) ++position;
    return position;
}

std::size_t skip_word(std::string_view text, std::size_t position) {
    while (position < text.size() && !is_blank(text[position])) ++position;
    return position;
}

std::string to_hex(unsigned char byte) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    return {kDigits[byte >> 4], kDigits[byte & 15]};
}

// The text for an error message: printable ASCII, truncated if it is long.
std::string printable(std::string_view text) {
    constexpr std::size_t kShown = 200;
    std::string shown;
    for (const char c : text.substr(0, kShown)) {
        if (c >= ' ' && c <= '~') {
            shown += c;
        } else {
            shown.append("\\x").append(to_hex(static_cast<unsigned char>(c)));
        }
    }
    return text.size() > kShown ? shown + "..." : shown;
}

ScheduleError make_error(std::string_view text, const Fault& fault) {
    std::string detail =
        "At character " + std::to_string(fault.position + 1) + ", " + printable(fault.reason) + ".";
    if (!fault.of_pg_cron.empty()) detail.append(" ").append(fault.of_pg_cron);
    return {"invalid schedule: " + printable(text), std::move(detail), std::string(kHint)};
}

constexpr bool is_space(char c) { return is_blank(c) || c == '\n' || c == '\r'; }

// Skips blanks, ends of lines, and comments, which go from a "#" after one of these to the end of
// the line.
std::size_t skip_comments(std::string_view text, std::size_t position) {
    while (position < text.size() && (is_space(text[position]) || text[position] == '#')) {
        if (text[position] == '#') {
            position = std::min(text.find('\n', position), text.size());
        } else {
            ++position;
        }
    }
    return position;
}

// The end of the line that begins at `position`, or the beginning of a comment in it.
std::size_t find_end(std::string_view text, std::size_t position) {
    bool after_blank = true;
    for (; position < text.size() && text[position] != '\n'; ++position) {
        if (text[position] == '#' && after_blank) break;
        after_blank = is_space(text[position]);
    }
    return position;
}

// Checks the part of the text from `begin` on.
std::optional<Fault> check_characters(std::string_view text, std::size_t begin) {
    const auto bad = std::find_if(text.begin() + static_cast<std::ptrdiff_t>(begin), text.end(),
                                  [](char c) { return (c < ' ' && c != '\t') || c > '~'; });
    if (bad == text.end()) return std::nullopt;
    return Fault{"byte 0x" + to_hex(static_cast<unsigned char>(*bad)) + " is not allowed",
                 static_cast<std::size_t>(bad - text.begin())};
}

Parsed parse_every(std::string_view literal, std::size_t position, const LiteralParsers& literals) {
    const auto fail = [position](const std::string& reason) -> Parsed {
        return Failure{Fault{reason, position}};
    };
    if (literal.empty()) return fail("an interval is missing after @every");
    const auto interval = literals.interval(literal);
    if (!interval) return fail("the interval is not valid: " + interval.error());
    if (interval->months < 0 || interval->days < 0 || interval->time < Duration(0)) {
        return fail("the interval has a negative part");
    }
    if (interval->months == 0 && interval->days == 0 && interval->time < std::chrono::seconds(1)) {
        return fail("the interval is shorter than one second");
    }
    return Schedule::Body(Schedule::Every{*interval, false});
}

Parsed parse_at(std::string_view literal, std::size_t position, const LiteralParsers& literals) {
    if (literal.empty()) return Failure{Fault{"a time is missing after @at", position}};
    const auto instant = literals.timestamp(literal);
    if (!instant) return Failure{Fault{"the time is not valid: " + instant.error(), position}};
    if (*instant < kFirstTime || *instant >= kTimesEnd) {
        return Failure{Fault{"the time is not in the years 1 to 9999", position}};
    }
    return Schedule::Body(Schedule::At{*instant});
}

Parsed parse_macro(std::string_view text, std::size_t begin, const LiteralParsers& literals) {
    const std::size_t name_end = skip_word(text, begin);
    const std::string_view name = text.substr(begin, name_end - begin);
    const std::size_t argument = skip_blanks(text, name_end);
    const std::string_view literal = text.substr(argument);

    if (equal_ignoring_case(name, "@every")) return parse_every(literal, argument, literals);
    if (equal_ignoring_case(name, "@at")) return parse_at(literal, argument, literals);
    const auto* macro = std::ranges::find_if(
        kMacros, [name](const Macro& known) { return equal_ignoring_case(name, known.name); });
    const bool reboot =
        equal_ignoring_case(name, "@reboot") || equal_ignoring_case(name, "@restart");
    if (!reboot && macro == std::end(kMacros)) {
        return Failure{Fault{"the macro " + in_quotes(name) + " is unknown", begin}};
    }
    if (!literal.empty()) {
        return Failure{Fault{"there is text after the macro", argument, "pg_cron ignores it."}};
    }
    if (reboot) return Schedule::Body(Schedule::Reboot{});
    return Schedule::Body(*parse_cron_fields(macro->fields, 0));
}

// Parses "[1-59] seconds"; nullopt if the text does not begin with a number and the word "second"
// or "seconds".
std::optional<Parsed> parse_seconds(std::string_view text, std::size_t begin) {
    if (begin < text.size() && text[begin] == '+') ++begin;
    std::size_t digits_end = begin;
    while (digits_end < text.size() && is_digit(text[digits_end])) ++digits_end;
    const std::size_t word = skip_blanks(text, digits_end);
    const std::size_t word_end = skip_word(text, word);
    const std::string_view unit = text.substr(word, word_end - word);
    if (digits_end == begin ||
        (!equal_ignoring_case(unit, "second") && !equal_ignoring_case(unit, "seconds"))) {
        return std::nullopt;
    }
    std::size_t position = begin;
    const auto seconds = read_number(text, position, "seconds", 1, 59);
    if (!seconds) return Parsed(Failure{seconds.error()});
    const std::size_t rest = skip_blanks(text, word_end);
    if (rest != text.size()) {
        return Parsed(Failure{Fault{"there is text after the interval", rest}});
    }
    return Parsed(Schedule::Body(Schedule::Every{{0, 0, std::chrono::seconds(*seconds)}, true}));
}

Parsed parse_body(std::string_view text, std::size_t begin, const LiteralParsers& literals) {
    if (begin < text.size() && text[begin] == '@') return parse_macro(text, begin, literals);
    if (auto seconds = parse_seconds(text, begin)) return *std::move(seconds);
    auto fields = parse_cron_fields(text, begin);
    if (!fields) return Failure{fields.error()};
    return Schedule::Body(*fields);
}

// The zone name in the prefix at `position`, which is moved past the prefix; empty if there is
// none.
Result<std::string_view, Fault> parse_zone(std::string_view text, std::size_t& position) {
    for (const std::string_view prefix : {"CRON_TZ=", "TZ="}) {
        if (!text.substr(position).starts_with(prefix)) continue;
        const std::size_t begin = position + prefix.size();
        const std::size_t end = skip_word(text, begin);
        if (end == begin) {
            return Failure{Fault{"the name of a time zone is missing", begin}};
        }
        position = skip_blanks(text, end);
        return text.substr(begin, end - begin);
    }
    return std::string_view();
}

}  // namespace

Schedule::Schedule(Body body, std::string_view zone)
    : body_(body), zone_(zone.empty() ? nullptr : std::make_shared<const std::string>(zone)) {}

std::optional<std::string> Schedule::zone() const {
    return zone_ ? std::optional(*zone_) : std::nullopt;
}

Result<Schedule, ScheduleError> parse_schedule(std::string_view text,
                                               const LiteralParsers& literals) {
    const auto fail = [text](const Fault& fault) { return Failure{make_error(text, fault)}; };
    if (text.size() > kMaxLength) {
        return fail(
            {"the limit of " + std::to_string(kMaxLength) + " bytes is exceeded", kMaxLength});
    }
    std::size_t position = skip_comments(text, 0);
    const std::size_t end = find_end(text, position);
    const std::size_t more = skip_comments(text, end);
    if (more < text.size()) {
        return fail({"a second line begins", more, "pg_cron reads the first line only."});
    }
    std::string_view trimmed = text.substr(0, end);
    while (trimmed.size() > position && is_space(trimmed.back())) trimmed.remove_suffix(1);
    if (const auto fault = check_characters(trimmed, position)) return fail(*fault);
    const auto zone = parse_zone(trimmed, position);
    if (!zone) return fail(zone.error());
    auto body = parse_body(trimmed, position, literals);
    if (!body) return fail(body.error());
    return Schedule(*body, *zone);
}

}  // namespace securatlas::core
