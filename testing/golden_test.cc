#include "testing/golden.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace tallystick {
namespace {

// Any text file of the source tree will do.
constexpr const char* kPath = "testing/test_main.cc";

std::string Content() {
  std::ifstream in(std::string(TALLY_SOURCE_DIR) + "/" + kPath);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

TEST(GoldenTest, EqualTextsGiveNothing) { EXPECT_EQ(CompareGolden(kPath, Content()), ""); }

TEST(GoldenTest, ADifferenceIsNamedByItsLine) {
  std::string text = Content();
  text[text.find('\n') + 1] = '!';
  EXPECT_NE(CompareGolden(kPath, text).find("testing/test_main.cc:2: expected"), std::string::npos);
}

TEST(GoldenTest, AMissingAndAnAdditionalLineAreDifferences) {
  const std::string text = Content();
  EXPECT_NE(CompareGolden(kPath, text + "more\n").find("expected '(end)', got 'more'"),
            std::string::npos);
  EXPECT_NE(CompareGolden(kPath, text.substr(0, text.find('\n') + 1)).find("got '(end)'"),
            std::string::npos);
}

TEST(GoldenTest, AMissingFileSaysHowToWriteIt) {
  EXPECT_NE(CompareGolden("testdata/no-such-golden.txt", "").find("TALLY_REWRITE_GOLDEN"),
            std::string::npos);
}

TEST(GoldenTest, HexDumpHasOffsetsBytesAndCharacters) {
  EXPECT_EQ(HexDump("ABCDEFGHIJKLMNOP\x01", 17),
            "000000  41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f 50  ABCDEFGHIJKLMNOP\n"
            "000010  01                                               .\n");
}

}  // namespace
}  // namespace tallystick
