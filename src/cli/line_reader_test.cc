#include "cli/line_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

namespace tallystick {
namespace {

using testing::ElementsAre;

std::vector<CsvReader::Record> Records(const std::string& text) {
  std::istringstream in(text);
  CsvReader reader(in);
  std::vector<CsvReader::Record> records;
  while (auto record = reader.Next()) records.push_back(std::move(*record));
  return records;
}

TEST(LineReader, NumbersLinesAndTakesEitherLineEnd) {
  std::istringstream in("a\r\n\nb");
  LineReader reader(in);
  EXPECT_EQ(reader.Next()->text, "a");
  EXPECT_EQ(reader.Next()->text, "");
  const auto last = reader.Next();
  EXPECT_EQ(last->text, "b");
  EXPECT_EQ(last->number, 3u);
  EXPECT_FALSE(reader.Next());
}

TEST(LineReader, ReportsTheLineThatIsTooLongAndGoesOn) {
  std::istringstream in(std::string(kLineBytesMax, 'x') + "\n" +
                        std::string(kLineBytesMax + 1, 'x') + "\nshort\n");
  LineReader reader(in);
  EXPECT_FALSE(reader.Next()->too_long);
  const auto second = reader.Next();
  EXPECT_TRUE(second->too_long);
  EXPECT_TRUE(second->text.empty());
  EXPECT_EQ(reader.Next()->text, "short");
}

TEST(CsvReader, ReadsQuotesLineEndsAndBlankLines) {
  const auto records = Records("a,b\r\n\r\n\"x,\"\"y\"\"\nz\",\n,\"\"\nlast,1");
  ASSERT_EQ(records.size(), 4u);
  EXPECT_THAT(records[0].cells, ElementsAre("a", "b"));
  EXPECT_THAT(records[1].cells, ElementsAre("x,\"y\"\nz", ""));
  EXPECT_EQ(records[1].line, 3u);
  EXPECT_THAT(records[2].cells, ElementsAre("", ""));
  EXPECT_EQ(records[2].line, 5u);
  EXPECT_THAT(records[3].cells, ElementsAre("last", "1"));
  for (const auto& record : records) EXPECT_EQ(record.fault, "");
}

TEST(CsvReader, ABrokenRecordDoesNotSpoilTheNext) {
  const auto records = Records("\"a\"b,1\nc,2\n\"open");
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].fault, "text behind a closing quote");
  EXPECT_THAT(records[1].cells, ElementsAre("c", "2"));
  EXPECT_EQ(records[1].fault, "");
  EXPECT_EQ(records[2].fault, "a quote is not closed");
}

TEST(CsvReader, ARecordWithoutEndHasBoundedMemory) {
  const auto records = Records("\"" + std::string(3 * kLineBytesMax, 'x'));
  ASSERT_EQ(records.size(), 1u);
  EXPECT_NE(records[0].fault, "");
  EXPECT_LE(records[0].cells[0].size(), kLineBytesMax);
}

}  // namespace
}  // namespace tallystick
