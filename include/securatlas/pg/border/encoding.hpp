// Converts text between the database encoding and the encodings on the network. A database with
// encoding SQL_ASCII does not know its encoding: bytes pass through unchanged, but zero bytes are
// not text.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace securatlas::pg {

// Converts text of the database to UTF-8. nullopt: a character has no equivalent. Needs a
// transaction.
std::optional<std::string> to_utf8(std::string_view text);

// Converts bytes in this charset (core::charset(); empty means UTF-8) to text of the database.
// `is_cut`: an incomplete character at the end is dropped. nullopt: the bytes are not valid in the
// charset, PostgreSQL does not know it, or the database encoding lacks a character. Needs a
// transaction.
std::optional<std::string> to_database_text(std::string_view bytes, std::string_view charset,
                                            bool is_cut);

// The same for a message of a library or of the operating system, in UTF-8 or an unknown encoding.
// Always returns valid text.
std::string message_text(std::string_view message);

// `text` if it is valid in the database encoding; else with "?" for each byte that is not ASCII.
// Needs no transaction.
std::string valid_text(std::string_view text);

}  // namespace securatlas::pg
