#include "securatlas/pg/net/callback_function.hpp"

#include "border/local.hpp"
#include "securatlas/pg/border/guard.hpp"
#include "securatlas/pg/border/identity.hpp"

extern "C" {
#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
}

namespace securatlas::pg {
namespace {

struct Facts {
    bool exists;
    bool has_the_form;
    bool may_execute;
    bool may_log_in;
    bool is_temporary;
    Oid owner;
    char* signature;
};

// C world.
Oid response_type() {
    const Oid schema = get_namespace_oid("net", true);
    return OidIsValid(schema) ? get_rel_type_id(get_relname_relid("_http_response", schema))
                              : InvalidOid;
}

// C world.
Facts facts_of(Oid function, Oid role, Oid argument) {
    Facts facts{};
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    if (!HeapTupleIsValid(tuple)) return facts;
    const auto* form = reinterpret_cast<Form_pg_proc>(GETSTRUCT(tuple));
    facts.exists = true;
    facts.has_the_form = form->prokind == PROKIND_FUNCTION && form->pronargs == 1 &&
                         form->proargtypes.values[0] == argument;
    facts.is_temporary = isAnyTempNamespace(form->pronamespace);
    facts.owner = form->proowner;
    ReleaseSysCache(tuple);
    facts.may_execute = role_may_execute(role, function);
    facts.may_log_in = role_may_log_in(role);
    facts.signature = format_procedure_qualified(function);
    return facts;
}

// What a function is for, in error messages.
struct Purpose {
    const char* name;
    const char* given;  // what it is called with
    const char* type;   // of its argument
    const char* whose;  // the role that calls it
};
constexpr Purpose kForResponse = {"on_response", "a response", "net._http_response",
                                  "the role that makes the request"};
constexpr Purpose kForAlert = {"an alert", "an event", "jsonb", "the role of the alert"};

CallbackFunction check(FunctionOid function, RoleOid role, const Purpose& purpose) {
    const std::string name = purpose.name;
    const Facts facts = call([&] {
        return facts_of(function, role, &purpose == &kForAlert ? JSONBOID : response_type());
    });
    if (!facts.exists) throw Error("42883", "the function of " + name + " does not exist");
    std::string signature = facts.signature;
    if (!facts.has_the_form) {
        throw Error(
            "42P13",
            "function " + signature + " cannot be called with " + std::string(purpose.given), "",
            "It must be a function with one argument, of type " + std::string(purpose.type) + ".");
    }
    if (facts.is_temporary) {
        throw Error("42P16", "function " + signature + " is temporary",
                    "Another process calls it, which cannot see temporary objects.");
    }
    if (!facts.may_execute) throw Error("42501", "permission denied for function " + signature);
    if (!facts.may_log_in) {
        throw Error("42501", name + " needs a role that may log in",
                    "The function is called by a process of " + std::string(purpose.whose) + ".");
    }
    return {signature, facts.owner};
}

// The last arguments that passed the check.
struct Checked {
    LocalTransactionId transaction = InvalidLocalTransactionId;
    FunctionOid function = 0;
    RoleOid role = 0;
    CallbackFunction result;
};

}  // namespace

FunctionOid find_function(std::string_view signature) {
    const std::string text(signature);
    return call([&text] {
        return DatumGetObjectId(DirectFunctionCall1(regprocedurein, CStringGetDatum(text.c_str())));
    });
}

CallbackFunction check_callback(FunctionOid function, RoleOid role) {
    // Cached per transaction, because one statement may make 100,000 requests. Checked again when
    // the callback is called.
    static auto* const last = new Checked;
    const LocalTransactionId transaction = current_local_transaction();
    if (last->transaction != transaction || last->function != function || last->role != role) {
        *last = {transaction, function, role, check(function, role, kForResponse)};
    }
    return last->result;
}

void check_callback_owner(const CallbackFunction& function, std::optional<RoleOid> owner_then,
                          RoleOid role) {
    if (function.owner == owner_then || function.owner == role || role_is_superuser(function.owner))
        return;
    throw Error("42501", "function " + function.signature + " is not the one that was to be called",
                "Its owner is another role than when the request was made.",
                "Give it to the role that made the request, and call net.repeat_callback().");
}

CallbackFunction check_alert_function(FunctionOid function, RoleOid role) {
    return check(function, role, kForAlert);
}

}  // namespace securatlas::pg
