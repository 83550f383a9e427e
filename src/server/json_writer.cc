#include "server/json_writer.h"

#include <charconv>

#include "base/check.h"

namespace tallystick {
namespace {

template <typename Integer>
void AppendInteger(std::string& out, Integer value) {
  char digits[24];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, end);
}

void AppendNullable(std::string& out, std::string_view name,
                    const std::optional<std::string>& text) {
  AppendJsonKey(out, name);
  if (text) {
    AppendJsonString(out, *text);
  } else {
    out += "null";
  }
}

std::string_view OutcomeName(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::kAccepted:
      return "accepted";
    case OutcomeKind::kDuplicate:
      return "duplicate";
    case OutcomeKind::kConflict:
      return "conflict";
    case OutcomeKind::kRejected:
      return "rejected";
  }
  TALLY_CHECK(false);
}

bool ShowsLsn(const EventOutcome& outcome, OutcomePrinting printing) {
  switch (outcome.kind) {
    case OutcomeKind::kAccepted:
      return true;
    case OutcomeKind::kDuplicate:
    case OutcomeKind::kConflict:
      return printing.originals && outcome.lsn.value > 0;  // 0: its segment cannot be read
    case OutcomeKind::kRejected:
      return false;
  }
  TALLY_CHECK(false);
}

void AppendOutcome(std::string& out, size_t index, std::string_view event_id,
                   const EventOutcome& outcome, OutcomePrinting printing) {
  out += '{';
  const bool rejected = outcome.kind == OutcomeKind::kRejected;
  if (rejected) AppendJsonTextField(out, "code", outcome.rejection.code);
  AppendJsonTextField(out, "event_id", event_id);
  if (rejected) AppendJsonTextField(out, "field", outcome.rejection.field);
  AppendJsonUintField(out, "index", index);
  if (ShowsLsn(outcome, printing)) AppendJsonUintField(out, "lsn", outcome.lsn.value);
  if (rejected) AppendJsonTextField(out, "message", outcome.rejection.message);
  AppendJsonTextField(out, "outcome", OutcomeName(outcome.kind));
  out += '}';
}

void AppendOriginal(std::string& out, const std::optional<EventLookup::Original>& original) {
  AppendJsonKey(out, "original");
  if (original && original->lsn) {
    out += '{';
    AppendJsonTextField(out, "event_id", original->event_id);
    AppendJsonUintField(out, "lsn", original->lsn->value);
    out += '}';
  } else {
    out += "null";
  }
}

void AppendUnresolved(std::string& out, const std::optional<EventLookup::Original>& original) {
  if (!original || original->lsn) return;
  AppendJsonKey(out, "unresolved");
  out += "true";
}

// `original` may be null: not printed.
void AppendEvent(std::string& out, const Event& event, std::string_view quantity,
                 const std::optional<EventLookup::Original>* original) {
  out += '{';
  AppendJsonTextField(out, "account_id", event.account_id);
  AppendJsonKey(out, "correction_ref");
  if (event.correction_ref) {
    AppendCorrectionRefJson(out, *event.correction_ref);
  } else {
    out += "null";
  }
  AppendJsonKey(out, "dimensions");
  AppendDimensionsJson(out, event);
  AppendJsonTextField(out, "event_id", event.event_id);
  AppendJsonIntField(out, "ingested_at_ms", event.ingested_at_ms);
  AppendJsonTextField(out, "kind", EventKindName(event.kind));
  AppendJsonTextField(out, "meter_id", event.meter_id);
  AppendNullable(out, "model_id", event.model_id);
  if (original != nullptr) AppendOriginal(out, *original);
  AppendJsonTextField(out, "product_id", event.product_id);
  AppendJsonKey(out, "quantity");
  out += quantity;
  AppendJsonTextField(out, "source", event.source);
  AppendNullable(out, "subscription_id", event.subscription_id);
  AppendJsonIntField(out, "timestamp_ms", event.timestamp_ms);
  AppendJsonTextField(out, "unit", event.unit);
  if (original != nullptr) AppendUnresolved(out, *original);
  out += '}';
}

}  // namespace

void AppendJsonString(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  size_t plain_from = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, plain_from, i - plain_from);
    plain_from = i + 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += "\\u00";
        out += kHex[c >> 4];
        out += kHex[c & 15];
    }
  }
  out.append(text, plain_from, text.size() - plain_from);
  out += '"';
}

void AppendJsonUint(std::string& out, uint64_t value) { AppendInteger(out, value); }
void AppendJsonInt(std::string& out, int64_t value) { AppendInteger(out, value); }

void AppendJsonKey(std::string& out, std::string_view name) {
  if (out.back() != '{') out += ',';
  out += '"';
  out += name;
  out += "\":";
}

void AppendJsonTextField(std::string& out, std::string_view name, std::string_view text) {
  AppendJsonKey(out, name);
  AppendJsonString(out, text);
}

void AppendJsonUintField(std::string& out, std::string_view name, uint64_t value) {
  AppendJsonKey(out, name);
  AppendInteger(out, value);
}

void AppendJsonIntField(std::string& out, std::string_view name, int64_t value) {
  AppendJsonKey(out, name);
  AppendInteger(out, value);
}

void AppendDimensionsJson(std::string& out, const Event& event) {
  out += '{';
  for (const auto& [key, value] : event.dimensions) {
    if (out.back() != '{') out += ',';
    AppendJsonString(out, key);
    out += ':';
    AppendJsonString(out, value);
  }
  out += '}';
}

void AppendCorrectionRefJson(std::string& out, const CorrectionRef& reference) {
  out += '{';
  AppendJsonTextField(out, "original_event_id", reference.original_event_id);
  AppendJsonTextField(out, "reason", reference.reason);
  out += '}';
}

void AppendEventJson(std::string& out, const Event& event) {
  AppendEvent(out, event, event.quantity.ToString(), nullptr);
}

void AppendEventJson(std::string& out, const Event& event,
                     const std::optional<EventLookup::Original>& original) {
  AppendEvent(out, event, event.quantity.ToString(), &original);
}

void AppendEventJson(std::string& out, const Event& event, std::string_view quantity) {
  AppendEvent(out, event, quantity, nullptr);
}

std::string EventToJson(const Event& event) {
  std::string out;
  AppendEventJson(out, event);
  return out;
}

std::string EventLookupToJson(const EventLookup& lookup) {
  std::string out = "{";
  AppendJsonUintField(out, "conflicts", lookup.conflicts);
  AppendJsonKey(out, "event");
  AppendEventJson(out, lookup.event);
  AppendJsonUintField(out, "event_lsn", lookup.event_lsn.value);
  AppendJsonUintField(out, "lsn", lookup.lsn.value);
  AppendOriginal(out, lookup.original);
  AppendUnresolved(out, lookup.original);
  out += '}';
  return out;
}

void AppendConflictJson(std::string& out, const Conflict& conflict) {
  out += '{';
  AppendJsonKey(out, "event");
  AppendEventJson(out, conflict.event);
  AppendJsonUintField(out, "lsn", conflict.lsn.value);
  AppendJsonUintField(out, "original_lsn", conflict.original_lsn.value);
  out += '}';
}

void AppendRowSourcesJson(std::string& out, const RowSources& rows) {
  out += '{';
  AppendJsonUintField(out, "memory", rows.memory);
  AppendJsonUintField(out, "rollups", rows.rollups);
  AppendJsonUintField(out, "segments", rows.segments);
  out += '}';
}

std::string IngestResultToJson(const IngestResult& result, OutcomePrinting printing) {
  std::string out = "{";
  AppendJsonUintField(out, "accepted", result.accepted);
  AppendJsonUintField(out, "conflicts", result.conflicts);
  AppendJsonUintField(out, "duplicates", result.duplicates);
  AppendJsonUintField(out, "lsn", result.lsn.value);
  AppendJsonKey(out, "outcomes");
  out += '[';
  if (printing.all || result.accepted < result.outcomes.size()) {
    for (size_t i = 0; i < result.outcomes.size(); ++i) {
      const EventOutcome& outcome = result.outcomes[i];
      if (outcome.kind == OutcomeKind::kAccepted && !printing.all) continue;
      if (out.back() != '[') out += ',';
      AppendOutcome(out, i, result.batch.event_id(i), outcome, printing);
    }
  }
  out += ']';
  AppendJsonUintField(out, "rejected", result.rejected);
  out += '}';
  return out;
}

}  // namespace tallystick
