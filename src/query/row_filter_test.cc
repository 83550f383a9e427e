#include "query/row_filter.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

TEST(FieldTest, NamesAreParsedBack) {
  for (const char* name :
       {"account_id", "subscription_id", "product_id", "meter_id", "model_id", "source", "unit",
        "kind", "hour_start_ms", "day", "region", "dimensions.account_id", "dimensions.day"}) {
    EXPECT_EQ(Field::Parse(name).Name(), name);
  }
  EXPECT_EQ(Field::Parse("dimensions.region").Name(), "region");
  EXPECT_EQ(Field::Parse("dimensions.dimensions.x").Name(), "dimensions.dimensions.x");
}

TEST(FieldTest, AColumnIsNotADimensionOfItsName) {
  EXPECT_EQ(Field::Parse("meter_id").kind, Field::Kind::kMeterId);
  const Field dimension = Field::Parse("dimensions.meter_id");
  EXPECT_EQ(dimension.kind, Field::Kind::kDimension);
  EXPECT_EQ(dimension.dimension, "meter_id");
  EXPECT_EQ(Field::Parse("Meter_id").kind, Field::Kind::kDimension);
}

TEST(FieldTest, BucketsFloorTimesBeforeTheEpochToo) {
  const Field hour = Field::Parse("hour_start_ms"), day = Field::Parse("day");
  RowView row;
  auto start = [&](const Field& field, int64_t timestamp_ms) {
    row.timestamp_ms = timestamp_ms;
    return BucketStartMs(row, field);
  };
  EXPECT_EQ(start(hour, 0), 0);
  EXPECT_EQ(start(hour, 3'599'999), 0);
  EXPECT_EQ(start(hour, -1), -3'600'000);
  EXPECT_EQ(start(hour, -3'600'000), -3'600'000);
  EXPECT_EQ(start(day, -1), -86'400'000);
  EXPECT_EQ(start(day, 86'400'000), 86'400'000);
}

}  // namespace
}  // namespace tallystick
