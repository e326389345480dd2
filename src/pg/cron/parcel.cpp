#include "cron/parcel.hpp"

#include <cstring>
#include <unordered_map>

#include "securatlas/pg/border/encoding.hpp"
#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "mb/pg_wchar.h"
#include "storage/dsm.h"
#include "utils/resowner.h"
}

namespace securatlas::pg::runs {
namespace {

// The content of the segment: this header, then the texts one after another.
struct Header {
    int encoding;  // of the texts
    std::size_t command_size;
    std::size_t job_name_size;
    std::size_t database_size;
    std::size_t username_size;
    std::int64_t max_runtime_us;  // 0: none
};

// Segments that this process has created and not dropped yet.
std::unordered_map<std::uint32_t, dsm_segment*>& sent_parcels() {
    static auto& parcels = *new std::unordered_map<std::uint32_t, dsm_segment*>;
    return parcels;
}

char* put(char* to, const std::string& text) {
    std::memcpy(to, text.data(), text.size());
    return to + text.size();
}

std::string read_text(const char*& from, std::size_t size) {
    std::string text(from, size);
    from += size;
    return text;
}

// The encoding of texts in a SQL_ASCII database is not known.
std::string in_encoding_of_database(const std::string& text, int from) {
    const bool is_known = from != PG_SQL_ASCII;
    const auto converted =
        to_database_text(text, pg_encoding_to_char(is_known ? from : GetDatabaseEncoding()), false);
    if (converted) return *converted;
    throw Error("22P05",
                "command or name of the job cannot be converted to the encoding of this database",
                std::string("The database of the job has encoding \"") + pg_encoding_to_char(from) +
                    "\", and this one has \"" + GetDatabaseEncodingName() + "\".");
}

}  // namespace

std::uint32_t send_parcel(const Task& task) {
    const Header header{
        GetDatabaseEncoding(), task.command.size(),
        task.job_name.size(),  task.database.size(),
        task.username.size(),  task.max_runtime ? task.max_runtime->count() : std::int64_t{0}};
    const std::size_t size = sizeof header + header.command_size + header.job_name_size +
                             header.database_size + header.username_size;
    dsm_segment* segment = call([size] {
        dsm_segment* made = dsm_create(size, 0);
        dsm_pin_mapping(made);  // keep the mapping after the transaction
        return made;
    });
    char* to = static_cast<char*>(dsm_segment_address(segment));
    std::memcpy(to, &header, sizeof header);
    to = put(to + sizeof header, task.command);
    to = put(put(put(to, task.job_name), task.database), task.username);
    const std::uint32_t handle = dsm_segment_handle(segment);
    try {
        sent_parcels()[handle] = segment;
    } catch (...) {
        call([segment] { dsm_detach(segment); });
        throw;
    }
    return handle;
}

void drop_parcel(std::uint32_t parcel) {
    const auto found = sent_parcels().find(parcel);
    if (found == sent_parcels().end()) return;
    call([segment = found->second] { dsm_detach(segment); });
    sent_parcels().erase(found);
}

Task read_parcel(std::uint32_t parcel) {
    dsm_segment* segment = call([parcel] { return dsm_attach(parcel); });
    Task task;
    if (segment == nullptr) return task;
    const char* from = static_cast<const char*>(dsm_segment_address(segment));
    Header header;
    std::memcpy(&header, from, sizeof header);
    from += sizeof header;
    task.wanted = true;
    const std::string command = read_text(from, header.command_size);
    const std::string job_name = read_text(from, header.job_name_size);
    task.database = read_text(from, header.database_size);
    task.username = read_text(from, header.username_size);
    if (header.max_runtime_us > 0) task.max_runtime = core::Duration(header.max_runtime_us);
    call([segment] { dsm_detach(segment); });
    task.command = in_encoding_of_database(command, header.encoding);
    task.job_name = in_encoding_of_database(job_name, header.encoding);
    return task;
}

}  // namespace securatlas::pg::runs
