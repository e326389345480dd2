#include "securatlas/core/net/secret_reference.hpp"

#include <gtest/gtest.h>

#include "securatlas/core/net/url.hpp"

namespace securatlas::core {
namespace {

using Names = std::vector<std::string>;

TEST(SecretReference, NamesAreFoundOnceInTheirOrder) {
    EXPECT_EQ(secret_names(""), Names{});
    EXPECT_EQ(secret_names("Bearer x"), Names{});
    EXPECT_EQ(secret_names("Bearer {{secret:b}} {{secret:a}}{{secret:b}}"), (Names{"b", "a"}));
    EXPECT_EQ(secret_names("{{secret:}}"), Names{""});
    EXPECT_EQ(secret_names("{{secret:open"), Names{});
    EXPECT_EQ(secret_names("{{secret: a b }}"), Names{" a b "});
}

TEST(SecretReference, OnlyTheNamedOneIsReplaced) {
    EXPECT_EQ(put_secret("{{secret:a}}-{{secret:ab}}-{{secret:a}}", "a", "1"), "1-{{secret:ab}}-1");
    EXPECT_EQ(put_secret("x", "a", "1"), "x");
}

TEST(SecretReference, AValueIsNotLookedInto) {
    EXPECT_EQ(put_secret("{{secret:a}}", "a", "{{secret:a}}"), "{{secret:a}}");
}

TEST(SecretReference, FormsAreEncoded) {
    const std::string form = "t=" + percent_encode("{{secret:a/b}}") + "&u=x";
    EXPECT_EQ(put_secret_encoded(form, "a/b", "1 &2"), "t=1%20%262&u=x");
    EXPECT_EQ(put_secret_encoded("{{secret:a}}", "a", "1"), "{{secret:a}}");
}

}  // namespace
}  // namespace securatlas::core
