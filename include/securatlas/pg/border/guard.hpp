// The two doors between PostgreSQL's C world, where ereport(ERROR) jumps over frames, and the C++
// world, where exceptions unwind them.
//
//   C world    code that a longjmp may skip: trivially destructible locals only.
//   C++ world  everything else. Calls PostgreSQL only inside call(); is entered only by entry().
#pragma once

#include <concepts>
#include <type_traits>

#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/prelude.hpp"

namespace securatlas::pg {

// Types that may be returned across a jump.
template <class T>
concept Plain = std::is_void_v<T> || std::is_trivially_copyable_v<T>;

// Saves PostgreSQL's handler stack and restores it on leaving, by return or by exception.
class JumpScope {
  public:
    JumpScope() : exception_stack_(PG_exception_stack), context_stack_(error_context_stack) {}
    ~JumpScope() {
        PG_exception_stack = exception_stack_;
        error_context_stack = context_stack_;
    }
    JumpScope(const JumpScope&) = delete;
    JumpScope& operator=(const JumpScope&) = delete;

  private:
    sigjmp_buf* exception_stack_;
    ErrorContextCallback* context_stack_;
};

// Copies the error just caught out of ErrorContext, clears PostgreSQL's error state, makes `caller`
// the current memory context, and throws the error as Error.
[[noreturn]] void throw_caught(MemoryContext caller);

// Door 1, from C++ to C: runs `body`, which may ereport(ERROR), and throws Error instead.
template <std::invocable F>
requires Plain<std::invoke_result_t<F&>> && std::is_trivially_destructible_v<std::remove_cvref_t<F>>
auto call(F&& body) -> std::invoke_result_t<F&> {
    const MemoryContext caller = CurrentMemoryContext;
    {
        JumpScope scope;
        sigjmp_buf here;
        if (sigsetjmp(here, 0) == 0) {
            PG_exception_stack = &here;
            return body();
        }
    }
    throw_caught(caller);
}

// An exception as plain data; raise() frees its memory.
struct Report {
    // PostgreSQL's ErrorData; if null, the other members have everything.
    std::shared_ptr<void>* origin;
    int sqlstate;
    char* message;  // each may be null
    char* detail;
    char* hint;
};

// Call it in a catch handler only. Never throws, and allocates no PostgreSQL memory.
Report describe_current_exception() noexcept;

// Raises the report with ereport(ERROR); an error of PostgreSQL's is raised again with all its
// fields.
[[noreturn]] void raise(const Report& report);

// Door 2, from C to C++: runs `body`, which may throw, and turns an exception into ereport(ERROR)
// when no destructor and no exception is pending any more.
template <std::invocable F>
auto entry(F&& body) -> std::invoke_result_t<F&> {
    Report report;
    try {
        return body();
    } catch (...) {
        report = describe_current_exception();
    }
    raise(report);
}

}  // namespace securatlas::pg
