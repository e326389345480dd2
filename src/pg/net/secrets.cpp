#include "securatlas/pg/net/secrets.hpp"

#include <algorithm>
#include <set>

#include "border/owner_scope.hpp"
#include "border/spi.hpp"
#include "securatlas/pg/border/identity.hpp"
#include "securatlas/pg/net/sealing.hpp"

extern "C" {
#include "storage/proc.h"
#include "utils/acl.h"
}

namespace securatlas::pg::secrets {
namespace {

constexpr std::size_t kMaxNameBytes = 200;
constexpr std::size_t kMaxValueBytes = 64 * 1024;

SealPurpose purpose_of(const std::string& name) { return {"secret", name}; }

bool administers(RoleOid role, RoleOid owner) {
    return call([role, owner] { return has_privs_of_role(role, owner); });
}

// By membership, not by privileges: a superuser has the privileges of every role, but is a member
// of few.
bool uses(RoleOid role, RoleOid owner) {
    return call([role, owner] {
        return has_privs_of_role(role, owner) && is_member_of_role_nosuper(role, owner);
    });
}

void check_name(const std::string& name) {
    static constexpr std::string_view kPunctuation = "_.:/-";
    const bool is_valid = !name.empty() && name.size() <= kMaxNameBytes &&
                          std::all_of(name.begin(), name.end(), [](char c) {
                              return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                     (c >= '0' && c <= '9') ||
                                     kPunctuation.find(c) != std::string_view::npos;
                          });
    if (is_valid) return;
    throw Error("22023", "invalid name of a secret",
                "A name must consist of 1 to " + std::to_string(kMaxNameBytes) +
                    " ASCII letters, digits and characters of \"" + std::string(kPunctuation) +
                    "\".");
}

// The same error whether the secret exists or not.
Error denied(const std::string& name, const char* detail) {
    return Error("42501", "permission denied for secret \"" + name + "\"", detail,
                 "Create it with net.set_secret(), or have its owner grant its use with "
                 "net.grant_secret().");
}

enum class Strength { share, update };

// Returns the owner, and locks the secret until the transaction ends: nobody else can drop it
// (share) or change it (update). So a grant cannot outlive its secret.
std::optional<RoleOid> lock_owner(const std::string& name, Strength strength) {
    static Statement shared("SELECT owner::oid FROM net.secret WHERE name = $1 FOR KEY SHARE");
    static Statement exclusive("SELECT owner::oid FROM net.secret WHERE name = $1 FOR UPDATE");
    (strength == Strength::share ? shared : exclusive)
        .execute_on_latest({Parameter::of(std::string_view(name))});
    std::optional<RoleOid> owner;
    Statement::each_row([&owner](const Row& row) { owner = row.as_oid(1); });
    return owner;
}

std::optional<RoleOid> find_owner(const std::string& name) {
    static Statement query("SELECT owner::oid FROM net.secret WHERE name = $1");
    query.execute_on_latest({Parameter::of(std::string_view(name))});
    std::optional<RoleOid> owner;
    Statement::each_row([&owner](const Row& row) { owner = row.as_oid(1); });
    return owner;
}

// Checks the owner before it locks, so that a role cannot keep another role's secret locked.
bool lock_own(const std::string& name, RoleOid caller, Strength strength) {
    const auto found = find_owner(name);
    if (!found || !administers(caller, *found)) return false;
    const auto locked = lock_owner(name, strength);
    return locked && administers(caller, *locked);
}

void require_own(const std::string& name, RoleOid caller) {
    if (lock_own(name, caller, Strength::share)) return;
    throw denied(name, "There is no secret of this name that the role may administer.");
}

struct Stored {
    RoleOid owner = 0;
    std::string sealed;
    std::vector<RoleOid> granted;
};

std::map<std::string, Stored> read_stored(const std::vector<std::string>& names) {
    static Statement query(R"(
SELECT s.name, s.owner::oid, s.sealed, g.role::oid
  FROM net.secret s LEFT JOIN net.secret_grant g ON g.name = s.name
 WHERE s.name = ANY ($1))");
    query.execute_on_latest({Parameter::of(names)});
    std::map<std::string, Stored> stored;
    Statement::each_row([&stored](const Row& row) {
        Stored& one = stored[row.as_text(1)];
        one.owner = row.as_oid(2);
        one.sealed = row.as_bytes(3);
        if (!row.is_null(4)) one.granted.push_back(row.as_oid(4));
    });
    return stored;
}

bool may_use(const Stored& secret, RoleOid role) {
    return uses(role, secret.owner) ||
           std::any_of(secret.granted.begin(), secret.granted.end(),
                       [role](RoleOid granted) { return uses(role, granted); });
}

// The last arguments that passed the check.
struct Checked {
    LocalTransactionId transaction = InvalidLocalTransactionId;
    RoleOid role = 0;
    std::vector<std::string> names;

    bool operator==(const Checked&) const = default;
};

}  // namespace

void set(RoleOid caller, const std::string& name, const std::string& value) {
    static Statement statement(R"(
INSERT INTO net.secret AS s (name, sealed, owner) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, updated = clock_timestamp()
 RETURNING s.owner::oid)");
    check_name(name);
    if (value.size() > kMaxValueBytes) {
        throw Error("22023", "value of secret \"" + name + "\" is too long",
                    "A value may have at most " + std::to_string(kMaxValueBytes) + " bytes.");
    }
    const std::string sealed = seal(value, purpose_of(name));
    OwnerScope owner;
    Spi spi;
    statement.execute({Parameter::of(std::string_view(name)), Parameter::of_bytes(sealed),
                       Parameter::of_oid(caller)});
    // The owner of an existing secret stays the same; if it is another role, the error below undoes
    // the update.
    std::optional<RoleOid> found;
    Statement::each_row([&found](const Row& row) { found = row.as_oid(1); });
    if (found && !administers(caller, *found)) {
        throw Error("42501", "permission denied for secret \"" + name + "\"",
                    "A secret of this name belongs to another role.", "Choose another name.");
    }
}

bool drop(RoleOid caller, const std::string& name) {
    static Statement revoke_all("DELETE FROM net.secret_grant WHERE name = $1");
    static Statement statement("DELETE FROM net.secret WHERE name = $1");
    OwnerScope owner;
    Spi spi;
    if (!lock_own(name, caller, Strength::update)) return false;
    revoke_all.execute_on_latest({Parameter::of(std::string_view(name))});
    return statement.execute_on_latest({Parameter::of(std::string_view(name))}) > 0;
}

void grant(RoleOid caller, const std::string& name, RoleOid role) {
    static Statement statement(
        "INSERT INTO net.secret_grant (name, role) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    OwnerScope owner;
    Spi spi;
    require_own(name, caller);
    statement.execute({Parameter::of(std::string_view(name)), Parameter::of_oid(role)});
}

bool revoke(RoleOid caller, const std::string& name, RoleOid role) {
    static Statement statement("DELETE FROM net.secret_grant WHERE name = $1 AND role = $2");
    OwnerScope owner;
    Spi spi;
    require_own(name, caller);
    return statement.execute_on_latest(
               {Parameter::of(std::string_view(name)), Parameter::of_oid(role)}) > 0;
}

void check_usable(const std::vector<std::string>& names, RoleOid role) {
    // Cached per transaction, because one statement may make 100,000 requests. Checked again when
    // each is sent.
    static auto* const last = new Checked;
    const Checked now{current_local_transaction(), role, names};
    if (*last == now) return;
    if (const auto name = first_denied(names, role)) {
        throw denied(*name, "There is no secret of this name that the role may use.");
    }
    *last = now;
}

std::optional<std::string> first_denied(const std::vector<std::string>& names, RoleOid role) {
    if (names.empty()) return std::nullopt;
    OwnerScope owner;
    Spi spi;
    const auto stored = read_stored(names);
    for (const std::string& name : names) {
        const auto found = stored.find(name);
        if (found == stored.end() || !may_use(found->second, role)) return name;
    }
    return std::nullopt;
}

std::map<Wanted, std::string> read(const std::vector<Wanted>& wanted) {
    std::map<Wanted, std::string> values;
    if (wanted.empty()) return values;
    std::set<std::string> distinct;
    for (const auto& [name, role] : wanted) distinct.insert(name);
    Spi spi;
    const auto stored = read_stored({distinct.begin(), distinct.end()});
    for (const Wanted& one : wanted) {
        const auto found = stored.find(one.first);
        if (found == stored.end() || !may_use(found->second, one.second)) continue;
        if (auto value = unseal(found->second.sealed, purpose_of(one.first))) {
            values.emplace(one, std::move(*value));
        }
    }
    return values;
}

}  // namespace securatlas::pg::secrets
