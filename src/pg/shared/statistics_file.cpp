// Statistics while the server is down: a file for each database, in the directory in which
// PostgreSQL keeps its own. A process that counts writes it when it ends, the last one all that
// there is; the first one after a start reads and removes it. A server that has crashed removes all
// of them, also those of processes that had ended alone before.
//
//     Header, then for each of the three tables its entries and an empty one; then a checksum
#include <cstring>

#include "securatlas/pg/border/guard.hpp"
#include "shared/statistics_tables.hpp"

extern "C" {
#include <unistd.h>

#include "catalog/pg_control.h"
#include "common/controldata_utils.h"
#include "pgstat.h"
#include "port/pg_crc32c.h"
#include "storage/fd.h"
}

namespace securatlas::pg {
namespace {

constexpr const char* kBeginning = "securatlas_sched.";
constexpr const char* kEnding = ".stat";

struct Header {
    char magic[8];
    std::uint32_t version;
    DatabaseOid database;
    std::uint32_t sizes[3];
    std::uint32_t zero;
};

Header header_of(DatabaseOid database) {
    return {{'s', 'c', 'h', 'e', 'd', 's', 't', 'a'},
            2,
            database,
            {sizeof(JobStatistics), sizeof(HostStatistics), sizeof(DatabaseStatistics)},
            0};
}

// C world from here on.

struct Path {
    char text[MAXPGPATH];
};

Path path_of(DatabaseOid database, const char* suffix = "") {
    Path path;
    snprintf(path.text, sizeof path.text, "%s/%s%u%s%s", PGSTAT_STAT_PERMANENT_DIRECTORY,
             kBeginning, database, kEnding, suffix);
    return path;
}

struct File {
    FILE* stream;
    pg_crc32c sum;
    bool is_good;
};

void put(File& file, const void* data, std::size_t size) {
    COMP_CRC32C(file.sum, data, size);
    file.is_good = file.is_good && fwrite(data, 1, size, file.stream) == size;
}

bool get(File& file, void* data, std::size_t size) {
    file.is_good = file.is_good && fread(data, 1, size, file.stream) == size;
    if (file.is_good) COMP_CRC32C(file.sum, data, size);
    return file.is_good;
}

// An empty key ends the entries of a table.
template <class Entry>
void put_entries(File& file, dshash_table* table, DatabaseOid database) {
    dshash_seq_status scan;
    dshash_seq_init(&scan, table, false);
    while (const auto* entry = static_cast<const Entry*>(dshash_seq_next(&scan))) {
        if (entry->key.database == database) put(file, entry, sizeof *entry);
    }
    dshash_seq_term(&scan);
    alignas(Entry) const char end[sizeof(Entry)] = {};
    put(file, end, sizeof end);
}

template <class Entry>
void restore(StatisticsTables&, Entry& entry, const Entry& kept) {
    memcpy(static_cast<void*>(&entry), &kept, sizeof entry);
}

// Its place among the ranks is another one than before.
void restore(StatisticsTables& tables, JobStatistics& entry, const JobStatistics& kept) {
    memcpy(static_cast<void*>(&entry.counters), &kept.counters, sizeof entry.counters);
    rank_entry(tables, entry);
}

template <class Entry>
void get_entries(File& file, StatisticsTables& tables, dshash_table* table, DatabaseOid database) {
    alignas(Entry) char bytes[sizeof(Entry)];
    while (get(file, bytes, sizeof bytes)) {
        StatisticsKey key;
        memcpy(&key, bytes, sizeof key);
        if (key.database != database) return;
        bool found = false;
        auto* entry = static_cast<Entry*>(dshash_find_or_insert(table, &key, &found));
        if (!found) begin_entry(tables, *entry);
        restore(tables, *entry, *reinterpret_cast<const Entry*>(bytes));
        dshash_release_lock(table, entry);
    }
}

void warn(const char* what, const char* path) {
    ereport(LOG, (errcode_for_file_access(),
                  errmsg("securatlas_sched: could not %s file \"%s\": %m", what, path)));
}

bool has_counters(const StatisticsTables& tables, DatabaseOid database) {
    const StatisticsKey key{database, 0, 0};
    void* entry = dshash_find(tables.databases, &key, false);
    if (entry == nullptr) return false;
    dshash_release_lock(tables.databases, entry);
    return true;
}

void write_file(StatisticsTables& tables, DatabaseOid database) {
    const Path path = path_of(database);
    const Path temporary = path_of(database, ".tmp");
    File file{AllocateFile(temporary.text, PG_BINARY_W), 0, true};
    if (file.stream == nullptr) return warn("write", temporary.text);
    INIT_CRC32C(file.sum);
    const Header header = header_of(database);
    put(file, &header, sizeof header);
    put_entries<JobStatistics>(file, tables.jobs, database);
    put_entries<HostStatistics>(file, tables.hosts, database);
    put_entries<DatabaseStatistics>(file, tables.databases, database);
    const pg_crc32c sum = file.sum;
    put(file, &sum, sizeof sum);
    if (FreeFile(file.stream) != 0 || !file.is_good) {
        warn("write", temporary.text);
        (void)unlink(temporary.text);
    } else {
        (void)durable_rename(temporary.text, path.text, LOG);
    }
}

// Whether it is complete and of this library. What is read afterwards is from the start again.
bool is_valid(File& file, DatabaseOid database) {
    char bytes[8192];
    std::size_t left = 0;
    Header header;
    const Header wanted = header_of(database);
    if (!get(file, &header, sizeof header) || memcmp(&header, &wanted, sizeof header) != 0) {
        return false;
    }
    if (fseek(file.stream, 0, SEEK_END) != 0) return false;
    const long size = ftell(file.stream);
    if (size < static_cast<long>(sizeof header + sizeof(pg_crc32c))) return false;
    left = static_cast<std::size_t>(size) - sizeof header - sizeof(pg_crc32c);
    if (fseek(file.stream, sizeof header, SEEK_SET) != 0) return false;
    while (left > 0) {
        const std::size_t part = left < sizeof bytes ? left : sizeof bytes;
        if (!get(file, bytes, part)) return false;
        left -= part;
    }
    const pg_crc32c sum = file.sum;
    pg_crc32c stored = 0;
    if (!get(file, &stored, sizeof stored) || stored != sum) return false;
    return fseek(file.stream, sizeof header, SEEK_SET) == 0;
}

void read_file(StatisticsTables& tables, DatabaseOid database) {
    const Path path = path_of(database);
    File file{AllocateFile(path.text, PG_BINARY_R), 0, true};
    if (file.stream == nullptr) {
        if (errno != ENOENT) warn("read", path.text);
        return;
    }
    INIT_CRC32C(file.sum);
    if (is_valid(file, database)) {
        get_entries<JobStatistics>(file, tables, tables.jobs, database);
        get_entries<HostStatistics>(file, tables, tables.hosts, database);
        get_entries<DatabaseStatistics>(file, tables, tables.databases, database);
    } else {
        ereport(LOG, (errmsg("securatlas_sched: file \"%s\" is not of this version, or damaged: "
                             "statistics begin anew",
                             path.text)));
    }
    (void)FreeFile(file.stream);
    (void)unlink(path.text);
}

bool ended_well() {
    bool is_valid_file = false;
    const ControlFileData* control = get_controlfile(DataDir, &is_valid_file);
    return is_valid_file &&
           (control->state == DB_SHUTDOWNED || control->state == DB_SHUTDOWNED_IN_RECOVERY);
}

void remove_all_files() {
    DIR* directory = AllocateDir(PGSTAT_STAT_PERMANENT_DIRECTORY);
    const std::size_t length = strlen(kBeginning);
    while (const dirent* found = ReadDirExtended(directory, PGSTAT_STAT_PERMANENT_DIRECTORY, LOG)) {
        if (strncmp(found->d_name, kBeginning, length) != 0) continue;
        char path[MAXPGPATH];
        snprintf(path, sizeof path, "%s/%s", PGSTAT_STAT_PERMANENT_DIRECTORY, found->d_name);
        (void)unlink(path);
    }
    (void)FreeDir(directory);
}

}  // namespace

void write_statistics_file(DatabaseOid database) noexcept {
    with_statistics([database](StatisticsTables& tables) {
        if (has_counters(tables, database)) write_file(tables, database);
    });
}

void read_statistics_file(DatabaseOid database) noexcept {
    with_statistics([database](StatisticsTables& tables) { read_file(tables, database); });
}

void remove_statistics_file(DatabaseOid database) noexcept { (void)unlink(path_of(database).text); }

void check_statistics_files(bool is_restart) {
    if (is_restart || !ended_well()) remove_all_files();
}

}  // namespace securatlas::pg
