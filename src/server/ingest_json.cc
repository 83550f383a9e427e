// Reads events with simdjson On-Demand.
//
// Invariants:
//  1. A value is either consumed with a check of its whole token, or walked (json_reader.h); none
//  is skipped.
//  2. After the first JSON fault nothing of the document is touched any more.
//  3. A fault of an event (Reject) never stops the reading: the rest must still be JSON, and
//  event_id may
//     come later.
#include "server/ingest_json.h"

#include <cstring>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/json_reader.h"
#include "base/result.h"
#include "base/utf8.h"

namespace tallystick {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr size_t kLineBytesKept = 4 << 20;  // memory of a longer line is given back
constexpr size_t kDimensionsKept = 17;      // one more than any event may have

enum FieldId : uint8_t {
  kAccountId,
  kCorrectionRef,
  kDimensions,
  kEventId,
  kIngestedAtMs,
  kKind,
  kMeterId,
  kModelId,
  kProductId,
  kQuantity,
  kSource,
  kSubscriptionId,
  kTimestampMs,
  kUnit,
  kUnknown,
};

constexpr std::string_view kFieldNames[] = {
    "account_id", "correction_ref",  "dimensions",   "event_id",   "ingested_at_ms",
    "kind",       "meter_id",        "model_id",     "product_id", "quantity",
    "source",     "subscription_id", "timestamp_ms", "unit"};
static_assert(std::size(kFieldNames) == kUnknown);

// Required, in the order in which a missing one is reported.
constexpr FieldId kRequired[] = {kEventId, kAccountId,   kProductId,
                                 kMeterId, kTimestampMs, kQuantity};
constexpr uint32_t kRequiredMask = [] {
  uint32_t mask = 0;
  for (const FieldId id : kRequired) mask |= 1u << id;
  return mask;
}();

// `raw` is the text behind a key's opening quote, with padding behind it. Compares up to and with
// the closing quote.
FieldId IdentifyField(const char* raw) {
  const auto is = [raw](FieldId id) {
    const std::string_view name = kFieldNames[id];
    return std::memcmp(raw, name.data(), name.size()) == 0 && raw[name.size()] == '"' ? id
                                                                                      : kUnknown;
  };
  switch (raw[0]) {
    case 'a':
      return is(kAccountId);
    case 'c':
      return is(kCorrectionRef);
    case 'd':
      return is(kDimensions);
    case 'e':
      return is(kEventId);
    case 'i':
      return is(kIngestedAtMs);
    case 'k':
      return is(kKind);
    case 'm':
      return raw[1] == 'e' ? is(kMeterId) : is(kModelId);
    case 'p':
      return is(kProductId);
    case 'q':
      return is(kQuantity);
    case 's':
      return raw[1] == 'o' ? is(kSource) : is(kSubscriptionId);
    case 't':
      return is(kTimestampMs);
    case 'u':
      return is(kUnit);
    default:
      return kUnknown;
  }
}

// One event while it is read.
struct Draft {
  EventView view;
  uint32_t seen = 0;  // bits by FieldId
  std::optional<Rejection> rejection;
  std::optional<Rejection> deferred;

  void Begin() {
    view = EventView();
    view.unit = view.source = "";  // the defaults; never null, even where they are empty
    seen = 0;
    rejection.reset();
    deferred.reset();
  }

  void Reject(std::string_view code, std::string_view field, std::string message) {
    if (!rejection)
      rejection = Rejection{std::string(code), std::string(field), std::move(message)};
  }
  void RejectType(std::string_view field, std::string_view wanted) {
    Reject("invalid_type", field, fmt::format("field `{}` must be {}", field, wanted));
  }
  void RejectUnknown(std::string_view prefix, std::string_view name) {
    if (deferred) return;
    std::string field = std::string(prefix) + Shown(name);
    std::string message = fmt::format("field `{}` is unknown", field);
    deferred = Rejection{"unknown_field", std::move(field), std::move(message)};
  }
};

}  // namespace

class EventParser::Impl {
 public:
  explicit Impl(UnknownFields unknown_fields) : unknown_fields_(unknown_fields) {}

  Status ParseBody(std::string_view text, size_t events_max, Batch& batch) {
    const Status status = ReadBody(text, events_max, batch);
    json_.Shrink();
    return status;
  }

  std::optional<Rejection> ParseEventLine(std::string_view line, Batch& batch) {
    line_.assign(line);
    line_.append(kJsonPaddingBytes, ' ');
    const bool is_json = ReadLine(std::string_view(line_).substr(0, line.size()), batch);
    json_.Shrink();
    if (line_.capacity() > kLineBytesKept) line_ = std::string();
    if (is_json) return std::nullopt;
    return Rejection{"invalid_json", "", json_.FaultMessage()};
  }

 private:
  // --- the fields of an event ---

  bool ReadText(ondemand::value& value, FieldId id, Draft& draft, std::string_view* out) {
    if (JsonReader::IsString(value)) return json_.ReadString(value, out);
    draft.RejectType(kFieldNames[id], "a string");
    return json_.Walk(value, kEventDepth + 1);
  }

  bool ReadNullableText(ondemand::value& value, FieldId id, Draft& draft,
                        std::optional<std::string_view>* out) {
    if (JsonReader::Token(value) == "null") return true;
    if (JsonReader::IsString(value)) return json_.ReadString(value, &out->emplace());
    draft.RejectType(kFieldNames[id], "a string or null");
    return json_.Walk(value, kEventDepth + 1);
  }

  bool ReadKind(ondemand::value& value, Draft& draft) {
    std::string_view name;
    const bool is_text = JsonReader::IsString(value);
    if (!ReadText(value, kKind, draft, &name)) return false;
    if (!is_text) return true;
    if (const auto kind = EventKindFromName(name)) {
      draft.view.kind = *kind;
    } else {
      draft.Reject("invalid_kind", "kind",
                   fmt::format("field `kind` must be Usage, Correction or Retraction, not `{}`",
                               Shown(name)));
    }
    return true;
  }

  bool ReadTimestamp(ondemand::value& value, Draft& draft) {
    const std::string_view token = JsonReader::Token(value);
    if (const auto number = ParseJsonInteger(token); number && IsJsonNumber(token)) {
      draft.view.timestamp_ms = *number;
      return true;
    }
    if (IsJsonNumber(token) && token.find_first_of(".eE") == std::string_view::npos) {
      draft.Reject("invalid_timestamp", "timestamp_ms",
                   fmt::format("field `timestamp_ms` is out of range: `{}`", Shown(token)));
      return true;
    }
    draft.RejectType("timestamp_ms", "an integer");
    return json_.Walk(value, kEventDepth + 1);
  }

  bool ReadQuantity(ondemand::value& value, Draft& draft) {
    std::string_view digits = JsonReader::Token(value);
    if (JsonReader::IsString(value)) {
      if (!json_.ReadString(value, &digits)) return false;
    } else if (!IsJsonNumber(digits)) {
      draft.RejectType("quantity", "a number, or a string that holds one");
      return json_.Walk(value, kEventDepth + 1);
    }
    if (auto quantity = Quantity::Parse(digits); quantity.ok()) {
      draft.view.quantity = *quantity;
    } else {
      draft.Reject(quantity.status().reason(), "quantity",
                   fmt::format("field `quantity`: {}", Shown(quantity.status().message(), 256)));
    }
    return true;
  }

  // The server stamps the time itself; a client of usageDb sends one.
  bool ReadIngestedAt(ondemand::value& value, Draft& draft) {
    if (IsJsonNumber(JsonReader::Token(value))) return true;
    draft.RejectType("ingested_at_ms", "a number");
    return json_.Walk(value, kEventDepth + 1);
  }

  bool ReadCorrectionRef(ondemand::value& value, Draft& draft) {
    const std::string_view token = JsonReader::Token(value);
    if (token == "null") return true;
    if (token[0] != '{') {
      draft.RejectType("correction_ref", "an object or null");
      return json_.Walk(value, kEventDepth + 1);
    }
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return json_.Fault(error);
    std::optional<std::string_view> original;
    std::optional<std::string_view> reason;
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return json_.Fault(result.error());
      ondemand::field& field = JsonReader::InPlace(result);
      std::string_view key;
      if (!json_.ReadKey(field, &key)) return false;
      const bool known = key == "original_event_id" || key == "reason";
      if (!known && unknown_fields_ == UnknownFields::kReject)
        draft.RejectUnknown("correction_ref.", key);
      if (!known) {
        if (!json_.Walk(field.value(), kEventDepth + 2)) return false;
        continue;
      }
      auto& slot = key == "reason" ? reason : original;
      const std::string name = fmt::format("correction_ref.{}", key);
      if (slot) draft.Reject("duplicate_field", name, fmt::format("field `{}` occurs twice", name));
      if (JsonReader::IsString(field.value())) {
        if (!json_.ReadString(field.value(), &slot.emplace())) return false;
      } else {
        draft.RejectType(name, "a string");
        if (!json_.Walk(field.value(), kEventDepth + 2)) return false;
      }
    }
    if (!original) RejectMissing("correction_ref.original_event_id", draft);
    if (!reason) RejectMissing("correction_ref.reason", draft);
    if (original && reason) draft.view.correction_ref = CorrectionRefView{*original, *reason};
    return true;
  }

  // {"k":"v"} or usageDb's {"inner":{"k":"v"}}: the key `inner` with an object makes the
  // difference.
  bool ReadDimensions(ondemand::value& value, Draft& draft) {
    if (JsonReader::Token(value)[0] != '{') {
      draft.RejectType("dimensions", "an object");
      return json_.Walk(value, kEventDepth + 1);
    }
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return json_.Fault(error);
    bool inner_seen = false;
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return json_.Fault(result.error());
      ondemand::field& field = JsonReader::InPlace(result);
      std::string_view key;
      if (!json_.ReadKey(field, &key)) return false;
      if (key == "inner" && JsonReader::Token(field.value())[0] == '{') {
        if (inner_seen) RejectDuplicateDimension("inner", draft);
        if (!inner_seen) BeginInner(draft);
        inner_seen = true;
        if (!ReadInner(field.value(), draft)) return false;
      } else if (inner_seen) {
        if (unknown_fields_ == UnknownFields::kReject) draft.RejectUnknown("dimensions.", key);
        if (!json_.Walk(field.value(), kEventDepth + 2)) return false;
      } else if (!ReadDimension(key, field.value(), draft)) {
        return false;
      }
    }
    draft.view.dimensions = dimensions_;
    return true;
  }

  // What came before `inner` as if it were a dimension stands beside it.
  void BeginInner(Draft& draft) {
    if (!dimensions_.empty() && unknown_fields_ == UnknownFields::kReject) {
      draft.RejectUnknown("dimensions.", dimensions_[0].key);
    }
    dimensions_.clear();
  }

  bool ReadInner(ondemand::value& value, Draft& draft) {
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return json_.Fault(error);
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return json_.Fault(result.error());
      ondemand::field& field = JsonReader::InPlace(result);
      std::string_view key;
      if (!json_.ReadKey(field, &key) || !ReadDimension(key, field.value(), draft)) return false;
    }
    return true;
  }

  bool ReadDimension(std::string_view key, ondemand::value& value, Draft& draft) {
    if (!JsonReader::IsString(value)) {
      draft.RejectType(fmt::format("dimensions.{}", Shown(key)), "a string");
      return json_.Walk(value, kEventDepth + 2);
    }
    std::string_view text;
    if (!json_.ReadString(value, &text)) return false;
    if (dimensions_.size() == kDimensionsKept) return true;  // refused for their number anyway
    for (const Dimension& other : dimensions_) {
      if (other.key == key) RejectDuplicateDimension(key, draft);
    }
    dimensions_.push_back({key, text});
    return true;
  }

  static void RejectDuplicateDimension(std::string_view key, Draft& draft) {
    const std::string field = fmt::format("dimensions.{}", Shown(key));
    draft.Reject("duplicate_dimension", field,
                 fmt::format("dimension `{}` occurs twice", Shown(key)));
  }

  static void RejectMissing(std::string_view field, Draft& draft) {
    draft.Reject("missing_field", field, fmt::format("field `{}` is missing", field));
  }

  bool ReadField(FieldId id, ondemand::value& value, Draft& draft) {
    switch (id) {
      case kAccountId:
        return ReadText(value, id, draft, &draft.view.account_id);
      case kCorrectionRef:
        return ReadCorrectionRef(value, draft);
      case kDimensions:
        return ReadDimensions(value, draft);
      case kEventId:
        return ReadText(value, id, draft, &draft.view.event_id);
      case kIngestedAtMs:
        return ReadIngestedAt(value, draft);
      case kKind:
        return ReadKind(value, draft);
      case kMeterId:
        return ReadText(value, id, draft, &draft.view.meter_id);
      case kModelId:
        return ReadNullableText(value, id, draft, &draft.view.model_id);
      case kProductId:
        return ReadText(value, id, draft, &draft.view.product_id);
      case kQuantity:
        return ReadQuantity(value, draft);
      case kSource:
        return ReadText(value, id, draft, &draft.view.source);
      case kSubscriptionId:
        return ReadNullableText(value, id, draft, &draft.view.subscription_id);
      case kTimestampMs:
        return ReadTimestamp(value, draft);
      case kUnit:
        return ReadText(value, id, draft, &draft.view.unit);
      case kUnknown:
        break;
    }
    return json_.Walk(value, kEventDepth + 1);
  }

  // A key that is none of ours as it stands: perhaps one written with escapes, else unknown.
  bool IdentifySlowly(ondemand::field& field, Draft& draft, FieldId* id) {
    std::string_view key;
    if (!json_.ReadKey(field, &key)) return false;
    for (uint8_t known = 0; known < kUnknown; ++known) {
      if (key == kFieldNames[known]) *id = static_cast<FieldId>(known);
    }
    if (*id == kUnknown && unknown_fields_ == UnknownFields::kReject) draft.RejectUnknown("", key);
    return true;
  }

  bool ReadEvent(ondemand::object& object, Batch& batch) {
    Draft& draft = draft_;
    draft.Begin();
    dimensions_.clear();
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return json_.Fault(result.error());
      ondemand::field& field = JsonReader::InPlace(result);
      FieldId id = IdentifyField(field.key().raw());
      if (id == kUnknown && !IdentifySlowly(field, draft, &id)) return false;
      const uint32_t bit = 1u << id;
      if (id != kUnknown && (draft.seen & bit) != 0) {
        draft.Reject("duplicate_field", kFieldNames[id],
                     fmt::format("field `{}` occurs twice", kFieldNames[id]));
        if (!json_.Walk(field.value(), kEventDepth + 1)) return false;
        continue;
      }
      draft.seen |= bit;
      if (!ReadField(id, field.value(), draft)) return false;
    }
    if ((draft.seen & kRequiredMask) != kRequiredMask) {
      for (const FieldId id : kRequired) {
        if ((draft.seen & (1u << id)) == 0) RejectMissing(kFieldNames[id], draft);
      }
    }
    if (draft.rejection) {
      batch.AddRejected(draft.view.event_id, std::move(*draft.rejection));
    } else {
      batch.Add(draft.view, std::move(draft.deferred));
    }
    return true;
  }

  bool ReadEventValue(ondemand::value& value, Batch& batch) {
    if (value.raw_json_token()[0] != '{') {
      if (!json_.Walk(value, kEventDepth)) return false;
      batch.AddRejected({}, Rejection{"invalid_type", "", "an event must be a JSON object"});
      return true;
    }
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return json_.Fault(error);
    return ReadEvent(object, batch);
  }

  // --- documents ---

  static Status InvalidShape(std::string_view why) {
    return Status::InvalidArgument("invalid_shape", why);
  }

  Status ReadBody(std::string_view text, size_t events_max, Batch& batch) {
    if (!json_.Begin(text)) return json_.FaultStatus();
    if (!json_.IsObject()) {
      if (!json_.WalkOther()) return json_.FaultStatus();
      return InvalidShape("the body must be an object {\"events\": [...]}");
    }
    ondemand::object object;
    if (const auto error = json_.document().get_object().get(object)) {
      json_.Fault(error);
      return json_.FaultStatus();
    }
    size_t events_keys = 0;
    Status shape = Status::Ok();
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) {
        json_.Fault(result.error());
        return json_.FaultStatus();
      }
      ondemand::field& field = JsonReader::InPlace(result);
      std::string_view key;
      if (!json_.ReadKey(field, &key)) return json_.FaultStatus();
      const bool is_events = key == "events";
      if (is_events && ++events_keys > 1) shape = InvalidShape("`events` occurs twice");
      if (is_events && JsonReader::Token(field.value())[0] != '[')
        shape = InvalidShape("`events` must be an array");
      if (is_events && shape.ok()) {
        TALLY_RETURN_IF_ERROR(ReadEvents(field.value(), events_max, batch));
      } else if (!json_.Walk(field.value(), 1)) {
        return json_.FaultStatus();
      }
    }
    if (!json_.End()) return json_.FaultStatus();
    if (events_keys == 0) shape = InvalidShape("the body has no `events`");
    return shape;
  }

  Status ReadEvents(ondemand::value& value, size_t events_max, Batch& batch) {
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) {
      json_.Fault(error);
      return json_.FaultStatus();
    }
    size_t events = 0;
    for (auto result : array) {
      ondemand::value element;
      if (const auto error = std::move(result).get(element)) {
        json_.Fault(error);
        return json_.FaultStatus();
      }
      if (++events > events_max) {
        return Status::InvalidArgument("batch_too_large",
                                       fmt::format("more than {} events in one batch", events_max));
      }
      if (!ReadEventValue(element, batch)) return json_.FaultStatus();
    }
    return Status::Ok();
  }

  // The event is added before it is known that nothing follows it, so what follows is looked for
  // first: the last byte of the line must close the object that the first one opens.
  bool ReadLine(std::string_view text, Batch& batch) {
    if (!json_.Begin(text)) return false;
    if (!json_.IsObject()) {
      if (!json_.WalkOther()) return false;
      batch.AddRejected({}, Rejection{"invalid_type", "", "an event must be a JSON object"});
      return true;
    }
    ondemand::object object;
    if (const auto error = json_.document().get_object().get(object)) return json_.Fault(error);
    if (!json_.WalkObject(object, kEventDepth) || !json_.End()) return false;
    json_.document().rewind();
    if (const auto error = json_.document().get_object().get(object)) return json_.Fault(error);
    return ReadEvent(object, batch);
  }

  static constexpr size_t kEventDepth = 2;  // {"events":[{

  const UnknownFields unknown_fields_;
  JsonReader json_;
  std::string line_;  // the line being read, padded
  Draft draft_;       // of the event being read
  std::vector<Dimension> dimensions_;
};

EventParser::EventParser(UnknownFields unknown_fields)
    : impl_(std::make_unique<Impl>(unknown_fields)) {}
EventParser::EventParser(EventParser&&) noexcept = default;
EventParser& EventParser::operator=(EventParser&&) noexcept = default;
EventParser::~EventParser() = default;

Status EventParser::ParseBody(std::string_view text, size_t events_max, Batch& batch) {
  return impl_->ParseBody(text, events_max, batch);
}

std::optional<Rejection> EventParser::ParseEventLine(std::string_view line, Batch& batch) {
  return impl_->ParseEventLine(line, batch);
}

}  // namespace tallystick
