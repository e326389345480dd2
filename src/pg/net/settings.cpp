#include "securatlas/pg/net/settings.hpp"

#include <algorithm>
#include <climits>
#include <string_view>

#include "border/interval_setting.hpp"

namespace securatlas::pg {
namespace {

constexpr const char* kTtl = "6 hours";
constexpr std::int64_t kTtlUs = std::int64_t{6} * 3600 * 1'000'000;
constexpr int kMaxConnections = 256;
// The defaults of pg_net.
constexpr int kBatchSize = 200;
constexpr const char* kDatabase = "postgres";

// The variables of the settings, which PostgreSQL writes.
struct Variables {
    char* ttl = nullptr;
    int max_connections = 0;
    int max_attempts = 0;
    int max_response_bytes = 0;
    int max_pending_requests = 0;
    int max_connections_per_host = 0;
    int requests_per_second_per_host = 0;
    int follow_redirects = 0;
    bool send_requests = true;
    char* ca_file = nullptr;
    char* blocked_networks = nullptr;
    char* allowed_hosts = nullptr;
    std::int64_t ttl_us = 0;
    // Of the settings pg_net.*, which are defined only if the library is preloaded as pg_net.
    char* pg_net_ttl = nullptr;
    int pg_net_batch_size = kBatchSize;
    char* pg_net_database = nullptr;
    char* pg_net_username = nullptr;
    std::int64_t pg_net_ttl_us = 0;
};
constinit Variables variables;

constexpr config_enum_entry kRedirects[] = {
    {"none", static_cast<int>(core::FollowRedirects::none), false},
    {"same_origin", static_cast<int>(core::FollowRedirects::same_origin), false},
    {"any", static_cast<int>(core::FollowRedirects::any), false},
    {nullptr, 0, false}};

template <class T, class E>
T checked(core::Result<T, E> parsed) {
    if (parsed) return std::move(parsed).value();
    throw Error("22023", parsed.error().message + ": " + parsed.error().detail);
}

extern "C" {

void securatlas_assign_ttl(const char*, void* extra) {
    variables.ttl_us = *static_cast<std::int64_t*>(extra);
}

void securatlas_assign_pg_net_ttl(const char*, void* extra) {
    variables.pg_net_ttl_us = *static_cast<std::int64_t*>(extra);
}

void securatlas_assign_pg_net_username(const char* value, void*) {
    if (value != nullptr && *value != '\0' && MyProcPid == PostmasterPid) {
        ereport(LOG, (errmsg("pg_net.username has no effect"),
                      errdetail("The http worker records responses of all roles.")));
    }
}

bool securatlas_check_networks(char** value, void**, GucSource) {
    return check_setting([value] { (void)checked(core::parse_networks(*value)); });
}

bool securatlas_check_hosts(char** value, void**, GucSource) {
    return check_setting([value] { (void)checked(core::parse_host_patterns(*value)); });
}

}  // extern "C"

// Settings that are used when a request is made can be changed within a session, by superusers.
void define_number(const char* name, const char* help, int* variable, int initial, int low,
                   int high, GucContext context, int flags = 0) {
    DefineCustomIntVariable(name, help, nullptr, variable, initial, low, high, context, flags,
                            nullptr, nullptr, nullptr);
}

void define_text(const char* name, const char* help, char** variable, const char* initial,
                 GucStringCheckHook check) {
    DefineCustomStringVariable(name, help, nullptr, variable, initial, PGC_SIGHUP, 0, check,
                               nullptr, nullptr);
}

// Cannot be changed within a session, because they protect the server's network.
void define_egress_settings() {
    DefineCustomEnumVariable("net.follow_redirects", "Redirects that are followed.", nullptr,
                             &variables.follow_redirects,
                             static_cast<int>(core::FollowRedirects::same_origin), kRedirects,
                             PGC_SIGHUP, 0, nullptr, nullptr, nullptr);
    define_text("net.ca_file",
                "File with certificates of authorities to trust beside those of the system.",
                &variables.ca_file, "", nullptr);
    define_text("net.blocked_networks", "Networks that no request is sent to.",
                &variables.blocked_networks, core::kDefaultBlockedNetworks.data(),
                securatlas_check_networks);
    define_text("net.allowed_hosts", "Hosts that requests may be sent to.",
                &variables.allowed_hosts, "*", securatlas_check_hosts);
}

}  // namespace

void define_net_settings() {
    DefineCustomStringVariable("net.ttl", "Age at which responses are removed; 0 keeps all.",
                               nullptr, &variables.ttl, kTtl, PGC_SIGHUP, 0,
                               securatlas_check_interval, securatlas_assign_ttl, nullptr);
    define_number("net.max_connections",
                  "Requests of a database that may be in flight at the same time.",
                  &variables.max_connections, kMaxConnections, 1, 10'000, PGC_SIGHUP);
    define_number("net.max_attempts", "Attempts at sending a request.", &variables.max_attempts, 3,
                  1, 1000, PGC_SUSET);
    define_number("net.max_response_bytes", "Bytes of a response's body that are kept.",
                  &variables.max_response_bytes, 1024 * 1024, 0, 256 * 1024 * 1024, PGC_SIGHUP,
                  GUC_UNIT_BYTE);
    define_number("net.max_pending_requests",
                  "Requests of a role that may wait in a database; of all roles twice as many.",
                  &variables.max_pending_requests, 1'000'000, 1, INT_MAX, PGC_SUSET);
    define_number("net.max_connections_per_host",
                  "Requests of a database to one host that may be in flight at the same time.",
                  &variables.max_connections_per_host, 64, 1, 10'000, PGC_SIGHUP);
    define_number("net.requests_per_second_per_host",
                  "Requests of a database to one host that may be sent in a second; 0 is no limit.",
                  &variables.requests_per_second_per_host, 0, 0, 1'000'000, PGC_SIGHUP);
    DefineCustomBoolVariable("net.send_requests", "Send requests; off: all wait.", nullptr,
                             &variables.send_requests, true, PGC_SIGHUP, 0, nullptr, nullptr,
                             nullptr);
    define_egress_settings();
}

int responses_per_purge() {
    constexpr int kResponsesPerPurge = 10'000;
    return call([] {
        const char* set = GetConfigOption("pg_net.batch_size", true, false);
        const int batch = set == nullptr ? 0 : atoi(set);
        return batch <= 0 || batch == kBatchSize ? kResponsesPerPurge : batch;
    });
}

void define_pg_net_settings() {
    DefineCustomStringVariable("pg_net.ttl", "As net.ttl, where that is not set.", nullptr,
                               &variables.pg_net_ttl, kTtl, PGC_SIGHUP, 0,
                               securatlas_check_interval, securatlas_assign_pg_net_ttl, nullptr);
    define_number("pg_net.batch_size", "As net.max_connections, where that is not set.",
                  &variables.pg_net_batch_size, kBatchSize, 0, 32'767, PGC_SIGHUP);
    define_text("pg_net.database_name",
                "Database whose http worker stays when there is nothing to send.",
                &variables.pg_net_database, kDatabase, nullptr);
    DefineCustomStringVariable("pg_net.username", "Has no effect.", nullptr,
                               &variables.pg_net_username, "", PGC_SU_BACKEND, 0, nullptr,
                               securatlas_assign_pg_net_username, nullptr);
}

std::string pg_net_database() {
    return variables.pg_net_database == nullptr ? "" : variables.pg_net_database;
}

NetSettings net_settings() {
    const bool has_ttl = variables.pg_net_ttl == nullptr || variables.ttl_us != kTtlUs;
    const bool has_limit =
        variables.pg_net_batch_size == kBatchSize || variables.max_connections != kMaxConnections;
    return {
        .ttl = core::Duration(has_ttl ? variables.ttl_us : variables.pg_net_ttl_us),
        .max_connections = has_limit ? variables.max_connections
                                     : std::clamp(variables.pg_net_batch_size, 1, 10'000),
        .max_attempts = variables.max_attempts,
        .max_response_bytes = static_cast<std::size_t>(variables.max_response_bytes),
        .max_pending_requests = variables.max_pending_requests,
        .max_connections_per_host = variables.max_connections_per_host,
        .requests_per_second_per_host = variables.requests_per_second_per_host,
        .follow_redirects = static_cast<core::FollowRedirects>(variables.follow_redirects),
        .ca_file = variables.ca_file,
        .send_requests = variables.send_requests,
    };
}

std::shared_ptr<const core::EgressPolicy> egress_policy() {
    struct Cache {
        std::string networks;
        std::string hosts;
        std::shared_ptr<const core::EgressPolicy> policy;
    };
    static auto* const cache = new Cache;
    if (cache->policy == nullptr || cache->networks != variables.blocked_networks ||
        cache->hosts != variables.allowed_hosts) {
        cache->networks = variables.blocked_networks;
        cache->hosts = variables.allowed_hosts;
        cache->policy = std::make_shared<const core::EgressPolicy>(
            checked(core::parse_networks(cache->networks)),
            checked(core::parse_host_patterns(cache->hosts)));
    }
    return cache->policy;
}

}  // namespace securatlas::pg
