#include "usagedb/wal_line.h"

#include <array>

#include "base/result.h"
#include "usagedb/json_fields.h"
#include "usagedb/manifest.h"

namespace tallystick::usagedb {
namespace {

using Value = JsonFields::Value;

constexpr size_t kLineBytesKept = 4 << 20;  // memory of a longer line is given back

enum Field : size_t {
  kEventId,
  kKind,
  kAccountId,
  kProductId,
  kMeterId,
  kTimestampMs,
  kQuantity,
  kUnit,
  kSource,
  kDimensions,
  kIngestedAtMs,
  kCorrectionRef,  // from here on optional
  kSubscriptionId,
  kModelId,
};
constexpr std::array<std::string_view, 14> kNames = {
    "event_id",        "kind",    "account_id", "product_id", "meter_id",       "timestamp_ms",
    "quantity",        "unit",    "source",     "dimensions", "ingested_at_ms", "correction_ref",
    "subscription_id", "model_id"};

}  // namespace

class WalLineParser::Impl {
 public:
  Result<Row> Parse(std::string_view line) {
    line_.assign(line);
    line_.append(kJsonPaddingBytes, ' ');
    fields_.Begin();
    dimensions_.clear();
    row_ = Row();
    row_.event.unit = row_.event.source = "";
    const bool read = ReadLine(std::string_view(line_).substr(0, line.size()));
    fields_.json().Shrink();
    if (!read) return Status::Corruption(fields_.fault());
    SortDimensions();
    row_.event.dimensions = dimensions_;
    return row_;
  }

  void ShrinkLine() {
    if (line_.capacity() > kLineBytesKept) line_ = std::string();
  }

 private:
  // Of equal keys the last one stays.
  void SortDimensions() {
    std::ranges::stable_sort(dimensions_, {}, &Dimension::key);
    size_t kept = 0;
    for (size_t i = 0; i < dimensions_.size(); ++i) {
      if (kept > 0 && dimensions_[kept - 1].key == dimensions_[i].key) --kept;
      dimensions_[kept++] = dimensions_[i];
    }
    dimensions_.resize(kept);
  }

  bool ReadLine(std::string_view text) {
    JsonReader& json = fields_.json();
    if (!json.Begin(text)) return false;
    if (!json.IsObject()) return fields_.Wrong("the line is no JSON object");
    JsonReader::Object object;
    if (const auto error = json.document().get_object().get(object)) return json.Fault(error);
    return fields_.Fields("the event", object, kNames, kCorrectionRef,
                          [this](size_t index, Value& value) { return ReadField(index, value); }) &&
           json.End();
  }

  bool ReadField(size_t index, Value& value) {
    EventView& event = row_.event;
    const std::string_view name = kNames[index];
    switch (index) {
      case kEventId:
        return fields_.Text(name, value, &event.event_id);
      case kKind:
        return ReadKind(value);
      case kAccountId:
        return fields_.Text(name, value, &event.account_id);
      case kProductId:
        return fields_.Text(name, value, &event.product_id);
      case kMeterId:
        return fields_.Text(name, value, &event.meter_id);
      case kTimestampMs:
        return fields_.Integer(name, value, &event.timestamp_ms);
      case kQuantity:
        event.quantity = {};
        return fields_.Integer(name, value, &event.quantity.mantissa);
      case kUnit:
        return fields_.Text(name, value, &event.unit);
      case kSource:
        return fields_.Text(name, value, &event.source);
      case kDimensions:
        return ReadDimensions(value);
      case kIngestedAtMs:
        return fields_.Integer(name, value, &row_.ingested_at_ms);
      case kCorrectionRef:
        return JsonFields::IsNull(value) || ReadCorrectionRef(value);
      case kSubscriptionId:
        return JsonFields::IsNull(value) ||
               fields_.Text(name, value, &event.subscription_id.emplace());
      default:
        return JsonFields::IsNull(value) || fields_.Text(name, value, &event.model_id.emplace());
    }
  }

  bool ReadKind(Value& value) {
    std::string_view text;
    if (!fields_.Text("kind", value, &text)) return false;
    const auto kind = EventKindFromName(text);
    if (!kind.has_value()) return fields_.Wrong("field kind is not known");
    row_.event.kind = *kind;
    return true;
  }

  bool ReadCorrectionRef(Value& value) {
    static constexpr std::array<std::string_view, 2> kParts = {"original_event_id", "reason"};
    CorrectionRefView& ref = row_.event.correction_ref.emplace();
    return fields_.Object("correction_ref", value, kParts, 2, [&](size_t index, Value& part) {
      return fields_.Text(kParts[index], part, index == 0 ? &ref.original_event_id : &ref.reason);
    });
  }

  bool ReadDimensions(Value& value) {
    static constexpr std::array<std::string_view, 1> kInner = {"inner"};
    return fields_.Object("dimensions", value, kInner, 1,
                          [&](size_t, Value& inner) { return ReadInner(inner); });
  }

  bool ReadInner(Value& value) {
    JsonReader& json = fields_.json();
    if (JsonReader::Token(value)[0] != '{') return fields_.Wrong("dimensions.inner is no object");
    JsonReader::Object object;
    if (const auto error = value.get_object().get(object)) return json.Fault(error);
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return json.Fault(result.error());
      JsonReader::Field& field = JsonReader::InPlace(result);
      Dimension dimension;
      if (!json.ReadKey(field, &dimension.key) ||
          !fields_.Text("dimensions", field.value(), &dimension.value)) {
        return false;
      }
      dimensions_.push_back(dimension);
    }
    return true;
  }

  JsonFields fields_;
  std::string line_;
  Row row_;
  std::vector<Dimension> dimensions_;
};

WalLineParser::WalLineParser() : impl_(std::make_unique<Impl>()) {}
WalLineParser::~WalLineParser() = default;

Result<Row> WalLineParser::Parse(std::string_view line) {
  impl_->ShrinkLine();
  return impl_->Parse(line);
}

namespace {

void AppendOptional(std::string& out, const std::optional<std::string_view>& text) {
  if (text.has_value()) {
    AppendJsonText(out, *text);
  } else {
    out += "null";
  }
}

}  // namespace

void AppendWalLine(std::string& out, const Row& row) {
  const EventView& event = row.event;
  const auto key = [&out](std::string_view name) { out += fmt::format(R"(,"{}":)", name); };
  out += R"({"event_id":)";
  AppendJsonText(out, event.event_id);
  out += fmt::format(R"(,"kind":"{}","correction_ref":)", EventKindName(event.kind));
  if (event.correction_ref.has_value()) {
    out += R"({"original_event_id":)";
    AppendJsonText(out, event.correction_ref->original_event_id);
    key("reason");
    AppendJsonText(out, event.correction_ref->reason);
    out += '}';
  } else {
    out += "null";
  }
  key("account_id");
  AppendJsonText(out, event.account_id);
  key("subscription_id");
  AppendOptional(out, event.subscription_id);
  key("product_id");
  AppendJsonText(out, event.product_id);
  key("meter_id");
  AppendJsonText(out, event.meter_id);
  out += fmt::format(R"(,"timestamp_ms":{},"quantity":{},"unit":)", event.timestamp_ms,
                     event.quantity.ToString());
  AppendJsonText(out, event.unit);
  key("source");
  AppendJsonText(out, event.source);
  key("model_id");
  AppendOptional(out, event.model_id);
  out += R"(,"dimensions":{"inner":{)";
  for (const Dimension& dimension : event.dimensions) {
    if (&dimension != event.dimensions.data()) out += ',';
    AppendJsonText(out, dimension.key);
    out += ':';
    AppendJsonText(out, dimension.value);
  }
  out += fmt::format(R"(}}}},"ingested_at_ms":{}}})", row.ingested_at_ms);
}

}  // namespace tallystick::usagedb
