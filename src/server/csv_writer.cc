#include "server/csv_writer.h"

#include "server/json_writer.h"

namespace tallystick {
namespace {

void AppendNullable(std::string& out, const std::optional<std::string>& text) {
  if (text) AppendCsvText(out, *text);
}

}  // namespace

void AppendCsvText(std::string& out, std::string_view text) {
  if (!text.empty() && text.find_first_of(",\"\r\n") == std::string_view::npos) {
    out += text;
    return;
  }
  out += '"';
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

void AppendEventCsvHeader(std::string& out) {
  out +=
      "account_id,correction_ref,dimensions,event_id,ingested_at_ms,kind,meter_id,model_id,"
      "product_id,quantity,source,subscription_id,timestamp_ms,unit";
  out += kCsvLineEnd;
}

void AppendEventCsv(std::string& out, const Event& event) {
  AppendEventCsv(out, event, event.quantity.ToString());
}

void AppendEventCsv(std::string& out, const Event& event, std::string_view quantity) {
  AppendCsvText(out, event.account_id);
  out += ',';
  std::string json;
  if (event.correction_ref) {
    AppendCorrectionRefJson(json, *event.correction_ref);
    AppendCsvText(out, json);
    json.clear();
  }
  out += ',';
  AppendDimensionsJson(json, event);
  AppendCsvText(out, json);
  out += ',';
  AppendCsvText(out, event.event_id);
  out += ',';
  AppendJsonInt(out, event.ingested_at_ms);
  out += ',';
  out += EventKindName(event.kind);
  out += ',';
  AppendCsvText(out, event.meter_id);
  out += ',';
  AppendNullable(out, event.model_id);
  out += ',';
  AppendCsvText(out, event.product_id);
  out += ',';
  out += quantity;
  out += ',';
  AppendCsvText(out, event.source);
  out += ',';
  AppendNullable(out, event.subscription_id);
  out += ',';
  AppendJsonInt(out, event.timestamp_ms);
  out += ',';
  AppendCsvText(out, event.unit);
  out += kCsvLineEnd;
}

}  // namespace tallystick
