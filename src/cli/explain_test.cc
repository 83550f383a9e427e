#include "cli/explain.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

constexpr const char* kAnswer =
    R"({"account_id":"acme","corrections":[)"
    R"({"correction_ref":{"original_event_id":"e1","reason":"r"},"event_id":"c1",)"
    R"("kind":"Correction","meter_id":"in","original":{"event_id":"e1","lsn":3},"quantity":-2,)"
    R"("timestamp_ms":1780272000000},)"
    R"({"correction_ref":{"original_event_id":"lost","reason":"r"},"event_id":"c2",)"
    R"("kind":"Retraction","meter_id":"in","original":null,"quantity":-1,)"
    R"("timestamp_ms":1780272000001,"unresolved":true}],"from_ms":0,)"
    R"("lines":[{"corrections":"-2","count":9,"inputs":[{"rolled_up":4,"rollup_blocks":"0",)"
    R"("row_groups":"0-3,7","rows":3,"segment":12}],"memory_rows":2,"meter_id":"in",)"
    R"("model_id":null,"product_id":"p","quantity":"7.5","retractions":"-1","source":"",)"
    R"("unit":"t","usage":"10.5"},{"corrections":"0","count":1,"inputs":[],"memory_rows":1,)"
    R"("meter_id":"out","model_id":"m\u001b","product_id":"p","quantity":"1","retractions":"0",)"
    R"("source":"","unit":"","usage":"1"}],"lsn":40,"memory_bytes":4096,)"
    R"("plan":{"memory_rows_scanned":5,"memtables":1,"micros":77,"segments":[)"
    R"({"file":"000012.seg","micros":60,"pruned":null,"rollup_blocks":"0",)"
    R"("rollup_blocks_pruned":2,"row_groups":"0-3,7","row_groups_pruned":6,"rows_scanned":100,)"
    R"("segment":12},{"file":"000013.seg","micros":0,"pruned":"time","rollup_blocks":"",)"
    R"("rollup_blocks_pruned":0,"row_groups":"","row_groups_pruned":0,"rows_scanned":0,)"
    R"("segment":13}]},"raw_segments":["000012"],"rollup_inputs":{"000012":["000012"]},)"
    R"("rollup_segments":["000012"],"rows":{"memory":3,"rollups":4,"segments":3},"to_ms":9,)"
    R"("watermark_ms":1})";

std::string Text() {
  const auto text = ExplainText(kAnswer);
  EXPECT_TRUE(text.ok()) << text.status().message();
  return text.ok() ? *text : "";
}

TEST(Explain, EachLineHasItsInputsBehindIt) {
  const std::string text = Text();
  const size_t first = text.find(
      "    segment 12: 3 events by row, 4 by rollup (row groups 0-3,7, "
      "rollup blocks 0)\n    memory: 2 events\n");
  ASSERT_NE(first, std::string::npos) << text;
  EXPECT_LT(text.find("10.5"), first);
  EXPECT_GT(text.find("m?"), first);
  EXPECT_NE(text.find("    memory: 1 events\n"), std::string::npos);
}

TEST(Explain, CorrectionsNameTheirOriginalOrSayThatItDoesNotExist) {
  const std::string text = Text();
  EXPECT_NE(text.find("2026-06-01T00:00:00.000Z  c1        Correction  in              -2  e1"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("lost      does not exist"), std::string::npos) << text;
}

TEST(Explain, ThePlanSaysWhatWasReadAndWhatNot) {
  const std::string text = Text();
  EXPECT_NE(text.find("rows_scanned"), std::string::npos) << text;
  EXPECT_NE(text.find("\n000013.seg  time"), std::string::npos) << text;
  EXPECT_NE(text.find("memtables 1, 5 of their rows scanned\n"
                      "77 microseconds, about 4096 bytes of memory\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("4 events from rollups, 3 from segments, 3 from memory\nas of LSN 40\n"),
            std::string::npos)
      << text;
}

TEST(Explain, WithoutAnalyzeNothingIsMeasured) {
  const auto text =
      ExplainText(R"({"corrections":[],"lines":[],"lsn":0,"plan":{"memtables":0,"segments":[]},)"
                  R"("rows":{"memory":0,"rollups":0,"segments":0}})");
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(text->find("micros"), std::string::npos) << *text;
  EXPECT_EQ(text->find("corrections and"), std::string::npos) << *text;
  EXPECT_NE(text->find("memtables 0\n"), std::string::npos) << *text;
}

TEST(Explain, RefusesOtherJson) {
  EXPECT_FALSE(ExplainText("[]").ok());
  EXPECT_FALSE(ExplainText(R"({"lines":[{"inputs":[1]}]})").ok());
}

}  // namespace
}  // namespace tallystick
