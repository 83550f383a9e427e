#include "model/event_check.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

namespace tallystick {
namespace {

constexpr size_t kShownBytesMax = 64;

// --- Text ---

constexpr uint64_t kEach = 0x0101010101010101ull;  // times b: b in each byte
constexpr uint64_t kHighBits = kEach * 0x80;

// True if each of the eight bytes is 0x20..0x7e.
bool IsPlainWord(uint64_t word) {
  const uint64_t below_space = (word - kEach * 0x20) & ~word & kHighBits;
  const uint64_t deletes = word ^ kEach * 0x7f;
  const uint64_t is_delete = (deletes - kEach) & ~deletes & kHighBits;
  return ((word & kHighBits) | below_space | is_delete) == 0;
}

template <typename T>
T LoadText(const char* in) {
  T value;
  std::memcpy(&value, in, sizeof value);
  return value;
}

// True if all of it is 0x20..0x7e: what nearly every text is, and what needs no closer look. The
// last word overlaps the one before it.
bool IsPlainText(std::string_view text) {
  const char* data = text.data();
  const size_t size = text.size();
  if (size >= 8) {
    for (size_t at = 0; at + 8 < size; at += 8) {
      if (!IsPlainWord(LoadText<uint64_t>(data + at))) return false;
    }
    return IsPlainWord(LoadText<uint64_t>(data + size - 8));
  }
  if (size >= 4) {
    return IsPlainWord(uint64_t{LoadText<uint32_t>(data)} << 32 |
                       LoadText<uint32_t>(data + size - 4));
  }
  for (const char c : text) {
    if (c < 0x20 || c == 0x7f) return false;
  }
  return true;
}

// Bytes of the UTF-8 character at the front of `text` (not empty) as RFC 3629 has it: no
// surrogates, no overlong forms, nothing above U+10FFFF. 0 if there is none.
size_t CharacterBytes(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const size_t bytes = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (text.size() < bytes) return 0;
  const auto second = static_cast<uint8_t>(text[1]);
  uint8_t low = 0x80;
  uint8_t high = 0xbf;
  if (first == 0xe0) low = 0xa0;
  if (first == 0xed) high = 0x9f;
  if (first == 0xf0) low = 0x90;
  if (first == 0xf4) high = 0x8f;
  if (second < low || second > high) return 0;
  for (size_t i = 2; i < bytes; ++i) {
    if ((static_cast<uint8_t>(text[i]) & 0xc0) != 0x80) return 0;
  }
  return bytes;
}

// C0, DEL and C1 (U+0080..U+009F). `text` begins with a character.
bool IsControl(std::string_view text) {
  const auto first = static_cast<uint8_t>(text[0]);
  return first < 0x20 || first == 0x7f || (first == 0xc2 && static_cast<uint8_t>(text[1]) < 0xa0);
}

enum class Controls : bool { kRefused, kAllowed };

// The code of what is wrong with it; empty if nothing.
std::string_view TextFault(std::string_view text, Controls controls) {
  if (IsPlainText(text)) return {};
  while (!text.empty()) {
    const size_t bytes = CharacterBytes(text);
    if (bytes == 0) return "invalid_utf8";
    if (controls == Controls::kRefused && IsControl(text)) return "control_character";
    text.remove_prefix(bytes);
  }
  return {};
}

// Fit to be shown in a message: cut at the start of a character, and '?' for what is not printable.
std::string Shown(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t bytes = CharacterBytes(text);
    const size_t step = bytes == 0 ? 1 : bytes;
    if (out.size() + step > kShownBytesMax) return out + "...";
    if (bytes == 0 || IsControl(text)) {
      out += '?';
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(step);
  }
  return out;
}

// --- Rejections ---

Rejection TooLong(std::string_view field, std::string_view value, size_t bytes_max) {
  return {"too_long", std::string(field),
          fmt::format("{} has {} bytes, more than {}: \"{}\"", field, value.size(), bytes_max,
                      Shown(value))};
}

Rejection BadText(std::string_view code, std::string_view field, std::string_view value) {
  return {std::string(code), std::string(field),
          fmt::format("{} {}: \"{}\"", field,
                      code == "invalid_utf8" ? "is not valid UTF-8" : "has a control character",
                      Shown(value))};
}

std::optional<Rejection> CheckText(std::string_view field, std::string_view value, size_t bytes_max,
                                   Controls controls) {
  if (value.size() > bytes_max) return TooLong(field, value, bytes_max);
  const std::string_view fault = TextFault(value, controls);
  if (fault.empty()) return std::nullopt;
  return BadText(fault, field, value);
}

// --- The parts of an event ---

struct NamedText {
  std::string_view field;
  std::string_view value;
};
constexpr size_t kRequiredIds = 4;
constexpr size_t kNamesMax = 9;

// Everything that is held to the rules of an id; the required ones come first.
class Names {
 public:
  explicit Names(const EventView& event)
      : names_{{{"event_id", event.event_id},
                {"account_id", event.account_id},
                {"product_id", event.product_id},
                {"meter_id", event.meter_id},
                {"unit", event.unit},
                {"source", event.source}}} {
    if (event.subscription_id) names_[count_++] = {"subscription_id", *event.subscription_id};
    if (event.model_id) names_[count_++] = {"model_id", *event.model_id};
    if (event.correction_ref) {
      names_[count_++] = {"correction_ref.original_event_id",
                          event.correction_ref->original_event_id};
    }
  }
  std::span<const NamedText> All() const { return {names_.data(), count_}; }
  std::span<const NamedText> Required() const { return {names_.data(), kRequiredIds}; }

 private:
  std::array<NamedText, kNamesMax> names_;
  size_t count_ = 6;
};

// True if no rule of CheckNames can be broken: what nearly every event is, told without its table.
bool HasPlainNames(const EventView& event) {
  const auto plain = [](std::string_view text) {
    return text.size() <= kIdBytesHardMax && IsPlainText(text);
  };
  const auto plain_id = [&](std::string_view text) { return !text.empty() && plain(text); };
  return plain_id(event.event_id) && plain_id(event.account_id) && plain_id(event.product_id) &&
         plain_id(event.meter_id) && plain(event.unit) && plain(event.source) &&
         plain(event.subscription_id.value_or("")) && plain(event.model_id.value_or("")) &&
         (!event.correction_ref || plain(event.correction_ref->original_event_id));
}

std::optional<Rejection> CheckNames(const EventView& event, Controls controls) {
  if (HasPlainNames(event)) return std::nullopt;
  const Names names(event);
  for (const NamedText& name : names.Required()) {
    if (name.value.empty()) {
      return Rejection{"missing_field", std::string(name.field),
                       fmt::format("{} is missing or empty", name.field)};
    }
  }
  for (const NamedText& name : names.All()) {
    if (auto bad = CheckText(name.field, name.value, kIdBytesHardMax, controls)) return bad;
  }
  return std::nullopt;
}

std::optional<Rejection> CheckDimensions(std::span<const Dimension> dimensions,
                                         size_t key_bytes_max, size_t value_bytes_max) {
  if (dimensions.size() > kDimensionsMax) {
    return Rejection{
        "too_many_dimensions", "dimensions",
        fmt::format("dimensions has {} keys, more than {}", dimensions.size(), kDimensionsMax)};
  }
  for (size_t i = 0; i < dimensions.size(); ++i) {
    const auto& [key, value] = dimensions[i];
    if (auto bad = CheckText("dimensions", key, key_bytes_max, Controls::kAllowed)) {
      return bad;
    }
    if (value.size() > value_bytes_max || !TextFault(value, Controls::kAllowed).empty()) {
      return CheckText("dimensions." + Shown(key), value, value_bytes_max, Controls::kAllowed);
    }
    for (size_t j = 0; j < i; ++j) {
      if (dimensions[j].key == key) {
        return Rejection{"duplicate_dimension", "dimensions",
                         fmt::format("dimensions has the key \"{}\" twice", Shown(key))};
      }
    }
  }
  return std::nullopt;
}

std::optional<Rejection> CheckCorrection(const EventView& event, size_t reason_bytes_max) {
  if (event.kind > EventKind::kRetraction) {
    return Rejection{"invalid_kind", "kind",
                     fmt::format("kind {} is not known", static_cast<int>(event.kind))};
  }
  if (event.correction_ref) {
    return CheckText("correction_ref.reason", event.correction_ref->reason, reason_bytes_max,
                     Controls::kAllowed);
  }
  if (event.kind == EventKind::kUsage) return std::nullopt;
  return Rejection{"correction_ref_required", "correction_ref",
                   fmt::format("a {} needs a correction_ref", EventKindName(event.kind))};
}

std::optional<Rejection> CheckNumbers(const EventView& event) {
  if (event.timestamp_ms <= 0) {
    return Rejection{"invalid_timestamp", "timestamp_ms",
                     fmt::format("timestamp_ms {} is not above zero", event.timestamp_ms)};
  }
  if (event.quantity.scale <= Quantity::kScaleMax) return std::nullopt;
  return Rejection{"invalid_quantity", "quantity",
                   fmt::format("quantity has scale {}, more than {}", event.quantity.scale,
                               Quantity::kScaleMax)};
}

}  // namespace

std::optional<Rejection> CheckEventShape(const EventView& event) {
  if (auto bad = CheckNames(event, Controls::kRefused)) return bad;
  if (auto bad = CheckNumbers(event)) return bad;
  if (auto bad =
          CheckDimensions(event.dimensions, kDimensionKeyBytesMax, kDimensionValueBytesMax)) {
    return bad;
  }
  return CheckCorrection(event, kReasonBytesMax);
}

std::optional<Rejection> CheckEventFormat(const EventView& event) {
  if (auto bad = CheckNames(event, Controls::kAllowed)) return bad;
  if (auto bad = CheckNumbers(event)) return bad;
  if (auto bad = CheckDimensions(event.dimensions, kEventBytesHardMax, kEventBytesHardMax)) {
    return bad;
  }
  if (auto bad = CheckCorrection(event, kEventBytesHardMax)) return bad;
  size_t bytes = event.correction_ref ? event.correction_ref->reason.size() : 0;
  for (const auto& [key, value] : event.dimensions) bytes += key.size() + value.size();
  if (bytes <= kEventBytesHardMax) return std::nullopt;
  return Rejection{
      "too_long", "dimensions",
      fmt::format("dimensions and reason have {} bytes, more than {}", bytes, kEventBytesHardMax)};
}

std::optional<Rejection> CheckEventOptions(const EventView& event, const EventLimits& limits) {
  for (const NamedText& name : Names(event).All()) {
    if (name.value.size() > limits.id_bytes_max) {
      return TooLong(name.field, name.value, limits.id_bytes_max);
    }
  }
  return std::nullopt;
}

std::optional<Rejection> CheckEventClock(int64_t timestamp_ms, int64_t now_ms,
                                         const EventLimits& limits) {
  // Written so that no sum can overflow: both are above zero here, and a difference of such fits.
  if (timestamp_ms <= now_ms || timestamp_ms - now_ms <= limits.timestamp_ahead_ms_max) {
    return std::nullopt;
  }
  return Rejection{"timestamp_in_future", "timestamp_ms",
                   fmt::format("timestamp_ms {} is more than {} ms ahead of {}", timestamp_ms,
                               limits.timestamp_ahead_ms_max, now_ms)};
}

}  // namespace tallystick
