#include "securatlas/pg/border/guard.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace securatlas::pg {
namespace {

std::string text_or_empty(const char* text) { return text == nullptr ? std::string() : text; }

template <std::size_t N>
void copy_text(char (&to)[N], std::string_view from) noexcept {
    const std::size_t length = (std::min)(from.size(), N - 1);
    std::memcpy(to, from.data(), length);
    to[length] = '\0';
}

int encode_sqlstate(std::string_view state) noexcept {
    if (state.size() != 5) return ERRCODE_INTERNAL_ERROR;
    return MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]);
}

// A text cut at a buffer's end must not end within a character.
void clip(char* text) {
    const int length = static_cast<int>(std::strlen(text));
    text[pg_mbcliplen(text, length, length)] = '\0';
}

}  // namespace

void throw_caught(MemoryContext caller) {
    // Not the caller's context: it may be as short-lived as the transaction that failed.
    MemoryContextSwitchTo(TopMemoryContext);
    ErrorData* data = CopyErrorData();
    FlushErrorState();
    MemoryContextSwitchTo(caller);
    struct Free {
        ErrorData* data;
        ~Free() { FreeErrorData(data); }
    } free{data};
    throw Error(unpack_sql_state(data->sqlerrcode), text_or_empty(data->message),
                text_or_empty(data->detail), text_or_empty(data->hint),
                text_or_empty(data->context));
}

Report describe_current_exception() noexcept {
    Report report{};
    report.sqlstate = ERRCODE_INTERNAL_ERROR;
    try {
        throw;
    } catch (const Error& error) {
        report.sqlstate = encode_sqlstate(error.sqlstate());
        copy_text(report.message, error.message());
        copy_text(report.detail, error.detail());
        copy_text(report.hint, error.hint());
    } catch (const std::bad_alloc&) {
        report.sqlstate = ERRCODE_OUT_OF_MEMORY;
        copy_text(report.message, "out of memory");
    } catch (const std::exception& error) {
        copy_text(report.message, error.what());
    } catch (...) {
        copy_text(report.message, "unknown C++ exception");
    }
    return report;
}

void raise(const Report& report) {
    Report clipped = report;
    clip(clipped.message);
    clip(clipped.detail);
    clip(clipped.hint);
    ereport(ERROR, (errcode(clipped.sqlstate), errmsg_internal("%s", clipped.message),
                    clipped.detail[0] != '\0' ? errdetail_internal("%s", clipped.detail) : 0,
                    clipped.hint[0] != '\0' ? errhint("%s", clipped.hint) : 0));
    pg_unreachable();
}

}  // namespace securatlas::pg
