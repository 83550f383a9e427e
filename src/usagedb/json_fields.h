// JsonFields: objects of known fields, read with JsonReader. For the units of this folder that read
// JSON only; this header brings all of simdjson with it.
//
// A function that gives false has met something that is no JSON, or not what the field must be;
// what it was is in fault(). Nothing of the document is touched after that.
//
// Thread rule: one thread at a time.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/json_reader.h"
#include "tallystick/quantity.h"

namespace tallystick::usagedb {

class JsonFields {
 public:
  using Value = JsonReader::Value;

  JsonReader& json() { return json_; }
  std::string fault() const { return !what_.empty() ? what_ : json_.FaultMessage(); }
  bool Wrong(std::string what) {
    if (what_.empty()) what_ = std::move(what);
    return false;
  }
  void Begin() { what_.clear(); }

  static bool IsNull(Value& value) { return JsonReader::Token(value) == "null"; }

  bool Text(std::string_view field, Value& value, std::string_view* out) {
    if (JsonReader::IsString(value)) return json_.ReadString(value, out);
    return Wrong(fmt::format("field {} is no string", field));
  }

  template <std::integral T>
  bool Integer(std::string_view field, Value& value, T* out) {
    const std::string_view token = JsonReader::Token(value);
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), *out);
    if (error == std::errc() && end == token.data() + token.size() && IsJsonNumber(token)) {
      return true;
    }
    return Wrong(fmt::format("field {} is no integer of {} bits", field, 8 * sizeof(T)));
  }
  bool Integer(std::string_view field, Value& value, int128* out) {
    const std::string_view token = JsonReader::Token(value);
    const bool whole = IsJsonNumber(token) && token.find_first_of(".eE") == std::string_view::npos;
    const auto quantity = whole ? Quantity::Parse(token) : Result<Quantity>(Status::Corruption(""));
    if (!quantity.ok()) return Wrong(fmt::format("field {} is no integer of 128 bits", field));
    *out = quantity->mantissa;
    return true;
  }
  template <typename T>
  bool OptionalInteger(std::string_view field, Value& value, std::optional<T>* out) {
    return IsNull(value) || Integer(field, value, &out->emplace());
  }

  // Reads an object. read(index, value) is called for each field whose name is names[index], once
  // at most; it must consume the value. The first `required` names must be there; other fields are
  // ignored. `what` names the object in a fault.
  template <typename Read>
  bool Object(std::string_view what, Value& value, std::span<const std::string_view> names,
              size_t required, Read&& read) {
    JsonReader::Object object;
    if (JsonReader::Token(value)[0] != '{') return Wrong(fmt::format("{} is no object", what));
    if (const auto error = value.get_object().get(object)) return json_.Fault(error);
    return Fields(what, object, names, required, std::forward<Read>(read));
  }
  template <typename Read>
  bool Fields(std::string_view what, JsonReader::Object& object,
              std::span<const std::string_view> names, size_t required, Read&& read) {
    uint32_t seen = 0;
    for (auto result : object) {
      if (result.error() != simdjson::SUCCESS) return json_.Fault(result.error());
      JsonReader::Field& field = JsonReader::InPlace(result);
      std::string_view key;
      if (!json_.ReadKey(field, &key)) return false;
      const auto index = static_cast<size_t>(std::ranges::find(names, key) - names.begin());
      if (index == names.size()) {
        if (!json_.Walk(field.value(), 1)) return false;
        continue;
      }
      if ((seen & 1u << index) != 0) return Wrong(fmt::format("field {} is there twice", key));
      seen |= 1u << index;
      if (!read(index, field.value())) return false;
    }
    for (size_t i = 0; i < required; ++i) {
      if ((seen & 1u << i) == 0) return Wrong(fmt::format("{} has no field {}", what, names[i]));
    }
    return true;
  }
  // The same of an array.
  template <typename Read>
  bool Array(std::string_view what, Value& value, Read&& read) {
    JsonReader::Array array;
    if (JsonReader::Token(value)[0] != '[') return Wrong(fmt::format("{} is no array", what));
    if (const auto error = value.get_array().get(array)) return json_.Fault(error);
    for (auto result : array) {
      Value element;
      if (const auto error = std::move(result).get(element)) return json_.Fault(error);
      if (!read(element)) return false;
    }
    return true;
  }

 private:
  JsonReader json_;
  std::string what_;
};

}  // namespace tallystick::usagedb
