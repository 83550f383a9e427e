#include "base/utf8.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tallystick {
namespace {

TEST(Utf8, FindsTheFirstFault) {
  EXPECT_EQ(FirstInvalidUtf8(""), 0u);
  EXPECT_EQ(FirstInvalidUtf8("abc"), 3u);
  EXPECT_EQ(FirstInvalidUtf8("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"), 9u);
  const std::string_view invalid[] = {"\x80",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xC3",
                                      "\xE2\x82",
                                      "\xE0\x9F\xBF",
                                      "\xED\xA0\x80",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xFF",
                                      "\xE2\x28\xA1"};
  for (const std::string_view bytes : invalid) {
    EXPECT_EQ(FirstInvalidUtf8("ok" + std::string(bytes)), 2u) << bytes;
  }
}

TEST(Shown, CutsBetweenCharactersAndReplacesTheRest) {
  EXPECT_EQ(Shown("abc", 3), "abc");
  EXPECT_EQ(Shown("abcd", 3), "abc...");
  EXPECT_EQ(Shown("ab\xC3\xA4", 3), "ab...");
  EXPECT_EQ(Shown("a\xFF\x80z"), "a??z");
}

RC_GTEST_PROP(Shown, IsAlwaysUtf8, (const std::string& bytes)) { RC_ASSERT(IsUtf8(Shown(bytes))); }

}  // namespace
}  // namespace tallystick
