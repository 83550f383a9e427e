#include "cli/plot.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

constexpr size_t kWidth = 40;

JsonRow Line(const std::string& day, const std::string& quantity, const std::string& meter = "") {
  return {{"day", day}, {"quantity", quantity}, {"meter_id", meter}};
}

std::string Plot(const std::vector<JsonRow>& rows, const std::vector<std::string>& keys = {},
                 size_t width = kWidth) {
  const auto plot = DrawPlot(rows, "day", keys, Calendar(), width);
  EXPECT_TRUE(plot.ok()) << plot.status().message();
  return plot.ok() ? *plot : "";
}

TEST(BarScale, IsExactToAnEighthOfAColumn) {
  const std::vector<std::string> quantities = {"80", "3"};
  const BarScale scale(quantities, 10);
  EXPECT_EQ(scale.Draw("80"), "██████████");
  EXPECT_EQ(scale.Draw("3"), "▍         ");
  EXPECT_EQ(scale.Draw("15"), "█▉        ");
  EXPECT_EQ(scale.Draw("0"), "          ");
}

TEST(BarScale, WhatIsNotZeroShows) {
  const std::vector<std::string> quantities = {"1000000000000000000000000000", "-1"};
  const BarScale scale(quantities, 10);
  EXPECT_EQ(scale.Draw("0.000000000001"), " │▏       ");
  EXPECT_EQ(scale.Draw("-0.000000000001"), "▐│        ");
}

TEST(BarScale, NegativeOnesGoToTheLeftOfALine) {
  const std::vector<std::string> quantities = {"-4", "4"};
  const BarScale scale(quantities, 17);
  EXPECT_EQ(scale.columns(), 17u);
  EXPECT_EQ(scale.Draw("4"), "        │████████");
  EXPECT_EQ(scale.Draw("-4"), "████████│        ");
  EXPECT_EQ(scale.Draw("-0.75"), "      ▐█│        ");
  EXPECT_EQ(scale.Draw(""), "        │        ");
}

TEST(BarScale, OnlyNegativeOnes) {
  const std::vector<std::string> quantities = {"-9"};
  EXPECT_EQ(BarScale(quantities, 10).Draw("-9"), "█████████│");
}

TEST(BarScale, BothSidesHaveOneScaleAndFit) {
  const std::vector<std::string> quantities = {"-1", "1000"};
  const BarScale scale(quantities, 20);
  EXPECT_EQ(scale.columns(), 20u);
  EXPECT_EQ(scale.Draw("1000"), " │██████████████████");
  EXPECT_EQ(scale.Draw("500"), " │█████████         ");

  const std::vector<std::string> mirrored = {"1", "-1000"};
  const BarScale other(mirrored, 20);
  EXPECT_EQ(other.Draw("-1000"), "██████████████████│ ");
  EXPECT_EQ(other.Draw("-500"), "         █████████│ ");
}

TEST(BarScale, HasAtLeastTenColumnsAndSurvivesWhatIsNoNumber) {
  const std::vector<std::string> quantities = {"inf", "nan", "1e9", "x", "-"};
  const BarScale scale(quantities, 0);
  EXPECT_EQ(scale.columns(), BarScale::kColumnsMin);
  for (const std::string& quantity : quantities) EXPECT_EQ(scale.Draw(quantity), "          ");
  EXPECT_EQ(scale.Draw("5"), "█████     ");  // never beyond its room
  EXPECT_EQ(scale.Draw("500"), "██████████");
}

TEST(DrawPlot, OneLineADayWithTheExactQuantity) {
  EXPECT_EQ(Plot({Line("1780272000000", "170141183460469231731.5"), Line("1780444800000", "1")}),
            "2026-06-01  ██████████  170141183460469231731.5\n"
            "2026-06-02\n"
            "2026-06-03  ▏                                 1\n");
}

TEST(DrawPlot, SeriesStandBelowEachOtherAndBeginTogether) {
  EXPECT_EQ(
      Plot({Line("1780272000000", "8", "in"), Line("1780358400000", "4", "out")}, {"meter_id"}, 25),
      "meter_id=in\n"
      "2026-06-01  ██████████  8\n"
      "2026-06-02\n"
      "\n"
      "meter_id=out\n"
      "2026-06-01\n"
      "2026-06-02  █████       4\n");
}

TEST(DrawPlot, SeriesThatLookAlikeAreTwo) {
  const std::vector<JsonRow> rows = {Line("1780272000000", "1", "a\n"),
                                     Line("1780272000000", "2", "a\t")};
  const std::string plot = Plot(rows, {"meter_id"});
  EXPECT_EQ(plot.find("meter_id=a?\n"), 0u);
  EXPECT_NE(plot.rfind("meter_id=a?\n"), 0u);
}

TEST(DrawPlot, NegativeDaysAndEmptyOnesHaveTheLine) {
  EXPECT_EQ(Plot({Line("1780272000000", "-2"), Line("1780444800000", "2")}, {}, 27),
            "2026-06-01  █████│       -2\n"
            "2026-06-02       │\n"
            "2026-06-03       │█████   2\n");
}

TEST(DrawPlot, UsesTheWidth) {
  const std::string plot = Plot({Line("1780272000000", "7")}, {}, 120);
  EXPECT_EQ(
      plot, "2026-06-01  " + [] {
        std::string bar;
        for (int i = 0; i < 105; ++i) bar += "█";
        return bar;
      }() + "  7\n");
}

TEST(DrawPlot, NothingGivesNothing) { EXPECT_EQ(Plot({}), ""); }

TEST(DrawPlot, ControlCharactersAreNotPrinted) {
  const std::string plot =
      Plot({Line("1780272000000", "1\x1b[2J", "a\x1b]0;x\x07\xc2\x9b")}, {"meter_id"});
  EXPECT_EQ(plot.find_first_of("\x1b\x07\xc2"), std::string::npos) << plot;
  EXPECT_EQ(plot.find("meter_id=a?]0;x??\n"), 0u);
}

TEST(DrawPlot, RefusesWhatItCannotDrawRight) {
  const std::vector<JsonRow> bad = {Line("soon", "1")};
  EXPECT_FALSE(DrawPlot(bad, "day", {}, Calendar(), kWidth).ok());
  const std::vector<JsonRow> twice = {Line("1780272000000", "1"), Line("1780272000001", "2")};
  EXPECT_FALSE(DrawPlot(twice, "day", {}, Calendar(), kWidth).ok());
  const std::vector<JsonRow> far = {{{"hour_start_ms", "0"}, {"quantity", "1"}},
                                    {{"hour_start_ms", "1780272000000"}, {"quantity", "1"}}};
  const auto plot = DrawPlot(far, "hour_start_ms", {}, Calendar(), kWidth);
  ASSERT_FALSE(plot.ok());
  EXPECT_EQ(plot.status().reason(), "plot_too_long");
}

}  // namespace
}  // namespace tallystick
