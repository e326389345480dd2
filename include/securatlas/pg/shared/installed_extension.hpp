// Whether this database has the extension, in the version of this library.
#pragma once

#include <cstdint>
#include <string>

namespace securatlas::pg {

struct InstalledExtension {
    enum class State : std::uint8_t {
        absent,         // this database does not have the extension
        matching,       // it has the library's version
        other_version,  // ALTER EXTENSION ... UPDATE or a restart of the server is needed
    };
    State state;
    std::string name;     // securatlas_sched, or, where that is absent, pg_cron or pg_net
    std::string version;  // of the extension of this name; empty if it is absent
    // Oids of its schemas; 0: it does not have the schema. A schema that was dropped and created
    // again has another oid.
    std::uint32_t cron = 0;
    std::uint32_t net = 0;
};

// Reads the catalog. Needs a transaction.
InstalledExtension installed_extension();

// Throws Error 55000 if the server has not preloaded the library, or if the extension is absent or
// has another version. The extension's own script may call functions at any version. The result is
// cached until the catalog changes, so that every SQL function can call this first.
void require_usable_extension();

// Like require_usable_extension(), for callers that wait instead of failing.
bool extension_is_usable();

// The error for an extension that is absent or has another version.
class Error;
Error unusable_extension(const InstalledExtension& found);

// To be called when the transaction has changed the extension's row: invalidates the cached result
// in all sessions when it commits.
void forget_installed_extension();

}  // namespace securatlas::pg
