#include "net/webhook_signing.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>

#include "securatlas/core/net/webhook_signature.hpp"
#include "securatlas/core/text.hpp"
#include "securatlas/pg/border/error.hpp"
#include "securatlas/pg/border/process.hpp"

namespace securatlas::pg {
namespace {

std::string hmac_sha256(const std::string& key, const std::string& content) {
    std::array<unsigned char, EVP_MAX_MD_SIZE> bytes;
    unsigned int size = 0;
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
             reinterpret_cast<const unsigned char*>(content.data()), content.size(), bytes.data(),
             &size) == nullptr) {
        throw Error("XX000", "signing failed");
    }
    return {reinterpret_cast<const char*>(bytes.data()), size};
}

void set_header(core::QueuedRequest& request, const char* name, const std::string& value) {
    for (core::Header& header : request.headers) {
        if (!core::equal_ignoring_case(header.name, name)) continue;
        header.value = value;
        return;
    }
    request.headers.push_back({name, value});
}

}  // namespace

void sign_request(core::QueuedRequest& request, const std::string& secret) {
    const auto key = core::signing_key(secret);
    if (!key) {
        request.problem = "the secret of header webhook-signature holds no key";
        return;
    }
    const std::string* given = core::find_header(request.headers, core::kWebhookId);
    std::string id = given != nullptr ? *given : request.idempotency_key;
    if (id.empty()) id = std::to_string(static_cast<std::int64_t>(request.id));
    const auto seconds = std::chrono::floor<std::chrono::seconds>(now().time_since_epoch()).count();
    const std::string hmac = hmac_sha256(*key, core::signed_content(id, seconds, request.body));
    set_header(request, core::kWebhookId, id);
    set_header(request, core::kWebhookTimestamp, std::to_string(seconds));
    set_header(request, core::kWebhookSignature, core::signature_value(hmac));
}

}  // namespace securatlas::pg
