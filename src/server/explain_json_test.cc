#include "server/explain_json.h"

#include <vector>

#include <gtest/gtest.h>

namespace tallystick {
namespace {

UsageQuery Query() {
  UsageQuery query;
  query.account_id = "acme";
  query.from_ms = 10;
  query.to_ms = 20;
  return query;
}

TEST(ExplainJson, Ranges) {
  EXPECT_EQ(RangesText({}), "");
  EXPECT_EQ(RangesText(std::vector<uint32_t>{0}), "0");
  EXPECT_EQ(RangesText(std::vector<uint32_t>{0, 1, 2, 3, 7, 9, 10}), "0-3,7,9-10");
}

TEST(ExplainJson, LinesPlanAndSegments) {
  UsageResult result;
  UsageLine line;
  line.keys = {"api", "tok", "", "gw", "t"};
  line.quantity = "3";
  line.usage = "4";
  line.corrections = "-1";
  line.retractions = "0";
  line.count = 5;
  line.inputs = {
      {.segment = 12, .row_groups = {0, 1}, .rollup_blocks = {3}, .rows = 2, .rolled_up = 1}};
  line.memory_rows = 2;
  result.lines = {line};
  result.lsn = Lsn{9};
  result.rows = {.rollups = 1, .segments = 2, .memory = 2};
  result.watermark_ms = 30;
  result.memory_bytes = 77;
  result.plan.segments.resize(3);
  result.plan.segments[0].read = line.inputs[0];
  result.plan.segments[0].row_groups_pruned = 4;
  result.plan.segments[0].rollup_blocks_pruned = 5;
  result.plan.segments[0].rows_scanned = 600;
  result.plan.segments[0].micros = 70;
  result.plan.segments[1].read.segment = 13;
  result.plan.segments[1].pruned = "time";
  result.plan.segments[2].read.segment = 14;
  result.plan.segments[2].read.rollup_blocks = {0};
  result.plan.memtables = 1;
  result.plan.memory_rows_scanned = 8;
  result.plan.micros = 99;
  EXPECT_EQ(ExplainTailToJson(Query(), result, false),
            R"(,"from_ms":10,"lines":[{"corrections":"-1","count":5,"inputs":[{"rolled_up":1,)"
            R"("rollup_blocks":"3","row_groups":"0-1","rows":2,"segment":12}],"memory_rows":2,)"
            R"("meter_id":"tok","model_id":"","product_id":"api","quantity":"3","retractions":"0",)"
            R"("source":"gw","unit":"t","usage":"4"}],"lsn":9,"plan":{"memtables":1,"segments":[)"
            R"({"file":"000012.seg","pruned":null,"rollup_blocks":"3","rollup_blocks_pruned":5,)"
            R"("row_groups":"0-1","row_groups_pruned":4,"segment":12},)"
            R"({"file":"000013.seg","pruned":"time","rollup_blocks":"","rollup_blocks_pruned":0,)"
            R"("row_groups":"","row_groups_pruned":0,"segment":13},)"
            R"({"file":"000014.seg","pruned":null,"rollup_blocks":"0","rollup_blocks_pruned":0,)"
            R"("row_groups":"","row_groups_pruned":0,"segment":14}]},"raw_segments":["000012"],)"
            R"("rollup_inputs":{"000012":["000012"],"000014":["000014"]},)"
            R"("rollup_segments":["000012","000014"],"rows":{"memory":2,"rollups":1,"segments":2},)"
            R"("to_ms":20,"watermark_ms":30)");
  const std::string analyzed = ExplainTailToJson(Query(), result, true);
  for (const char* part :
       {R"("lsn":9,"memory_bytes":77,"plan":{"memory_rows_scanned":8,"memtables":1,"micros":99,)",
        R"({"file":"000012.seg","micros":70,"pruned":null,)",
        R"("rows_scanned":600,"segment":12})"}) {
    EXPECT_NE(analyzed.find(part), std::string::npos) << part << analyzed;
  }
}

TEST(ExplainJson, Verify) {
  PathComparison comparison;
  comparison.rollups.lsn = Lsn{4};
  comparison.rollups.watermark_ms = 20;
  comparison.rollup_total = "7";
  comparison.row_total = comparison.each_total = "107";
  comparison.drift = "100";
  comparison.faults = {"line \"a\"", "b"};
  EXPECT_EQ(VerifyToJson(Query(), comparison),
            R"({"account_id":"acme","drift":"100","each_total":"107","faults":["line \"a\"","b"],)"
            R"("from_ms":10,"lsn":4,"matches":false,"period_sealed":true,"raw_total":"107",)"
            R"("rollup_total":"7","to_ms":20,"watermark_ms":20})");
  comparison.faults.clear();
  comparison.rollups.watermark_ms = 19;
  const std::string agrees = VerifyToJson(Query(), comparison);
  EXPECT_NE(agrees.find(R"("matches":true,"period_sealed":false)"), std::string::npos) << agrees;
}

}  // namespace
}  // namespace tallystick
