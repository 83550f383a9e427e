// JsonReader: simdjson's On-Demand reader with the checks that it leaves out. For the units that
// read JSON only; this header brings all of simdjson with it.
//
// On-Demand is lenient: tokens are handed out unchecked, skipped values are only counted bracket by
// bracket, text behind the document is not looked at. So every value must be consumed by
// ReadString, by a check of its Token, or by Walk. A function that gives false has met text that is
// no JSON; the first such fault is kept, and the document must not be touched any more.
//
// Strings without a backslash are handed out where they stand; others are copied into the reader
// and live until the next Begin.
//
// Thread rule: one thread at a time.
#pragma once

#include <string>
#include <string_view>

// Extra checks of simdjson itself: off, so that debug and release builds read alike.
#define SIMDJSON_DEVELOPMENT_CHECKS 0
#include <simdjson.h>

#include "base/json_token.h"
#include "base/text.h"
#include "tallystick/status.h"

namespace tallystick {

class JsonReader {
 public:
  using Object = simdjson::ondemand::object;
  using Array = simdjson::ondemand::array;
  using Field = simdjson::ondemand::field;
  using Value = simdjson::ondemand::value;

  // Begins a document. `text` is followed by kJsonPaddingBytes readable bytes and outlives its
  // reading.
  bool Begin(std::string_view text);
  simdjson::ondemand::document& document() { return document_; }
  bool IsObject() const { return TrimBlanks(text_).starts_with('{'); }
  // After the document's value: nothing but blanks may follow.
  bool End();
  // Instead of reading a document that is no object.
  bool WalkOther();
  // Gives back the memory that a large document needed.
  void Shrink();

  bool ok() const { return what_ == nullptr; }
  std::string FaultMessage() const;  // REQUIRES: !ok()
  Status FaultStatus() const;        // kInvalidArgument `invalid_json`

  bool Fault(const char* at, const char* what);
  bool Fault(simdjson::error_code error);  // simdjson's own verdict

  static std::string_view Token(Value& value) { return TrimBlanks(value.raw_json_token()); }
  static bool IsString(Value& value) { return value.raw_json_token()[0] == '"'; }

  // The field within the result. To take it out copies it, and that costs more than reading its
  // key.
  static Field& InPlace(simdjson::simdjson_result<Field>& result) {
    return const_cast<Field&>(result.value_unsafe());
  }

  // REQUIRES: IsString(value).
  bool ReadString(Value& value, std::string_view* out) {
    const char* const from = value.raw_json_token().data() + 1;
    const char* const end = FindQuoteOrBackslash(from);
    if (*end != '"') return ReadEscapedString(value, out);
    *out = {from, static_cast<size_t>(end - from)};
    return true;
  }

  bool ReadKey(Field& field, std::string_view* out);

  // Checks a value that nobody wants. `depth`: how deep it stands; beyond kJsonDepthMax is a fault.
  bool Walk(Value& value, size_t depth);
  bool WalkObject(Object& object, size_t depth);

 private:
  bool ReadEscapedString(Value& value, std::string_view* out);
  bool WalkArray(Array& array, size_t depth);

  simdjson::ondemand::parser parser_;
  simdjson::ondemand::document document_;
  bool begun_ = false;  // document_ is of text_
  std::string_view text_;
  const char* what_ = nullptr;  // the first fault
  size_t offset_ = 0;           // and where
};

}  // namespace tallystick
