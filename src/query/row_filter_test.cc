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

}  // namespace
}  // namespace tallystick
