// JSON of what the database answers: events, usage lines, batch outcomes. Numbers are exact,
// whatever their size; object keys are in alphabetical order; no blanks.
//
// Everything appends to a string that the caller owns.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tallystick/db.h"
#include "tallystick/event.h"
#include "tallystick/query.h"

namespace tallystick {

// "text" with quotes; control characters escaped. Other bytes are copied (they are UTF-8 already).
void AppendJsonString(std::string& out, std::string_view text);
void AppendJsonUint(std::string& out, uint64_t value);
void AppendJsonInt(std::string& out, int64_t value);

// The event as usageDb prints it, but dimensions as a plain map: {"account_id":...,"unit":...}.
void AppendEventJson(std::string& out, const Event& event);
std::string EventToJson(const Event& event);

// {"conflicts":n,"event":{...},"event_lsn":n,"lsn":n,"original":{...}|null[,"unresolved":true]}
std::string EventLookupToJson(const EventLookup& lookup);

// {"event":{...},"lsn":n,"original_lsn":n}
void AppendConflictJson(std::string& out, const Conflict& conflict);

// {"memory":n,"rollups":n,"segments":n}
void AppendRowSourcesJson(std::string& out, const RowSources& rows);

// {"corrections":"0","count":2,"meter_id":"t","quantity":"12.5","retractions":"0","usage":"12.5"}.
// A group key that is named like a metric is printed as "dimensions.NAME".
void AppendUsageLineJson(std::string& out, std::span<const Field> group_by, const UsageLine& line);
std::string UsageLineToJson(std::span<const Field> group_by, const UsageLine& line);

// {"lines":[...],"lsn":n,"rows":{...},"watermark_ms":n}
std::string UsageResultToJson(std::span<const Field> group_by, const UsageResult& result);

struct OutcomePrinting {
  bool all = false;        // plainly accepted events too
  bool originals = false;  // the LSN of the original of a duplicate or conflict
};

// {"accepted":n,"conflicts":n,"duplicates":n,"lsn":n,"outcomes":[...],"rejected":n}
std::string IngestResultToJson(const IngestResult& result, OutcomePrinting printing);

}  // namespace tallystick
