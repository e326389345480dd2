// Encryption ("sealing") of what must not be readable in a table: credentials in headers, secrets,
// and responses that contain them. AES-256-GCM with a key in a file of the server
// (net.secret_key_file), not in any database.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace securatlas::pg {

// What sealed bytes are bound to: they can only be unsealed for the same kind and name.
struct SealPurpose {
    const char* kind;  // "headers", "secret", "response"
    std::string name;  // id of the request, or name of the secret
};

// Encrypts any bytes; the result is 45 bytes longer. Throws Error 58030 if the key file cannot be
// created or read, and Error XX000 if the cipher fails.
std::string seal(std::string_view plain, const SealPurpose& purpose);

// nullopt: sealed with another key or for another purpose, or damaged. Throws like seal().
std::optional<std::string> unseal(std::string_view sealed, const SealPurpose& purpose);

// Defines net.secret_key_file and reads or creates the key, so that every base backup contains it;
// for _PG_init in the postmaster. A failure is a warning in the log, and an error later where the
// key is needed.
void define_secret_key();

}  // namespace securatlas::pg
