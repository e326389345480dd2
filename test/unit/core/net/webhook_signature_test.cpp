#include "securatlas/core/net/webhook_signature.hpp"

#include <gtest/gtest.h>

namespace securatlas::core {
namespace {

TEST(WebhookSignature, SignsIdTimeAndBody) {
    EXPECT_EQ(signed_content("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, R"({"test": 2432232314})"),
              R"(msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314})");
    EXPECT_EQ(signed_content("a", 0, ""), "a.0.");
}

TEST(WebhookSignature, KeyInBase64) {
    EXPECT_EQ(signing_key("whsec_c2VjcmV0"), "secret");
    EXPECT_EQ(signing_key("whsec_c2VjcmV0cw=="), "secrets");
    EXPECT_EQ(signing_key("whsec_c2VjcmV0cw"), "secrets");
    EXPECT_EQ(signing_key("whsec_++//"), "\xfb\xef\xff");
}

TEST(WebhookSignature, OtherKeysAreTheirBytes) {
    EXPECT_EQ(signing_key("secret"), "secret");
    EXPECT_EQ(signing_key("WHSEC_c2VjcmV0"), "WHSEC_c2VjcmV0");
}

TEST(WebhookSignature, NoKey) {
    EXPECT_FALSE(signing_key(""));
    EXPECT_FALSE(signing_key("whsec_"));
    EXPECT_FALSE(signing_key("whsec_c2Vjc"));
    EXPECT_FALSE(signing_key("whsec_c2V-"));
    EXPECT_FALSE(signing_key("whsec_c2=j"));
}

TEST(WebhookSignature, ValueIsBase64) {
    EXPECT_EQ(signature_value(""), "v1,");
    EXPECT_EQ(signature_value("f"), "v1,Zg==");
    EXPECT_EQ(signature_value("fo"), "v1,Zm8=");
    EXPECT_EQ(signature_value("foo"), "v1,Zm9v");
    EXPECT_EQ(signature_value("\xfb\xef\xff"), "v1,++//");
}

}  // namespace
}  // namespace securatlas::core
