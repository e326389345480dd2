#include "securatlas/pg/border/preload.hpp"

#include <fstream>
#include <iterator>
#include <string>

#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/guard.hpp"

extern "C" {
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/varlena.h"
}

namespace securatlas::pg {
namespace {

bool is_pg_cron_preloaded() {
    return call([] {
        char* names = pstrdup(shared_preload_libraries_string);
        List* list = NIL;
        if (!SplitDirectoriesString(names, ',', &list)) return false;
        ListCell* cell = nullptr;
        foreach (cell, list) {
            const char* name = static_cast<const char*>(lfirst(cell));
            if (strcmp(name, "pg_cron") == 0 || strcmp(name, "$libdir/pg_cron") == 0) return true;
        }
        return false;
    });
}

// This project's library of that name loads the one that it names.
bool is_pg_cron_original() {
    std::ifstream file(std::string(pkglib_path) + "/pg_cron.so", std::ios::binary);
    if (!file) return false;
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    return content.find("securatlas_sched") == std::string::npos;
}

}  // namespace

void refuse_original_beside() {
    if (!is_pg_cron_preloaded() || !is_pg_cron_original()) return;
    throw Error(
        "55000", "pg_cron and securatlas_sched cannot be loaded together",
        "Both are in shared_preload_libraries, and both define the settings cron.*.",
        "Remove one of them from shared_preload_libraries. To move the jobs of pg_cron, keep "
        "securatlas_sched and run securatlas_sched_migrate.");
}

}  // namespace securatlas::pg
