// JSON to Batch: the body of an ingest request, or one line of a JSON-lines file.
//
// Each event stands alone. What is wrong with one becomes its rejection inside the batch; only text
// that is no JSON at all, or has no `events` array, is refused whole. Rejection codes made here:
//   invalid_type      a value of the wrong JSON type (or an event that is no object); names the
//   field missing_field     a required field is absent duplicate_field   a key occurs twice in the
//   event or in its correction_ref unknown_field     deferred (Batch::Add): applies only if the
//   event is not known already invalid_kind      `kind` is none of Usage, Correction, Retraction
//   invalid_timestamp not within 64 bits
//   invalid_quantity, quantity_too_precise, quantity_out_of_range (Quantity::Parse)
// and those that Batch::Add makes. Numbers are read from their characters, never through a double.
//
// Source of the reader: simdjson On-Demand. It is lenient (tokens are not validated, skipped values
// are only counted bracket by bracket, repeated keys are all delivered), so every value is either
// consumed with a check of its token or walked.
//
// Thread rule: one thread at a time. Keeps its buffers from call to call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/json_token.h"
#include "tallystick/event.h"
#include "tallystick/status.h"

namespace tallystick {

enum class UnknownFields : uint8_t { kReject, kIgnore };

class EventParser {
 public:
  explicit EventParser(UnknownFields unknown_fields);
  EventParser(EventParser&&) noexcept;
  EventParser& operator=(EventParser&&) noexcept;
  ~EventParser();

  // Reads {"events": [...]} and adds every event to `batch`. `text` is followed by
  // kJsonPaddingBytes bytes that belong to the caller's buffer. Other keys beside `events` are
  // ignored, as usageDb does. Errors (the batch is then to be thrown away), kInvalidArgument:
  //   invalid_json   not JSON; the message has the position
  //   invalid_shape  JSON, but no object with exactly one `events` array
  //   batch_too_large  more than events_max events
  Status ParseBody(std::string_view text, size_t events_max, Batch& batch);

  // Reads one event and adds it (as an event or as a rejected one) to `batch`: exactly one entry. A
  // line that is no JSON adds nothing and gives the rejection `invalid_json`. The line is copied,
  // so it needs no padding. Blank lines are the caller's to skip.
  std::optional<Rejection> ParseEventLine(std::string_view line, Batch& batch);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tallystick
