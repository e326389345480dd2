// The extension in this database, and whether this library may work for it.
#pragma once

#include <cstdint>
#include <string>

namespace securatlas::pg {

struct InstalledExtension {
    enum class State : std::uint8_t {
        absent,         // this database does not hold the extension
        matching,       // it is of the library's version
        other_version,  // ALTER EXTENSION ... UPDATE has to be run, or the server to be restarted
    };
    State state;
    std::string name;     // securatlas_sched, or, where that is absent, pg_cron or pg_net
    std::string version;  // of the extension of this name; empty if it is absent
    // Numbers of the schemas that it has, 0: it has not. Another one if a schema was dropped and
    // made again.
    std::uint32_t cron = 0;
    std::uint32_t net = 0;
};

// What the catalog says now. Needs a transaction.
InstalledExtension installed_extension();

// Throws Error 55000 if the server has not preloaded the library, or if the extension is absent or
// of another version. The script of the extension itself may call functions at every version. What
// the catalog says is remembered until it changes, so that this may stand before everything.
void require_usable_extension();

// As require_usable_extension(), for those that wait instead of failing.
bool extension_is_usable();

// The error of an extension that is absent or of another version.
class Error;
Error unusable_extension(const InstalledExtension& found);

// The transaction has changed the extension's row: what all sessions remember of it ends with its
// commit.
void forget_installed_extension();

}  // namespace securatlas::pg
