#include "cron/cron_parser.hpp"

#include <algorithm>
#include <optional>
#include <span>

namespace securatlas::core {

namespace {

constexpr std::string_view kMonthNames[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                            "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::string_view kWeekdayNames[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct FieldRule {
    std::string_view name;
    int low;
    int high;   // of a value as written: Sunday may be written as 7
    int count;  // of different values
    std::span<const std::string_view> names = {};  // of the values from `low`
};

constexpr FieldRule kMinute{"minute", 0, 59, 60};
constexpr FieldRule kHour{"hour", 0, 23, 24};
constexpr FieldRule kDay{"day of month", 1, 31, 31};
constexpr FieldRule kMonth{"month", 1, 12, 12, kMonthNames};
constexpr FieldRule kWeekday{"day of week", 0, 7, 7, kWeekdayNames};

constexpr int kSunday = 0;

struct Value {
    int number;
    bool is_name;
};

class FieldsParser {
  public:
    // own: what this extension accepts; of_pg_cron: what pg_cron accepts, whatever it makes of it.
    enum class Language { own, of_pg_cron };
    FieldsParser(std::string_view text, std::size_t position, Language language)
        : text_(text), position_(position), language_(language) {}

    Result<CronFields, Fault> parse();

  private:
    // Each returns false once it has set fault_.
    bool parse_fields();
    bool parse_field(const FieldRule& rule, std::uint64_t& set);
    bool parse_item(const FieldRule& rule, std::uint64_t& set);
    bool parse_range(const FieldRule& rule, Value first, std::uint64_t& set);
    bool parse_step(const FieldRule& rule, int first, int last, std::uint64_t& set);
    bool parse_value(const FieldRule& rule, Value& value);
    bool parse_number(const FieldRule& rule, int low, int high, int& number);
    bool parse_last_day(const FieldRule& rule);
    bool parse_nth_weekday(const FieldRule& rule, int weekday);

    bool fail(std::string reason, std::size_t position, std::string_view of_pg_cron = {});
    bool fail_unexpected(const FieldRule& rule, std::string_view of_pg_cron = {});
    bool skip_rest_of_field(const FieldRule& rule);

    char peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }
    bool at_star() const { return peek() == '*' || peek() == '?'; }
    bool accept(char lower_case) {
        if (to_lower(peek()) != lower_case) return false;
        ++position_;
        return true;
    }
    void skip_blanks() {
        while (is_blank(peek())) ++position_;
    }

    std::string_view text_;
    std::size_t position_;
    Language language_;
    CronFields fields_;
    bool is_known_to_pg_cron_ = false;  // the item that was read last
    std::optional<Fault> fault_;
};

Result<CronFields, Fault> FieldsParser::parse() {
    if (!parse_fields()) return Failure{*std::move(fault_)};
    return fields_;
}

bool FieldsParser::parse_fields() {
    std::uint64_t minutes = 0, hours = 0, days = 0, months = 0, weekdays = 0;
    if (!parse_field(kMinute, minutes) || !parse_field(kHour, hours)) return false;
    const std::size_t days_begin = position_;
    fields_.both_days = at_star();
    if (!parse_field(kDay, days) || !parse_field(kMonth, months)) return false;
    fields_.both_days |= at_star();
    if (!parse_field(kWeekday, weekdays)) return false;
    if (language_ == Language::of_pg_cron) return true;
    if (position_ != text_.size()) {
        return fail("there is text after the fifth field", position_, "pg_cron ignores it.");
    }
    fields_.minutes = minutes;
    fields_.hours = static_cast<std::uint32_t>(hours);
    fields_.days = static_cast<std::uint32_t>(days);
    fields_.months = static_cast<std::uint16_t>(months);
    fields_.weekdays = static_cast<std::uint8_t>(weekdays);
    if (!ever_matches(fields_)) {
        return fail("no day of any year matches this date", days_begin,
                    "pg_cron accepts the schedule, but never runs the job.");
    }
    return true;
}

// Parses a field and the blanks after it.
bool FieldsParser::parse_field(const FieldRule& rule, std::uint64_t& set) {
    do {
        if (!parse_item(rule, set)) return false;
        if (language_ == Language::of_pg_cron && !is_known_to_pg_cron_)
            return fail_unexpected(rule);
    } while (accept(','));
    if (position_ < text_.size() && !is_blank(peek()) && !skip_rest_of_field(rule)) return false;
    skip_blanks();
    return true;
}

bool FieldsParser::parse_item(const FieldRule& rule, std::uint64_t& set) {
    const bool of_month = &rule == &kDay;
    const bool of_week = &rule == &kWeekday;
    is_known_to_pg_cron_ = peek() == '*';
    if (at_star()) {
        ++position_;
        return parse_step(rule, rule.low, rule.low + rule.count - 1, set);
    }
    if (of_month && (peek() == '$' || to_lower(peek()) == 'l')) return parse_last_day(rule);
    Value first{};
    if (!parse_value(rule, first)) return false;
    if (of_month && accept('w')) {
        fields_.nearest_weekdays |= std::uint32_t{1} << first.number;
        return true;
    }
    if (of_week && accept('l')) {
        fields_.last_weekdays |= static_cast<std::uint8_t>(1 << first.number % 7);
        return true;
    }
    if (of_week && accept('#')) return parse_nth_weekday(rule, first.number % 7);
    return parse_range(rule, first, set);
}

bool FieldsParser::parse_range(const FieldRule& rule, Value first, std::uint64_t& set) {
    if (!accept('-')) {
        is_known_to_pg_cron_ = peek() != '/';
        return parse_step(rule, first.number, peek() == '/' ? rule.high : first.number, set);
    }
    is_known_to_pg_cron_ = true;
    Value last{};
    if (!parse_value(rule, last)) return false;
    const bool ends_the_week = &rule == &kWeekday && last.is_name && last.number == kSunday;
    return parse_step(rule, first.number, ends_the_week ? rule.high : last.number, set);
}

// Parses the step, if there is one, and adds the values of the range to `set`.
bool FieldsParser::parse_step(const FieldRule& rule, int first, int last, std::uint64_t& set) {
    int step = 1;
    if (accept('/') && !parse_number(rule, 1, rule.high, step)) return false;
    const int length = last >= first ? last - first : (last - first + rule.count) % rule.count;
    for (int i = 0; i <= length; i += step) {
        set |= std::uint64_t{1} << (rule.low + (first - rule.low + i) % rule.count);
    }
    return true;
}

bool FieldsParser::parse_value(const FieldRule& rule, Value& value) {
    if (is_digit(peek())) {
        value.is_name = false;
        return parse_number(rule, rule.low, rule.high, value.number);
    }
    if (rule.names.empty() || !is_letter(peek())) return fail_unexpected(rule);
    for (std::size_t i = 0; i < rule.names.size(); ++i) {
        const std::string_view name = rule.names[i];
        const std::string_view word = text_.substr(position_, name.size());
        if (std::ranges::equal(word, name, {}, to_lower)) {
            position_ += name.size();
            value = {rule.low + static_cast<int>(i), true};
            return true;
        }
    }
    std::size_t end = position_;
    while (end < text_.size() && is_letter(text_[end])) ++end;
    return fail("the name " + in_quotes(text_.substr(position_, end - position_)) +
                    " is unknown in the " + std::string(rule.name),
                position_);
}

bool FieldsParser::parse_number(const FieldRule& rule, int low, int high, int& number) {
    if (!is_digit(peek())) return fail_unexpected(rule);
    auto read = read_number(text_, position_, rule.name, low, high);
    if (!read) {
        fault_ = read.error();
        return false;
    }
    number = *read;
    return true;
}

bool FieldsParser::parse_last_day(const FieldRule& rule) {
    const bool may_be_modified = peek() != '$';
    is_known_to_pg_cron_ = !may_be_modified;
    ++position_;
    int days_before = 0;
    if (may_be_modified && accept('w')) {
        fields_.nearest_weekdays |= 1;
        return true;
    }
    if (may_be_modified && accept('-') && !parse_number(rule, 1, 30, days_before)) return false;
    fields_.days_before_last |= std::uint32_t{1} << days_before;
    return true;
}

bool FieldsParser::parse_nth_weekday(const FieldRule& rule, int weekday) {
    int n = 0;
    if (!parse_number(rule, 1, 5, n)) return false;
    fields_.nth_weekdays[static_cast<std::size_t>(n - 1)] |=
        static_cast<std::uint8_t>(1 << weekday);
    return true;
}

bool FieldsParser::fail(std::string reason, std::size_t position, std::string_view of_pg_cron) {
    fault_ = Fault{std::move(reason), position, of_pg_cron};
    return false;
}

bool FieldsParser::fail_unexpected(const FieldRule& rule, std::string_view of_pg_cron) {
    const std::string of_field = " in the " + std::string(rule.name);
    if (position_ == text_.size() || is_blank(peek())) {
        return fail("a value is missing" + of_field, position_);
    }
    return fail(in_quotes(text_.substr(position_, 1)) + " is unexpected" + of_field, position_,
                of_pg_cron);
}

// pg_cron skips what follows an item in the field, unless it is a letter or digit that follows
// another one.
bool FieldsParser::skip_rest_of_field(const FieldRule& rule) {
    const char before = text_[position_ - 1];
    const bool is_word = is_digit(peek()) || is_letter(peek());
    const bool is_skipped = is_known_to_pg_cron_ && before != '$' && (!is_word || before == '*');
    if (language_ == Language::of_pg_cron && is_skipped) {
        while (position_ < text_.size() && !is_blank(peek())) ++position_;
        return true;
    }
    return fail_unexpected(rule, is_skipped ? "pg_cron skips the rest of the field." : "");
}

}  // namespace

std::string in_quotes(std::string_view part) {
    constexpr std::size_t kShown = 20;
    std::string shown = "\"" + std::string(part.substr(0, kShown));
    return shown.append(part.size() > kShown ? "...\"" : "\"");
}

Result<int, Fault> read_number(std::string_view text, std::size_t& position, std::string_view name,
                               int low, int high) {
    constexpr int kTooLarge = 1'000'000;
    const std::size_t begin = position;
    int number = 0;
    for (; position < text.size() && is_digit(text[position]); ++position) {
        number = std::min(kTooLarge, number * 10 + (text[position] - '0'));
    }
    if (position > begin && number >= low && number <= high) return number;
    const std::string_view digits = text.substr(begin, position - begin);
    return Failure{Fault{in_quotes(digits) + " is out of range " + std::to_string(low) + "-" +
                             std::to_string(high) + " for the " + std::string(name),
                         begin}};
}

Result<CronFields, Fault> parse_cron_fields(std::string_view text, std::size_t position) {
    using Language = FieldsParser::Language;
    auto parsed = FieldsParser(text, position, Language::own).parse();
    if (parsed || parsed.error().of_pg_cron.empty()) return parsed;
    // pg_cron may refuse the schedule because of something else in it.
    if (FieldsParser(text, position, Language::of_pg_cron).parse()) return parsed;
    Fault fault = parsed.error();
    fault.of_pg_cron = {};
    return Failure{std::move(fault)};
}

}  // namespace securatlas::core
