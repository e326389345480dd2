#include "securatlas/pg/border/guard.hpp"

#include <cstdlib>
#include <cstring>
#include <new>

namespace securatlas::pg {
namespace {

std::string text_or_empty(const char* text) { return text == nullptr ? std::string() : text; }

char* copy_of(const std::string& text) noexcept {
    return text.empty() ? nullptr : strdup(text.c_str());
}

int encode_sqlstate(std::string_view state) noexcept {
    if (state.size() != 5) return ERRCODE_INTERNAL_ERROR;
    return MAKE_SQLSTATE(state[0], state[1], state[2], state[3], state[4]);
}

// Returns 0, as functions called inside ereport() do.
int release(const Report& report) {
    free(report.message);
    free(report.detail);
    free(report.hint);
    return 0;
}

// Raises the error again and frees our copy of it, which ReThrowError() would leak.
[[noreturn]] void throw_again(std::shared_ptr<void>* origin) {
    sigjmp_buf* const outer = PG_exception_stack;
    sigjmp_buf here;
    if (sigsetjmp(here, 0) == 0) {
        PG_exception_stack = &here;
        ReThrowError(static_cast<ErrorData*>(origin->get()));
    }
    PG_exception_stack = outer;
    delete origin;
    PG_RE_THROW();
}

}  // namespace

void throw_caught(MemoryContext caller) {
    // In a memory context of its own, because the caller's may end with the failed transaction.
    MemoryContext own =
        AllocSetContextCreate(TopMemoryContext, "securatlas_sched error", ALLOCSET_SMALL_SIZES);
    MemoryContextSwitchTo(own);
    ErrorData* data = CopyErrorData();
    FlushErrorState();
    MemoryContextSwitchTo(caller);
    const std::shared_ptr<void> origin(data, [own](void*) { MemoryContextDelete(own); });
    throw Error(Error(unpack_sql_state(data->sqlerrcode), text_or_empty(data->message),
                      text_or_empty(data->detail), text_or_empty(data->hint)),
                text_or_empty(data->context), origin);
}

Report describe_current_exception() noexcept {
    Report report{};
    report.sqlstate = ERRCODE_INTERNAL_ERROR;
    try {
        throw;
    } catch (const Error& error) {
        if (error.origin() != nullptr) {
            report.origin = new (std::nothrow) std::shared_ptr<void>(error.origin());
            if (report.origin != nullptr) return report;
        }
        report.sqlstate = encode_sqlstate(error.sqlstate());
        report.message = copy_of(error.message());
        report.detail = copy_of(error.detail());
        report.hint = copy_of(error.hint());
    } catch (const std::bad_alloc&) {
        report.sqlstate = ERRCODE_OUT_OF_MEMORY;
        report.message = strdup("out of memory");
    } catch (const std::exception& error) {
        report.message = strdup(error.what());
    } catch (...) {
        report.message = strdup("unknown C++ exception");
    }
    return report;
}

void raise(const Report& report) {
    if (report.origin != nullptr) throw_again(report.origin);
    const char* message = report.message != nullptr ? report.message : "out of memory";
    ereport(ERROR, (errcode(report.sqlstate), errmsg_internal("%s", message),
                    report.detail != nullptr ? errdetail_internal("%s", report.detail) : 0,
                    report.hint != nullptr ? errhint("%s", report.hint) : 0, release(report)));
    pg_unreachable();
}

}  // namespace securatlas::pg
