#include "model/event_check.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace tallystick {
namespace {

Rejection Reject(std::string_view code, std::string_view field, std::string message) {
  return {std::string(code), std::string(field), std::move(message)};
}

// For messages: cut, and without what a terminal or a log would choke on.
std::string Quoted(std::string_view value) {
  std::string out = "'";
  for (char c : value.substr(0, 64)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xc0) == 0x80) out.pop_back();
  if (static_cast<unsigned char>(out.back()) >= 0xc0) out.pop_back();
  out += value.size() > 64 ? "...'" : "'";
  return out;
}

enum class TextFault : uint8_t { kNone, kControl, kInvalid };

// Eight bytes at a time as long as they are printable ASCII.
bool StartsPlain(const char* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  constexpr uint64_t kOnes = 0x0101010101010101, kHigh = 0x8080808080808080;
  const uint64_t below_space = (word - kOnes * 0x20) & ~word;
  const uint64_t is_delete = (word ^ (kOnes * 0x7f));
  const uint64_t has_delete = (is_delete - kOnes) & ~is_delete;
  return ((word | below_space | has_delete) & kHigh) == 0;
}

// One sequence of UTF-8 at `at`, by table 3-7 of the Unicode standard; 0 if there is none.
size_t SequenceBytes(const unsigned char* at, size_t left) {
  auto continues = [&](size_t i, unsigned char low = 0x80, unsigned char high = 0xbf) {
    return i < left && at[i] >= low && at[i] <= high;
  };
  const unsigned char first = at[0];
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return continues(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const unsigned char low = first == 0xe0 ? 0xa0 : 0x80;
    const unsigned char high = first == 0xed ? 0x9f : 0xbf;  // no surrogates
    return continues(1, low, high) && continues(2) ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const unsigned char low = first == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = first == 0xf4 ? 0x8f : 0xbf;
    return continues(1, low, high) && continues(2) && continues(3) ? 4 : 0;
  }
  return 0;
}

TextFault CheckText(std::string_view text) {
  TextFault fault = TextFault::kNone;
  size_t i = 0;
  while (i < text.size()) {
    if (text.size() - i >= 8 && StartsPlain(text.data() + i)) {
      i += 8;
      continue;
    }
    const auto* at = reinterpret_cast<const unsigned char*>(text.data()) + i;
    const size_t bytes = SequenceBytes(at, text.size() - i);
    if (bytes == 0) return TextFault::kInvalid;
    const bool c1 = bytes == 2 && at[0] == 0xc2 && at[1] < 0xa0;
    if (c1 || at[0] < 0x20 || at[0] == 0x7f) fault = TextFault::kControl;
    i += bytes;
  }
  return fault;
}

std::optional<Rejection> CheckBytes(std::string_view field, std::string_view value, size_t bytes_max,
                                    bool control_allowed) {
  if (value.size() > bytes_max) {
    return Reject("too_long", field,
                  std::string(field) + " has " + std::to_string(value.size()) +
                      " bytes, at most " + std::to_string(bytes_max) + " are taken: " + Quoted(value));
  }
  switch (CheckText(value)) {
    case TextFault::kNone:
      return std::nullopt;
    case TextFault::kInvalid:
      return Reject("invalid_utf8", field, std::string(field) + " is not valid UTF-8");
    case TextFault::kControl:
      if (control_allowed) return std::nullopt;
      return Reject("control_character", field,
                    std::string(field) + " has a control character: " + Quoted(value));
  }
  return std::nullopt;
}

std::optional<Rejection> CheckDimensions(std::span<const Dimension> dimensions) {
  if (dimensions.size() > kDimensionsMax) {
    return Reject("too_many_dimensions", "dimensions",
                  "dimensions has " + std::to_string(dimensions.size()) + " keys, at most " +
                      std::to_string(kDimensionsMax) + " are taken");
  }
  for (size_t i = 0; i < dimensions.size(); ++i) {
    const Dimension& d = dimensions[i];
    if (auto bad = CheckBytes("dimensions", d.key, kDimensionKeyBytesMax, true)) return bad;
    if (auto bad = CheckBytes("dimensions", d.value, kDimensionValueBytesMax, true)) return bad;
    for (size_t k = 0; k < i; ++k) {
      if (dimensions[k].key == d.key) {
        return Reject("duplicate_dimension", "dimensions",
                      "dimensions has the key " + Quoted(d.key) + " twice");
      }
    }
  }
  return std::nullopt;
}

std::optional<Rejection> CheckCorrection(const EventView& event) {
  if (!event.correction_ref) {
    if (event.kind == EventKind::kUsage) return std::nullopt;
    return Reject("correction_ref_required", "correction_ref",
                  "correction_ref is required for kind " + std::string(EventKindName(event.kind)));
  }
  const CorrectionRefView& ref = *event.correction_ref;
  if (auto bad = CheckBytes("correction_ref.original_event_id", ref.original_event_id,
                            kIdBytesHardMax, false)) {
    return bad;
  }
  return CheckBytes("correction_ref.reason", ref.reason, kReasonBytesMax, true);
}

struct NamedText {
  std::string_view field;
  std::optional<std::string_view> value;
  bool required;
};

std::array<NamedText, 8> Ids(const EventView& event) {
  return {{{"event_id", event.event_id, true},
           {"account_id", event.account_id, true},
           {"product_id", event.product_id, true},
           {"meter_id", event.meter_id, true},
           {"subscription_id", event.subscription_id, false},
           {"model_id", event.model_id, false},
           {"unit", event.unit, false},
           {"source", event.source, false}}};
}

}  // namespace

std::optional<Rejection> CheckEventShape(const EventView& event) {
  for (const NamedText& id : Ids(event)) {
    if (!id.value) continue;
    if (id.required && id.value->empty()) {
      return Reject("missing_field", id.field, std::string(id.field) + " is missing or empty");
    }
    if (auto bad = CheckBytes(id.field, *id.value, kIdBytesHardMax, false)) return bad;
  }
  if (event.timestamp_ms <= 0) {
    return Reject("invalid_timestamp", "timestamp_ms",
                  "timestamp_ms is " + std::to_string(event.timestamp_ms) + ", must be > 0");
  }
  if (event.quantity.scale > Quantity::kScaleMax ||
      event.quantity != Quantity::Normalized(event.quantity.mantissa, event.quantity.scale)) {
    return Reject("invalid_quantity", "quantity", "quantity is not in its normal form");
  }
  if (auto bad = CheckDimensions(event.dimensions)) return bad;
  return CheckCorrection(event);
}

std::optional<Rejection> CheckEventOptions(const EventView& event, const EventLimits& limits) {
  for (const NamedText& id : Ids(event)) {
    if (!id.value || id.value->size() <= limits.id_bytes_max) continue;
    return Reject("too_long", id.field,
                  std::string(id.field) + " has " + std::to_string(id.value->size()) +
                      " bytes, at most " + std::to_string(limits.id_bytes_max) +
                      " are taken: " + Quoted(*id.value));
  }
  if (event.correction_ref &&
      event.correction_ref->original_event_id.size() > limits.id_bytes_max) {
    return Reject("too_long", "correction_ref.original_event_id",
                  "correction_ref.original_event_id has more than " +
                      std::to_string(limits.id_bytes_max) + " bytes");
  }
  return std::nullopt;
}

std::optional<Rejection> CheckEventClock(int64_t timestamp_ms, int64_t now_ms,
                                         const EventLimits& limits) {
  // Compared as a difference: now + limit may not fit.
  if (timestamp_ms <= now_ms || timestamp_ms - now_ms <= limits.timestamp_ahead_ms_max) {
    return std::nullopt;
  }
  return Reject("timestamp_in_future", "timestamp_ms",
                "timestamp_ms is " + std::to_string(timestamp_ms) + ", more than " +
                    std::to_string(limits.timestamp_ahead_ms_max) + " ms later than now (" +
                    std::to_string(now_ms) + ")");
}

}  // namespace tallystick
