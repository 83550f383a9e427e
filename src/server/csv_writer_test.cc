#include "server/csv_writer.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

std::string Cell(std::string_view text) {
  std::string out;
  AppendCsvText(out, text);
  return out;
}

TEST(CsvWriter, QuotesWhatMustBe) {
  EXPECT_EQ(Cell("plain text"), "plain text");
  EXPECT_EQ(Cell(""), "\"\"");
  EXPECT_EQ(Cell("a,b"), "\"a,b\"");
  EXPECT_EQ(Cell("say \"x\""), "\"say \"\"x\"\"\"");
  EXPECT_EQ(Cell("a\nb"), "\"a\nb\"");
  EXPECT_EQ(Cell("a\rb"), "\"a\rb\"");
}

TEST(CsvWriter, EventsHaveTheColumnsOfTheirJson) {
  Event event;
  event.event_id = "e,1";
  event.account_id = "acme";
  event.product_id = "api";
  event.meter_id = "tok";
  event.model_id = "";
  event.timestamp_ms = 5;
  event.ingested_at_ms = 6;
  event.quantity = Quantity::Parse("-1.5").value();
  std::string out;
  AppendEventCsvHeader(out);
  AppendEventCsv(out, event);
  event.kind = EventKind::kCorrection;
  event.correction_ref = CorrectionRef{"e0", "why"};
  event.dimensions = {{"region", "eu"}};
  event.subscription_id = "s";
  AppendEventCsv(out, event, "170141183460469231731687303715884105728");
  EXPECT_EQ(out,
            "account_id,correction_ref,dimensions,event_id,ingested_at_ms,kind,meter_id,model_id,"
            "product_id,quantity,source,subscription_id,timestamp_ms,unit\r\n"
            "acme,,{},\"e,1\",6,Usage,tok,\"\",api,-1.5,\"\",,5,\"\"\r\n"
            "acme,\"{\"\"original_event_id\"\":\"\"e0\"\",\"\"reason\"\":\"\"why\"\"}\","
            "\"{\"\"region\"\":\"\"eu\"\"}\",\"e,1\",6,Correction,tok,\"\",api,"
            "170141183460469231731687303715884105728,\"\",s,5,\"\"\r\n");
}

}  // namespace
}  // namespace tallystick
