#include "cli/table.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

TEST(Table, AlignsTextLeftAndNumbersRight) {
  Table table({"name", "quantity"});
  table.Add({"alder", "-1.5"});
  table.Add({"é", "12345678901234567890"});
  EXPECT_EQ(table.ToString(),
            "name               quantity\n"
            "-----  --------------------\n"
            "alder                  -1.5\n"
            "é      12345678901234567890\n");
}

TEST(Table, HasAHeaderWithoutRows) { EXPECT_EQ(Table({"a", "bc"}).ToString(), "a  bc\n-  --\n"); }

TEST(Table, ControlCharactersCannotBreakIt) {
  Table table({"id"});
  table.Add({"a\nb\x1b[2J"});
  EXPECT_EQ(table.ToString(), "id\n-------\na?b?[2J\n");
}

TEST(Printable, KnowsTheControlCharactersOfUtf8) {
  EXPECT_EQ(Printable("a\x7f\xc2\x9b"
                      "1mé\xc2\xa0\xc2"),
            "a??1mé\xc2\xa0\xc2");
}

}  // namespace
}  // namespace tallystick
