// JSON of what the database answers: events, batch outcomes, and the parts that other answers are
// made of. Numbers are exact, whatever their size; object keys are in alphabetical order; no
// blanks.
//
// Everything appends to a string that the caller owns.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tallystick/db.h"
#include "tallystick/event.h"
#include "tallystick/query.h"

namespace tallystick {

// "text" with quotes; control characters escaped. Other bytes are copied (they are UTF-8 already).
void AppendJsonString(std::string& out, std::string_view text);
void AppendJsonUint(std::string& out, uint64_t value);
void AppendJsonInt(std::string& out, int64_t value);

// A field of an object whose opening brace is in `out` already: a comma unless it is the first,
// then
// `"name":` and the value. Names are our own; they are not escaped.
void AppendJsonKey(std::string& out, std::string_view name);
void AppendJsonTextField(std::string& out, std::string_view name, std::string_view text);
void AppendJsonUintField(std::string& out, std::string_view name, uint64_t value);
void AppendJsonIntField(std::string& out, std::string_view name, int64_t value);

// The event as usageDb prints it, but dimensions as a plain map: {"account_id":...,"unit":...}.
void AppendEventJson(std::string& out, const Event& event);
std::string EventToJson(const Event& event);
// The same with the fields "original" and "unresolved" of EventLookupToJson among the others.
void AppendEventJson(std::string& out, const Event& event,
                     const std::optional<EventLookup::Original>& original);
// The same with another quantity: a sum can be larger than that of any event.
void AppendEventJson(std::string& out, const Event& event, std::string_view quantity);

// {"region":"eu"}, and {"original_event_id":"e","reason":""}.
void AppendDimensionsJson(std::string& out, const Event& event);
void AppendCorrectionRefJson(std::string& out, const CorrectionRef& reference);

// {"conflicts":n,"event":{...},"event_lsn":n,"lsn":n,"original":{"event_id":"e","lsn":n}}. For an
// original that does not exist null and "unresolved":true, for an event that names none null.
std::string EventLookupToJson(const EventLookup& lookup);

// {"event":{...},"lsn":n,"original_lsn":n}
void AppendConflictJson(std::string& out, const Conflict& conflict);

// {"memory":n,"rollups":n,"segments":n}
void AppendRowSourcesJson(std::string& out, const RowSources& rows);

struct OutcomePrinting {
  bool all = false;        // plainly accepted events too
  bool originals = false;  // the LSN of the original of a duplicate or conflict
};

// {"accepted":n,"conflicts":n,"duplicates":n,"lsn":n,"outcomes":[...],"rejected":n}
std::string IngestResultToJson(const IngestResult& result, OutcomePrinting printing);

}  // namespace tallystick
