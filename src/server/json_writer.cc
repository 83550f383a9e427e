#include "server/json_writer.h"

#include <algorithm>
#include <charconv>

#include "base/check.h"

namespace tallystick {
namespace {

constexpr std::string_view kMetricNames[] = {"corrections", "count", "quantity", "retractions",
                                             "usage"};

template <typename Integer>
void AppendInteger(std::string& out, Integer value) {
  char digits[24];
  const auto [end, error] = std::to_chars(digits, digits + sizeof digits, value);
  out.append(digits, end);
}

// `"name":`, with a comma before it unless it is the object's first.
void AppendKey(std::string& out, std::string_view name) {
  if (out.back() != '{') out += ',';
  out += '"';
  out += name;  // our own names need no escaping
  out += "\":";
}

void AppendText(std::string& out, std::string_view name, std::string_view text) {
  AppendKey(out, name);
  AppendJsonString(out, text);
}

void AppendNullable(std::string& out, std::string_view name,
                    const std::optional<std::string>& text) {
  AppendKey(out, name);
  if (text) {
    AppendJsonString(out, *text);
  } else {
    out += "null";
  }
}

void AppendUint(std::string& out, std::string_view name, uint64_t value) {
  AppendKey(out, name);
  AppendInteger(out, value);
}

void AppendCorrectionRef(std::string& out, const std::optional<CorrectionRef>& reference) {
  AppendKey(out, "correction_ref");
  if (!reference) {
    out += "null";
    return;
  }
  out += '{';
  AppendText(out, "original_event_id", reference->original_event_id);
  AppendText(out, "reason", reference->reason);
  out += '}';
}

void AppendDimensions(std::string& out, const Event& event) {
  AppendKey(out, "dimensions");
  out += '{';
  for (const auto& [key, value] : event.dimensions) {
    if (out.back() != '{') out += ',';
    AppendJsonString(out, key);
    out += ':';
    AppendJsonString(out, value);
  }
  out += '}';
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
  if (rejected) AppendText(out, "code", outcome.rejection.code);
  AppendText(out, "event_id", event_id);
  if (rejected) AppendText(out, "field", outcome.rejection.field);
  AppendUint(out, "index", index);
  if (ShowsLsn(outcome, printing)) AppendUint(out, "lsn", outcome.lsn.value);
  if (rejected) AppendText(out, "message", outcome.rejection.message);
  AppendText(out, "outcome", OutcomeName(outcome.kind));
  out += '}';
}

// The names under which a line's group keys are printed.
std::string LineKeyName(const Field& field) {
  std::string name = field.Name();
  if (std::ranges::find(kMetricNames, std::string_view(name)) != std::end(kMetricNames)) {
    return "dimensions." + name;
  }
  return name;
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

void AppendEventJson(std::string& out, const Event& event) {
  out += '{';
  AppendText(out, "account_id", event.account_id);
  AppendCorrectionRef(out, event.correction_ref);
  AppendDimensions(out, event);
  AppendText(out, "event_id", event.event_id);
  AppendKey(out, "ingested_at_ms");
  AppendInteger(out, event.ingested_at_ms);
  AppendText(out, "kind", EventKindName(event.kind));
  AppendText(out, "meter_id", event.meter_id);
  AppendNullable(out, "model_id", event.model_id);
  AppendText(out, "product_id", event.product_id);
  AppendKey(out, "quantity");
  out += event.quantity.ToString();
  AppendText(out, "source", event.source);
  AppendNullable(out, "subscription_id", event.subscription_id);
  AppendKey(out, "timestamp_ms");
  AppendInteger(out, event.timestamp_ms);
  AppendText(out, "unit", event.unit);
  out += '}';
}

std::string EventToJson(const Event& event) {
  std::string out;
  AppendEventJson(out, event);
  return out;
}

std::string EventLookupToJson(const EventLookup& lookup) {
  std::string out = "{";
  AppendUint(out, "conflicts", lookup.conflicts);
  AppendKey(out, "event");
  AppendEventJson(out, lookup.event);
  AppendUint(out, "event_lsn", lookup.event_lsn.value);
  AppendUint(out, "lsn", lookup.lsn.value);
  const bool resolved = lookup.original && lookup.original->lsn;
  AppendKey(out, "original");
  if (resolved) {
    out += '{';
    AppendText(out, "event_id", lookup.original->event_id);
    AppendUint(out, "lsn", lookup.original->lsn->value);
    out += '}';
  } else {
    out += "null";
  }
  if (lookup.original && !resolved) {
    AppendKey(out, "unresolved");
    out += "true";
  }
  out += '}';
  return out;
}

void AppendConflictJson(std::string& out, const Conflict& conflict) {
  out += '{';
  AppendKey(out, "event");
  AppendEventJson(out, conflict.event);
  AppendUint(out, "lsn", conflict.lsn.value);
  AppendUint(out, "original_lsn", conflict.original_lsn.value);
  out += '}';
}

void AppendRowSourcesJson(std::string& out, const RowSources& rows) {
  out += '{';
  AppendUint(out, "memory", rows.memory);
  AppendUint(out, "rollups", rows.rollups);
  AppendUint(out, "segments", rows.segments);
  out += '}';
}

void AppendUsageLineJson(std::string& out, std::span<const Field> group_by, const UsageLine& line) {
  TALLY_CHECK(line.keys.size() == group_by.size());
  // Few columns, so sorting them for every line costs little beside printing them.
  std::vector<std::pair<std::string, const std::string*>> columns;
  columns.reserve(group_by.size() + std::size(kMetricNames));
  for (size_t i = 0; i < group_by.size(); ++i) {
    columns.emplace_back(LineKeyName(group_by[i]), &line.keys[i]);
  }
  columns.emplace_back("corrections", &line.corrections);
  columns.emplace_back("count", nullptr);
  columns.emplace_back("quantity", &line.quantity);
  columns.emplace_back("retractions", &line.retractions);
  columns.emplace_back("usage", &line.usage);
  std::ranges::sort(columns, {}, &std::pair<std::string, const std::string*>::first);

  out += '{';
  for (const auto& [name, text] : columns) {
    if (out.back() != '{') out += ',';
    AppendJsonString(out, name);
    out += ':';
    if (text == nullptr) {
      AppendInteger(out, line.count);
    } else {
      AppendJsonString(out, *text);
    }
  }
  out += '}';
}

std::string UsageLineToJson(std::span<const Field> group_by, const UsageLine& line) {
  std::string out;
  AppendUsageLineJson(out, group_by, line);
  return out;
}

std::string UsageResultToJson(std::span<const Field> group_by, const UsageResult& result) {
  std::string out = R"({"lines":[)";
  for (const UsageLine& line : result.lines) {
    if (out.back() != '[') out += ',';
    AppendUsageLineJson(out, group_by, line);
  }
  out += ']';
  AppendUint(out, "lsn", result.lsn.value);
  AppendKey(out, "rows");
  AppendRowSourcesJson(out, result.rows);
  AppendKey(out, "watermark_ms");
  AppendInteger(out, result.watermark_ms);
  out += '}';
  return out;
}

std::string IngestResultToJson(const IngestResult& result, OutcomePrinting printing) {
  std::string out = "{";
  AppendUint(out, "accepted", result.accepted);
  AppendUint(out, "conflicts", result.conflicts);
  AppendUint(out, "duplicates", result.duplicates);
  AppendUint(out, "lsn", result.lsn.value);
  AppendKey(out, "outcomes");
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
  AppendUint(out, "rejected", result.rejected);
  out += '}';
  return out;
}

}  // namespace tallystick
