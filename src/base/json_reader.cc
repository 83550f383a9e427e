#include "base/json_reader.h"

#include <fmt/format.h>

#include "base/utf8.h"

namespace tallystick {
namespace {

static_assert(kJsonPaddingBytes >= simdjson::SIMDJSON_PADDING);

constexpr size_t kRetainedCapacity = 4 << 20;  // a larger reader is given back after use

}  // namespace

bool JsonReader::Begin(std::string_view text) {
  text_ = text;
  begun_ = false;
  what_ = nullptr;
  if (TrimBlanks(text_).empty()) return Fault(text_.data(), "no JSON, only blanks");
  const size_t allocated = text_.size() + kJsonPaddingBytes;
  const auto error = parser_.iterate(text_.data(), text_.size(), allocated).get(document_);
  if (error != simdjson::SUCCESS) return Fault(error);
  begun_ = true;
  return true;
}

bool JsonReader::End() {
  const char* location = nullptr;
  if (document_.current_location().get(location) == simdjson::OUT_OF_BOUNDS) return true;
  return Fault(location, "text behind the JSON value");
}

bool JsonReader::WalkOther() {
  const std::string_view whole = TrimBlanks(text_);
  if (whole[0] == '[') {
    Array array;
    if (const auto error = document_.get_array().get(array)) return Fault(error);
    return WalkArray(array, 0) && End();
  }
  if (whole[0] == '"') {
    std::string_view ignored;
    if (const auto error = document_.get_string().get(ignored)) return Fault(error);
    return (IsUtf8(ignored) || Fault(whole.data(), "a lone surrogate")) && End();
  }
  return IsJsonScalar(whole) || Fault(whole.data(), "not a JSON value");
}

void JsonReader::Shrink() {
  begun_ = false;
  if (parser_.capacity() > kRetainedCapacity) parser_ = simdjson::ondemand::parser();
}

std::string JsonReader::FaultMessage() const {
  return fmt::format("{} at byte {}", what_, offset_);
}

Status JsonReader::FaultStatus() const {
  return Status::InvalidArgument("invalid_json", FaultMessage());
}

bool JsonReader::Fault(const char* at, const char* what) {
  if (what_ != nullptr) return false;
  const bool inside = at >= text_.data() && at <= text_.data() + text_.size();
  what_ = what;
  offset_ = inside ? static_cast<size_t>(at - text_.data()) : text_.size();
  return false;
}

bool JsonReader::Fault(simdjson::error_code error) {
  const char* at = text_.data() + text_.size();
  if (error == simdjson::UTF8_ERROR) {
    at = text_.data() + FirstInvalidUtf8(text_);
  } else if (begun_) {
    const char* location = nullptr;  // of the token at which simdjson stopped
    if (document_.current_location().get(location) == simdjson::SUCCESS) at = location;
  }
  return Fault(at, simdjson::error_message(error));
}

bool JsonReader::ReadEscapedString(Value& value, std::string_view* out) {
  const char* const at = value.raw_json_token().data();
  if (const auto error = value.get_string().get(*out)) {
    return Fault(at, simdjson::error_message(error));
  }
  // A lone surrogate comes out as bytes that are no UTF-8.
  return IsUtf8(*out) || Fault(at, "a lone surrogate");
}

bool JsonReader::ReadKey(Field& field, std::string_view* out) {
  const char* const at = field.key().raw();
  if (const auto error = field.unescaped_key().get(*out)) {
    return Fault(at, simdjson::error_message(error));
  }
  return IsUtf8(*out) || Fault(at, "a lone surrogate");
}

bool JsonReader::Walk(Value& value, size_t depth) {
  const std::string_view token = Token(value);
  if (depth > kJsonDepthMax) return Fault(token.data(), "nested too deeply");
  std::string_view ignored;
  switch (token.empty() ? '\0' : token[0]) {
    case '"':
      return ReadString(value, &ignored);
    case '{': {
      Object object;
      if (const auto error = value.get_object().get(object)) return Fault(error);
      return WalkObject(object, depth);
    }
    case '[': {
      Array array;
      if (const auto error = value.get_array().get(array)) return Fault(error);
      return WalkArray(array, depth);
    }
    default:
      return IsJsonScalar(token) || Fault(token.data(), "not a JSON value");
  }
}

bool JsonReader::WalkObject(Object& object, size_t depth) {
  for (auto result : object) {
    if (result.error() != simdjson::SUCCESS) return Fault(result.error());
    Field& field = InPlace(result);
    std::string_view key;
    if (!ReadKey(field, &key) || !Walk(field.value(), depth + 1)) return false;
  }
  return true;
}

bool JsonReader::WalkArray(Array& array, size_t depth) {
  for (auto result : array) {
    Value element;
    if (const auto error = std::move(result).get(element)) return Fault(error);
    if (!Walk(element, depth + 1)) return false;
  }
  return true;
}

}  // namespace tallystick
