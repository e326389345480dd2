// Parses the five fields of a cron schedule.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "securatlas/core/cron/cron_fields.hpp"
#include "securatlas/core/result.hpp"
#include "securatlas/core/text.hpp"

namespace securatlas::core {

// What is wrong with a schedule's text, and where.
struct Fault {
    std::string reason;    // a clause, which continues "At character N, "
    std::size_t position;  // in bytes from the text's start
    // What pg_cron does with it, if it accepts such a schedule but does not do what its text says:
    // a sentence, as a literal, or empty.
    std::string_view of_pg_cron = {};
};

// Blanks separate the parts of a schedule.
constexpr bool is_blank(char c) { return c == ' ' || c == '\t'; }
constexpr bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// A part of the text for an error message: in quotes, at most 20 characters.
std::string in_quotes(std::string_view part);

// Reads the digits at `position`, and moves `position` past them. Fails if there are none or if
// the number is not in [low, high]; any number of digits is safe. The reason contains `name`.
Result<int, Fault> read_number(std::string_view text, std::size_t& position, std::string_view name,
                               int low, int high);

// Parses from `position` to the end of `text`, which must be printable ASCII and tabs. Also fails
// if no day of any year matches the fields.
Result<CronFields, Fault> parse_cron_fields(std::string_view text, std::size_t position);

}  // namespace securatlas::core
