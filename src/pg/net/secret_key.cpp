// The file is created under a temporary name and then linked to its own name: if two processes
// create it at the same time one of them wins, and no process reads an incomplete key.
#include "net/secret_key.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/process.hpp"
#include "securatlas/pg/net/sealing.hpp"

extern "C" {
#include "access/xlog.h"
#include "common/file_perm.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/guc.h"
}

namespace securatlas::pg {
namespace {

struct KeyState {
    char* file = nullptr;  // net.secret_key_file, which PostgreSQL writes
    bool is_known = false;
    SecretKey key{};
};
constinit KeyState state;

Error file_error(const char* what, int error) {
    return Error("58030",
                 std::string("could not ") + what + " secret key file \"" + state.file +
                     "\": " + strerror(error),
                 "", "See net.secret_key_file.");
}

class File {
  public:
    explicit File(int descriptor) : descriptor_(descriptor) {}
    ~File() {
        if (descriptor_ >= 0) close(descriptor_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    int get() const { return descriptor_; }

  private:
    int descriptor_;
};

// False: there is no such file.
bool read_key(SecretKey& key) {
    const File file(open(state.file, O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) {
        if (errno == ENOENT) return false;
        throw file_error("open", errno);
    }
    struct stat status {};
    if (fstat(file.get(), &status) != 0) throw file_error("inspect", errno);
    // The same permissions as the files of the data directory: the group may read them if initdb
    // was run with --allow-group-access.
    const auto allowed = static_cast<mode_t>(pg_file_create_mode);
    if (!S_ISREG(status.st_mode) || (status.st_mode & (S_IRWXG | S_IRWXO) & ~allowed) != 0) {
        throw Error(
            "58030",
            std::string("secret key file \"") + state.file + "\" must not be accessible to others",
            (allowed & S_IRGRP) != 0 ? "It must be a regular file of mode 0640 or stricter."
                                     : "It must be a regular file of mode 0600 or stricter.");
    }
    SecretKey found{};
    const ssize_t length = read(file.get(), found.data(), found.size());
    if (length < 0) throw file_error("read", errno);
    if (static_cast<std::size_t>(length) != key.size() ||
        status.st_size != static_cast<off_t>(key.size())) {
        throw Error("58030",
                    std::string("secret key file \"") + state.file + "\" does not contain a key",
                    "It must have exactly 32 bytes.");
    }
    key = found;
    return true;
}

void write_key(const SecretKey& key, const std::string& name) {
    const File file(open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                         static_cast<mode_t>(pg_file_create_mode)));
    if (file.get() < 0) throw file_error("create", errno);
    if (write(file.get(), key.data(), key.size()) != static_cast<ssize_t>(key.size())) {
        throw file_error("write", errno);
    }
    if (fsync(file.get()) != 0) throw file_error("sync", errno);
}

void make_key_file() {
    SecretKey key;
    const bool is_random = call([&key] { return pg_strong_random(key.data(), key.size()); });
    if (!is_random) throw Error("XX000", "could not generate a random key");
    const std::string temporary = std::string(state.file) + "." + std::to_string(getpid());
    (void)unlink(temporary.c_str());
    write_key(key, temporary);
    const bool is_linked = link(temporary.c_str(), state.file) == 0 || errno == EEXIST;
    const int error = errno;
    (void)unlink(temporary.c_str());
    if (!is_linked) throw file_error("create", error);
    call([] { fsync_fname(".", true); });
}

// A standby that was created before its primary had a key must not create a key of its own when it
// starts.
bool is_standby() {
    return access("standby.signal", F_OK) == 0 || access("recovery.signal", F_OK) == 0;
}

}  // namespace

const SecretKey& secret_key() {
    if (state.is_known) return state.key;
    if (!read_key(state.key)) {
        make_key_file();
        if (!read_key(state.key)) throw file_error("read", ENOENT);
    }
    state.is_known = true;
    return state.key;
}

void define_secret_key() {
    call([] {
        DefineCustomStringVariable(
            "net.secret_key_file",
            "File with the key that encrypts secrets; created if it does not exist.",
            "A relative name is relative to the data directory.", &state.file,
            "securatlas_sched.key", PGC_POSTMASTER, GUC_SUPERUSER_ONLY, nullptr, nullptr, nullptr);
    });
    if ((is_standby() || IsBinaryUpgrade) && access(state.file, F_OK) != 0) return;
    try {
        (void)secret_key();
    } catch (const Error& error) {
        write_log(LogLevel::warning, "securatlas_sched: " + error.message() +
                                         (error.detail().empty() ? "" : ": " + error.detail()));
    }
}

}  // namespace securatlas::pg
