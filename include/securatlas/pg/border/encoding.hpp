// Text between the database's encoding and those that come and go over the network. A database of
// SQL_ASCII knows no encoding: it takes and gives bytes as they are, but no zero byte.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace securatlas::pg {

// A text of the database in UTF-8. nullopt: one of its characters has no place there. In a
// transaction.
std::optional<std::string> to_utf8(std::string_view text);

// Bytes that came with this charset (core::charset()), as text of the database. Without a charset
// they are taken for UTF-8. `is_cut`: what ends within a character loses that one. nullopt: they
// are no such text, nobody knows the charset, or the database has no place for a character. In a
// transaction.
std::optional<std::string> to_database_text(std::string_view bytes, std::string_view charset,
                                            bool is_cut);

// The same for what is written for people, in UTF-8 or whatever a library uses: always some text.
std::string message_text(std::string_view message);

// `text` if it is valid in the database's encoding; else each byte that is not ASCII becomes "?".
// Needs no transaction.
std::string valid_text(std::string_view text);

}  // namespace securatlas::pg
