#include "securatlas/pg/border/caller.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
}

namespace securatlas::pg {
namespace {

// A call in progress of a function that is SECURITY DEFINER or has SET clauses.
struct Running {
    Oid function;
    Oid user;  // that it runs as
};

struct Calls {
    fmgr_hook_type next = nullptr;
    Running* items = nullptr;  // in TopMemoryContext; the innermost is the last
    int count = 0;
    int capacity = 0;
};
constinit Calls calls;

// C world.
void begin_call(Oid function) {
    if (calls.count == calls.capacity) {
        const int capacity = calls.capacity == 0 ? 16 : 2 * calls.capacity;
        const Size size = sizeof(Running) * static_cast<Size>(capacity);
        calls.items = static_cast<Running*>(calls.items == nullptr
                                                ? MemoryContextAlloc(TopMemoryContext, size)
                                                : repalloc(calls.items, size));
        calls.capacity = capacity;
    }
    calls.items[calls.count++] = {function, GetUserId()};
}

// C world.
bool is_security_definer(Oid function) {
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    if (!HeapTupleIsValid(tuple)) return true;  // dropped while it runs: assume the safe answer
    const bool is = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple))->prosecdef;
    ReleaseSysCache(tuple);
    return is;
}

extern "C" {

void securatlas_note_call(FmgrHookEventType event, FmgrInfo* function, Datum* argument) {
    // At the start, call the next hook first: if it fails, no end of the call is reported.
    if (calls.next != nullptr) calls.next(event, function, argument);
    if (event == FHET_START) {
        begin_call(function->fn_oid);
    } else if (calls.count > 0) {
        --calls.count;
    }
}

// No call outlives its transaction, even if its end was not reported.
void securatlas_forget_calls(XactEvent event, void*) {
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE) {
        calls.count = 0;
    }
}

}  // extern "C"

// C world. The role whose code called the innermost function.
Oid user_outside() {
    for (int i = calls.count - 2; i >= 0; --i) {
        // A function that only has SET clauses runs as its caller, who may change inside it (SET
        // ROLE).
        if (is_security_definer(calls.items[i].function)) return calls.items[i].user;
    }
    return GetOuterUserId();
}

}  // namespace

void note_callers() {
    calls.next = fmgr_hook;
    fmgr_hook = securatlas_note_call;
    call([] { RegisterXactCallback(securatlas_forget_calls, nullptr); });
}

RoleOid calling_role(FunctionCallInfo fcinfo) {
    const Oid function = fcinfo->flinfo->fn_oid;
    if (calls.count == 0 || calls.items[calls.count - 1].function != function ||
        !call([function] { return is_security_definer(function); })) {
        return GetUserId();
    }
    Oid user = InvalidOid;
    int context = 0;
    GetUserIdAndSecContext(&user, &context);
    if ((context & (SECURITY_RESTRICTED_OPERATION | SECURITY_NOFORCE_RLS)) != 0) {
        throw Error("42501", "cannot determine which role makes the request",
                    "The function is SECURITY DEFINER, and PostgreSQL itself calls it in the name "
                    "of another role.",
                    "Run ALTER FUNCTION ... SECURITY INVOKER.");
    }
    return call([] { return user_outside(); });
}

}  // namespace securatlas::pg
