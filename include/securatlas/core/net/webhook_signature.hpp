// Signatures of requests by Standard Webhooks: what is signed, and with which key. The HMAC itself
// needs a library that the core does not have.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace securatlas::core {

// The header whose value, a reference to a secret, is replaced by a signature made with that
// secret, and those that are added.
inline constexpr const char* kWebhookSignature = "webhook-signature";
inline constexpr const char* kWebhookId = "webhook-id";
inline constexpr const char* kWebhookTimestamp = "webhook-timestamp";

// What is signed: id, time in seconds since 1970, and body.
std::string signed_content(std::string_view id, std::int64_t seconds, std::string_view body);

// The key in a secret: after "whsec_" it is in base64, otherwise the secret itself. nullopt: what
// follows "whsec_" is not valid base64, or the key is empty.
std::optional<std::string> signing_key(std::string_view secret);

// The value of kWebhookSignature for an HMAC-SHA256.
std::string signature_value(std::string_view hmac);

}  // namespace securatlas::core
