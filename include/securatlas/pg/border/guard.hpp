// The two doors between PostgreSQL's C world, where ereport(ERROR) jumps over frames, and the C++
// world, where exceptions unwind them.
//
//   C world    code that may be jumped over: trivially destructible locals only.
//   C++ world  everything else. Calls PostgreSQL only inside call(); is entered only by entry().
#pragma once

#include <concepts>
#include <type_traits>

#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/prelude.hpp"

namespace securatlas::pg {

// What may be returned across a jump.
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

// Copies the error that was just caught out of ErrorContext, clears PostgreSQL's error state,
// makes `caller` the current context, and throws it as Error.
[[noreturn]] void throw_caught(MemoryContext caller);

// Door 1. Runs `body`, which may ereport(ERROR); throws Error instead.
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

// An exception as plain data, whose memory raise() frees.
struct Report {
    std::shared_ptr<void>* origin;  // PostgreSQL's ErrorData; null: what follows is all
    int sqlstate;
    char* message;  // each may be null
    char* detail;
    char* hint;
};

// To be called in a catch handler only. Never throws, allocates nothing in PostgreSQL.
Report describe_current_exception() noexcept;

// ereport(ERROR) of the report; what PostgreSQL reported is thrown again with all that it had.
[[noreturn]] void raise(const Report& report);

// Door 2. Runs `body`, which may throw; ereports what it throws, when no destructor and no
// exception is pending any more.
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
