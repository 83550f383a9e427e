#include "cli/csv_mapping.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

CsvMapping Minimal() {
  return {.maps = {"account_id=customer", "timestamp_ms=time", "quantity=n"},
          .sets = {"product_id=p", "meter_id=m"},
          .id_format = "{customer}-{row}"};
}

std::string Fault(const CsvMapping& mapping) {
  return CsvToJson::Create(mapping).status().message();
}

TEST(CsvMapping, MakesAnEvent) {
  CsvMapping mapping = Minimal();
  mapping.maps.push_back("dimensions.quantity=note");
  mapping.sets.push_back("dimensions.timestamp_ms=x");
  mapping.sets.push_back("kind=Correction");
  mapping.sets.push_back("correction_ref.original_event_id=o");
  mapping.maps.push_back("model_id=model");
  auto to_json = CsvToJson::Create(mapping);
  ASSERT_TRUE(to_json.ok());
  const std::vector<std::string> header = {"time", "customer", "n", "note", "model"};
  ASSERT_TRUE(to_json->SetHeader(header).ok());
  std::string out;
  const std::vector<std::string> row = {"2026-06-01T00:00:00Z", "ac\"me", "0.10", "", ""};
  ASSERT_TRUE(to_json->AppendEvent(7, row, out).ok());
  EXPECT_EQ(out,
            R"({"account_id":"ac\"me","timestamp_ms":1780272000000,"quantity":"0.10",)"
            R"("product_id":"p","meter_id":"m","kind":"Correction","event_id":"ac\"me-7",)"
            R"("dimensions":{"timestamp_ms":"x"},"correction_ref":{"original_event_id":"o"}})");
}

TEST(CsvMapping, TimesWithoutAZoneNeedTheOption) {
  for (const bool assume_utc : {false, true}) {
    CsvMapping mapping = Minimal();
    mapping.assume_utc = assume_utc;
    auto to_json = CsvToJson::Create(mapping);
    ASSERT_TRUE(to_json.ok());
    const std::vector<std::string> header = {"time", "customer", "n"};
    ASSERT_TRUE(to_json->SetHeader(header).ok());
    std::string out;
    const std::vector<std::string> row = {"2023-11-16 18:17:03.9799600", "c", "1"};
    EXPECT_EQ(to_json->AppendEvent(1, row, out).ok(), assume_utc);
    if (assume_utc) {
      EXPECT_NE(out.find("\"timestamp_ms\":1700158623979,"), std::string::npos);
    }
  }
}

TEST(CsvMapping, NamesEveryFaultBeforeTheFileIsRead) {
  EXPECT_EQ(Fault(Minimal()), "");
  CsvMapping mapping = Minimal();
  mapping.maps[0] = "account=customer";
  EXPECT_EQ(Fault(mapping), "no field `account`");
  mapping = Minimal();
  mapping.maps.push_back("unit");
  EXPECT_EQ(Fault(mapping), "`unit` is not FIELD=...");
  mapping = Minimal();
  mapping.sets.push_back("quantity=1");
  EXPECT_EQ(Fault(mapping), "quantity is given twice");
  mapping = Minimal();
  mapping.sets.pop_back();
  EXPECT_EQ(Fault(mapping), "meter_id comes from nowhere: --map or --set");
  mapping = Minimal();
  mapping.id_format = "constant";
  EXPECT_NE(Fault(mapping), "");
  mapping.id_format = "{row";
  EXPECT_NE(Fault(mapping), "");
  mapping.id_format = "";
  EXPECT_NE(Fault(mapping), "");
}

TEST(CsvMapping, ColumnsMustExistOnce) {
  auto to_json = CsvToJson::Create(Minimal());
  ASSERT_TRUE(to_json.ok());
  const std::vector<std::string> missing = {"time", "n"};
  EXPECT_EQ(to_json->SetHeader(missing).message(), "no column `customer`; there are: time, n");
  const std::vector<std::string> twice = {"time", "n", "customer", "n"};
  EXPECT_EQ(to_json->SetHeader(twice).message(), "column `n` occurs twice");
}

TEST(CsvMapping, ARowWithAnotherNumberOfCellsIsRefused) {
  auto to_json = CsvToJson::Create(Minimal());
  ASSERT_TRUE(to_json.ok());
  const std::vector<std::string> header = {"time", "customer", "n"};
  ASSERT_TRUE(to_json->SetHeader(header).ok());
  std::string out;
  const std::vector<std::string> row = {"1", "c"};
  EXPECT_EQ(to_json->AppendEvent(1, row, out).message(), "2 cells, the header has 3");
}

}  // namespace
}  // namespace tallystick
