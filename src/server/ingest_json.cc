// Reads events with simdjson On-Demand.
//
// Invariants:
//  1. A value is either consumed with a check of its whole token, or walked by Walk(); none is
//  skipped,
//     since skipping checks nothing.
//  2. After the first JSON fault (Fault) nothing of the document is touched any more.
//  3. A fault of an event (Reject) never stops the reading: the rest must still be JSON, and
//  event_id may
//     come later.
//  4. A string without a backslash is used where it stands in the body; only others are copied.
#include "server/ingest_json.h"

#include <cstring>
#include <string>
#include <vector>

#include <fmt/format.h>

// Extra checks of simdjson itself: off, so that debug and release builds read alike.
#define SIMDJSON_DEVELOPMENT_CHECKS 0
#include <simdjson.h>

#include "base/result.h"
#include "server/json_token.h"
#include "server/text.h"
#include "server/utf8.h"

namespace tallystick {
namespace {

namespace ondemand = simdjson::ondemand;

static_assert(kJsonPaddingBytes >= simdjson::SIMDJSON_PADDING);

constexpr size_t kRetainedCapacity = 4 << 20;  // a larger reader is given back after use
constexpr size_t kDimensionsKept = 17;         // one more than any event may have

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
    text_ = text;
    fault_ = {};
    const Status status = ReadBody(events_max, batch);
    if (parser_.capacity() > kRetainedCapacity) parser_ = ondemand::parser();
    return status;
  }

  std::optional<Rejection> ParseEventLine(std::string_view line, Batch& batch) {
    line_.assign(line);
    line_.append(kJsonPaddingBytes, ' ');
    text_ = std::string_view(line_).substr(0, line.size());
    fault_ = {};
    ReadLine(batch);
    if (line_.capacity() > kRetainedCapacity) line_ = std::string();
    if (!fault_.what) return std::nullopt;
    return Rejection{"invalid_json", "", FaultMessage()};
  }

 private:
  struct Fault_ {
    const char* what = nullptr;
    size_t offset = 0;
  };

  // --- faults of the JSON itself; all give false ---

  bool Fault(const char* at, const char* what) {
    if (fault_.what == nullptr) {
      const bool inside = at >= text_.data() && at <= text_.data() + text_.size();
      fault_ = {what, inside ? static_cast<size_t>(at - text_.data()) : text_.size()};
    }
    return false;
  }

  // simdjson's own verdict; its position is the token at which it stopped.
  bool Fault(simdjson::error_code error) {
    const char* at = text_.data() + text_.size();
    if (error == simdjson::UTF8_ERROR) {
      at = text_.data() + FirstInvalidUtf8(text_);
    } else if (document_ != nullptr) {
      const char* location = nullptr;
      if (document_->current_location().get(location) == simdjson::SUCCESS) at = location;
    }
    return Fault(at, simdjson::error_message(error));
  }

  std::string FaultMessage() const {
    return fmt::format("{} at byte {}", fault_.what, fault_.offset);
  }
  Status FaultStatus() const { return Status::InvalidArgument("invalid_json", FaultMessage()); }

  // The field within the result. To take it out copies it, and that costs more than reading its
  // key.
  static ondemand::field& InPlace(simdjson::simdjson_result<ondemand::field>& result) {
    return const_cast<ondemand::field&>(result.value_unsafe());
  }

  // --- single values ---

  static std::string_view Token(ondemand::value& value) {
    return TrimBlanks(value.raw_json_token());
  }

  // REQUIRES: the value begins with a quote. The text lives until the next document is begun.
  bool ReadString(ondemand::value& value, std::string_view* out) {
    const char* const from = value.raw_json_token().data() + 1;
    const char* const end = FindQuoteOrBackslash(from);
    if (*end == '"') {
      *out = {from, static_cast<size_t>(end - from)};
      return true;
    }
    if (const auto error = value.get_string().get(*out))
      return Fault(from, simdjson::error_message(error));
    // A lone surrogate comes out as bytes that are no UTF-8.
    if (!IsUtf8(*out)) return Fault(from, "a lone surrogate");
    return true;
  }

  bool ReadKey(ondemand::field& field, std::string_view* out) {
    const char* const at = field.key().raw();
    if (const auto error = field.unescaped_key().get(*out))
      return Fault(at, simdjson::error_message(error));
    if (!IsUtf8(*out)) return Fault(at, "a lone surrogate");
    return true;
  }

  // Checks a value that nobody wants.
  bool Walk(ondemand::value& value, size_t depth) {
    const std::string_view token = Token(value);
    if (depth > kJsonDepthMax) return Fault(token.data(), "nested too deeply");
    std::string_view ignored;
    switch (token.empty() ? '\0' : token[0]) {
      case '"':
        return ReadString(value, &ignored);
      case '{': {
        ondemand::object object;
        if (const auto error = value.get_object().get(object)) return Fault(error);
        return WalkObject(object, depth);
      }
      case '[': {
        ondemand::array array;
        if (const auto error = value.get_array().get(array)) return Fault(error);
        return WalkArray(array, depth);
      }
      default:
        return IsJsonScalar(token) || Fault(token.data(), "not a JSON value");
    }
  }

  bool WalkObject(ondemand::object& object, size_t depth) {
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return Fault(result.error());
      ondemand::field& field = InPlace(result);
      std::string_view key;
      if (!ReadKey(field, &key) || !Walk(field.value(), depth + 1)) return false;
    }
    return true;
  }

  bool WalkArray(ondemand::array& array, size_t depth) {
    for (auto result : array) {
      ondemand::value element;
      if (const auto error = std::move(result).get(element)) return Fault(error);
      if (!Walk(element, depth + 1)) return false;
    }
    return true;
  }

  // --- the fields of an event ---

  bool ReadText(ondemand::value& value, FieldId id, Draft& draft, std::string_view* out) {
    if (value.raw_json_token()[0] == '"') return ReadString(value, out);
    draft.RejectType(kFieldNames[id], "a string");
    return Walk(value, kEventDepth + 1);
  }

  bool ReadNullableText(ondemand::value& value, FieldId id, Draft& draft,
                        std::optional<std::string_view>* out) {
    if (Token(value) == "null") return true;
    if (value.raw_json_token()[0] == '"') return ReadString(value, &out->emplace());
    draft.RejectType(kFieldNames[id], "a string or null");
    return Walk(value, kEventDepth + 1);
  }

  bool ReadKind(ondemand::value& value, Draft& draft) {
    std::string_view name;
    const bool is_text = value.raw_json_token()[0] == '"';
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
    const std::string_view token = Token(value);
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
    return Walk(value, kEventDepth + 1);
  }

  bool ReadQuantity(ondemand::value& value, Draft& draft) {
    std::string_view digits = Token(value);
    if (value.raw_json_token()[0] == '"') {
      if (!ReadString(value, &digits)) return false;
    } else if (!IsJsonNumber(digits)) {
      draft.RejectType("quantity", "a number, or a string that holds one");
      return Walk(value, kEventDepth + 1);
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
    if (IsJsonNumber(Token(value))) return true;
    draft.RejectType("ingested_at_ms", "a number");
    return Walk(value, kEventDepth + 1);
  }

  bool ReadCorrectionRef(ondemand::value& value, Draft& draft) {
    const std::string_view token = Token(value);
    if (token == "null") return true;
    if (token[0] != '{') {
      draft.RejectType("correction_ref", "an object or null");
      return Walk(value, kEventDepth + 1);
    }
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return Fault(error);
    std::optional<std::string_view> original;
    std::optional<std::string_view> reason;
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return Fault(result.error());
      ondemand::field& field = InPlace(result);
      std::string_view key;
      if (!ReadKey(field, &key)) return false;
      const bool known = key == "original_event_id" || key == "reason";
      if (!known && unknown_fields_ == UnknownFields::kReject)
        draft.RejectUnknown("correction_ref.", key);
      if (!known) {
        if (!Walk(field.value(), kEventDepth + 2)) return false;
        continue;
      }
      auto& slot = key == "reason" ? reason : original;
      const std::string name = fmt::format("correction_ref.{}", key);
      if (slot) draft.Reject("duplicate_field", name, fmt::format("field `{}` occurs twice", name));
      if (field.value().raw_json_token()[0] == '"') {
        if (!ReadString(field.value(), &slot.emplace())) return false;
      } else {
        draft.RejectType(name, "a string");
        if (!Walk(field.value(), kEventDepth + 2)) return false;
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
    if (Token(value)[0] != '{') {
      draft.RejectType("dimensions", "an object");
      return Walk(value, kEventDepth + 1);
    }
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return Fault(error);
    bool inner_seen = false;
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return Fault(result.error());
      ondemand::field& field = InPlace(result);
      std::string_view key;
      if (!ReadKey(field, &key)) return false;
      if (key == "inner" && Token(field.value())[0] == '{') {
        if (inner_seen) RejectDuplicateDimension("inner", draft);
        if (!inner_seen) BeginInner(draft);
        inner_seen = true;
        if (!ReadInner(field.value(), draft)) return false;
      } else if (inner_seen) {
        if (unknown_fields_ == UnknownFields::kReject) draft.RejectUnknown("dimensions.", key);
        if (!Walk(field.value(), kEventDepth + 2)) return false;
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
    if (const auto error = value.get_object().get(object)) return Fault(error);
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return Fault(result.error());
      ondemand::field& field = InPlace(result);
      std::string_view key;
      if (!ReadKey(field, &key) || !ReadDimension(key, field.value(), draft)) return false;
    }
    return true;
  }

  bool ReadDimension(std::string_view key, ondemand::value& value, Draft& draft) {
    if (value.raw_json_token()[0] != '"') {
      draft.RejectType(fmt::format("dimensions.{}", Shown(key)), "a string");
      return Walk(value, kEventDepth + 2);
    }
    std::string_view text;
    if (!ReadString(value, &text)) return false;
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
    return Walk(value, kEventDepth + 1);
  }

  // A key that is none of ours as it stands: perhaps one written with escapes, else unknown.
  bool IdentifySlowly(ondemand::field& field, Draft& draft, FieldId* id) {
    std::string_view key;
    if (!ReadKey(field, &key)) return false;
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
      if (result.error() != simdjson::SUCCESS) return Fault(result.error());
      ondemand::field& field = InPlace(result);
      FieldId id = IdentifyField(field.key().raw());
      if (id == kUnknown && !IdentifySlowly(field, draft, &id)) return false;
      const uint32_t bit = 1u << id;
      if (id != kUnknown && (draft.seen & bit) != 0) {
        draft.Reject("duplicate_field", kFieldNames[id],
                     fmt::format("field `{}` occurs twice", kFieldNames[id]));
        if (!Walk(field.value(), kEventDepth + 1)) return false;
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
      if (!Walk(value, kEventDepth)) return false;
      batch.AddRejected({}, Rejection{"invalid_type", "", "an event must be a JSON object"});
      return true;
    }
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return Fault(error);
    return ReadEvent(object, batch);
  }

  // --- documents ---

  static Status InvalidShape(std::string_view why) {
    return Status::InvalidArgument("invalid_shape", why);
  }

  bool Begin(ondemand::document& document) {
    if (TrimBlanks(text_).empty()) return Fault(text_.data(), "no JSON, only blanks");
    const size_t allocated = text_.size() + kJsonPaddingBytes;
    const auto error = parser_.iterate(text_.data(), text_.size(), allocated).get(document);
    if (error != simdjson::SUCCESS) return Fault(error);
    document_ = &document;
    return true;
  }

  // simdjson reads one value and does not mind what follows it.
  bool End(ondemand::document& document) {
    const char* location = nullptr;
    if (document.current_location().get(location) == simdjson::OUT_OF_BOUNDS) return true;
    return Fault(location, "text behind the JSON value");
  }

  // A document that is no object: is it JSON at all?
  bool WalkOther(ondemand::document& document) {
    const std::string_view whole = TrimBlanks(text_);
    if (whole[0] == '[') {
      ondemand::array array;
      if (const auto error = document.get_array().get(array)) return Fault(error);
      return WalkArray(array, 0) && End(document);
    }
    if (whole[0] == '"') {
      std::string_view ignored;
      if (const auto error = document.get_string().get(ignored)) return Fault(error);
      return (IsUtf8(ignored) || Fault(whole.data(), "a lone surrogate")) && End(document);
    }
    return IsJsonScalar(whole) || Fault(whole.data(), "not a JSON value");
  }

  Status ReadBody(size_t events_max, Batch& batch) {
    ondemand::document document;
    const DocumentInUse in_use(document_);
    if (!Begin(document)) return FaultStatus();
    if (TrimBlanks(text_)[0] != '{') {
      if (!WalkOther(document)) return FaultStatus();
      return InvalidShape("the body must be an object {\"events\": [...]}");
    }
    ondemand::object object;
    if (const auto error = document.get_object().get(object)) {
      Fault(error);
      return FaultStatus();
    }
    size_t events_keys = 0;
    Status shape = Status::Ok();
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) {
        Fault(result.error());
        return FaultStatus();
      }
      ondemand::field& field = InPlace(result);
      std::string_view key;
      if (!ReadKey(field, &key)) return FaultStatus();
      const bool is_events = key == "events";
      if (is_events && ++events_keys > 1) shape = InvalidShape("`events` occurs twice");
      if (is_events && Token(field.value())[0] != '[')
        shape = InvalidShape("`events` must be an array");
      if (is_events && shape.ok()) {
        TALLY_RETURN_IF_ERROR(ReadEvents(field.value(), events_max, batch));
      } else if (!Walk(field.value(), 1)) {
        return FaultStatus();
      }
    }
    if (!End(document)) return FaultStatus();
    if (events_keys == 0) shape = InvalidShape("the body has no `events`");
    return shape;
  }

  Status ReadEvents(ondemand::value& value, size_t events_max, Batch& batch) {
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) {
      Fault(error);
      return FaultStatus();
    }
    size_t events = 0;
    for (auto result : array) {
      ondemand::value element;
      if (const auto error = std::move(result).get(element)) {
        Fault(error);
        return FaultStatus();
      }
      if (++events > events_max) {
        return Status::InvalidArgument("batch_too_large",
                                       fmt::format("more than {} events in one batch", events_max));
      }
      if (!ReadEventValue(element, batch)) return FaultStatus();
    }
    return Status::Ok();
  }

  // The event is added before it is known that nothing follows it, so what follows is looked for
  // first: the last byte of the line must close the object that the first one opens.
  void ReadLine(Batch& batch) {
    ondemand::document document;
    const DocumentInUse in_use(document_);
    if (!Begin(document)) return;
    if (TrimBlanks(text_)[0] != '{') {
      if (WalkOther(document)) {
        batch.AddRejected({}, Rejection{"invalid_type", "", "an event must be a JSON object"});
      }
      return;
    }
    ondemand::object object;
    if (const auto error = document.get_object().get(object)) {
      Fault(error);
      return;
    }
    if (!WalkObject(object, kEventDepth) || !End(document)) return;
    document.rewind();
    if (const auto error = document.get_object().get(object)) {
      Fault(error);
      return;
    }
    ReadEvent(object, batch);
  }

  // document_ is set while a begun document lives, so that Fault() can ask it where it stands.
  class DocumentInUse {
   public:
    explicit DocumentInUse(ondemand::document*& in_use) : in_use_(in_use) {}
    ~DocumentInUse() { in_use_ = nullptr; }
    DocumentInUse(const DocumentInUse&) = delete;
    DocumentInUse& operator=(const DocumentInUse&) = delete;

   private:
    ondemand::document*& in_use_;
  };

  static constexpr size_t kEventDepth = 2;  // {"events":[{

  const UnknownFields unknown_fields_;
  ondemand::parser parser_;
  ondemand::document* document_ = nullptr;
  std::string_view text_;
  std::string line_;
  Fault_ fault_;
  Draft draft_;  // of the event being read
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
