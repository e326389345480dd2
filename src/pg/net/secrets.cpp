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

// Whose rights they are checked for: a role has those of the roles it is a member of.
bool acts_for(RoleOid role, RoleOid owner) {
    return call([role, owner] { return has_privs_of_role(role, owner); });
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
                "A name has 1 to " + std::to_string(kMaxNameBytes) +
                    " ASCII letters, digits and characters of \"" + std::string(kPunctuation) +
                    "\".");
}

Error no_secret(const std::string& name) {
    return Error("42704", "secret \"" + name + "\" does not exist", "",
                 "Make it with net.set_secret().");
}

std::optional<RoleOid> find_owner(const std::string& name) {
    static Statement query("SELECT owner::oid FROM net.secret WHERE name = $1");
    query.execute_on_latest({Parameter::of(std::string_view(name))});
    std::optional<RoleOid> owner;
    Statement::each_row([&owner](const Row& row) { owner = row.as_oid(1); });
    return owner;
}

// Throws if the secret is not the caller's.
void check_own(const std::string& name, RoleOid owner, RoleOid caller) {
    if (acts_for(caller, owner)) return;
    throw Error("42501", "permission denied for secret \"" + name + "\"",
                "It belongs to another role.");
}

RoleOid require_own(const std::string& name, RoleOid caller) {
    const auto owner = find_owner(name);
    if (!owner) throw no_secret(name);
    check_own(name, *owner, caller);
    return *owner;
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
    return acts_for(role, secret.owner) ||
           std::any_of(secret.granted.begin(), secret.granted.end(),
                       [role](RoleOid granted) { return acts_for(role, granted); });
}

// What was found to be usable.
struct Checked {
    LocalTransactionId transaction = InvalidLocalTransactionId;
    RoleOid role = 0;
    std::vector<std::string> names;

    bool operator==(const Checked&) const = default;
};

void check_each(const std::vector<std::string>& names, RoleOid role) {
    OwnerScope owner;
    Spi spi;
    const auto stored = read_stored(names);
    for (const std::string& name : names) {
        const auto found = stored.find(name);
        if (found == stored.end()) throw no_secret(name);
        if (may_use(found->second, role)) continue;
        throw Error("42501", "permission denied for secret \"" + name + "\"", "",
                    "Its owner grants its use with net.grant_secret().");
    }
}

}  // namespace

void set(const std::string& name, const std::string& value) {
    static Statement statement(R"(
INSERT INTO net.secret AS s (name, sealed, owner) VALUES ($1, $2, $3)
ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, updated = clock_timestamp()
 RETURNING s.owner::oid)");
    check_name(name);
    if (value.size() > kMaxValueBytes) {
        throw Error("22023", "value of secret \"" + name + "\" is too long",
                    "A value has at most " + std::to_string(kMaxValueBytes) + " bytes.");
    }
    const RoleOid caller = current_role();
    const std::string sealed = seal(value, purpose_of(name));
    OwnerScope owner;
    Spi spi;
    statement.execute({Parameter::of(std::string_view(name)), Parameter::of_bytes(sealed),
                       Parameter::of_oid(caller)});
    // Of a secret that was there: its owner has not changed, and the error undoes the change.
    std::optional<RoleOid> found;
    Statement::each_row([&found](const Row& row) { found = row.as_oid(1); });
    if (found) check_own(name, *found, caller);
}

bool drop(const std::string& name) {
    static Statement revoke_all("DELETE FROM net.secret_grant WHERE name = $1");
    static Statement statement("DELETE FROM net.secret WHERE name = $1");
    const RoleOid caller = current_role();
    OwnerScope owner;
    Spi spi;
    const auto found = find_owner(name);
    if (!found) return false;
    check_own(name, *found, caller);
    revoke_all.execute_on_latest({Parameter::of(std::string_view(name))});
    return statement.execute_on_latest({Parameter::of(std::string_view(name))}) > 0;
}

void grant(const std::string& name, RoleOid role) {
    static Statement statement(
        "INSERT INTO net.secret_grant (name, role) VALUES ($1, $2) ON CONFLICT DO NOTHING");
    const RoleOid caller = current_role();
    OwnerScope owner;
    Spi spi;
    (void)require_own(name, caller);
    statement.execute({Parameter::of(std::string_view(name)), Parameter::of_oid(role)});
}

bool revoke(const std::string& name, RoleOid role) {
    static Statement statement("DELETE FROM net.secret_grant WHERE name = $1 AND role = $2");
    const RoleOid caller = current_role();
    OwnerScope owner;
    Spi spi;
    (void)require_own(name, caller);
    return statement.execute_on_latest(
               {Parameter::of(std::string_view(name)), Parameter::of_oid(role)}) > 0;
}

void check_usable(const std::vector<std::string>& names, RoleOid role) {
    // The same for each of a hundred thousand requests of one statement. That it is no longer so is
    // noticed when they are sent.
    static auto* const last = new Checked;
    const Checked now{current_local_transaction(), role, names};
    if (*last == now) return;
    check_each(names, role);
    *last = now;
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
