// Encryption of what must not stand in a table: credentials in headers, secrets, and responses that
// hold some. AES-256-GCM; the key is in a file of the server (net.secret_key_file), not in any
// database.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace securatlas::pg {

// What sealed bytes are bound to: they open for the same purpose and name only.
struct SealPurpose {
    const char* kind;  // "headers", "secret", "response"
    std::string name;  // of the request or the secret
};

// Encrypts any bytes. Adds 45 bytes. Throws Error 58030 if the key file cannot be made or read, and
// Error XX000 if the cipher fails.
std::string seal(std::string_view plain, const SealPurpose& purpose);

// nullopt: not sealed with this key, for another purpose, or damaged. Throws as seal().
std::optional<std::string> unseal(std::string_view sealed, const SealPurpose& purpose);

// Declares net.secret_key_file, and reads or makes the key, so that it is there before a base
// backup is; for _PG_init in the postmaster. What fails is a warning in the log, and an error where
// the key is needed.
void define_secret_key();

}  // namespace securatlas::pg
