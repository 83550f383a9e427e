#include "cli/csv_mapping.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "base/result.h"
#include "server/json_writer.h"
#include "server/time_parse.h"

namespace tallystick {
namespace {

constexpr std::array<std::string_view, 11> kFields = {
    "event_id", "account_id", "product_id", "meter_id", "subscription_id", "model_id",
    "unit",     "source",     "kind",       "quantity", "timestamp_ms"};
constexpr std::array<std::string_view, 2> kReferenceFields = {"original_event_id", "reason"};
constexpr std::array<std::string_view, 5> kRequired = {"account_id", "product_id", "meter_id",
                                                       "quantity", "timestamp_ms"};

Status Invalid(std::string_view message) {
  return Status::InvalidArgument("invalid_mapping", message);
}

template <typename List>
bool Contains(const List& list, std::string_view name) {
  return std::ranges::find(list, name) != std::end(list);
}

Result<int64_t> ReadTime(const std::string& text, bool assume_utc) {
  auto time = ParseTime(text);
  if (time.ok() || !assume_utc) return time;
  auto utc = ParseTime(text + "Z");
  return utc.ok() ? utc : time;
}

}  // namespace

Result<CsvToJson> CsvToJson::Create(const CsvMapping& mapping) {
  CsvToJson made;
  made.assume_utc_ = mapping.assume_utc;
  const auto split = [](const std::string& text) -> Result<std::pair<std::string, std::string>> {
    const size_t at = text.find('=');
    if (at == std::string::npos || at == 0) {
      return Invalid(fmt::format("`{}` is not FIELD=...", text));
    }
    return std::pair(text.substr(0, at), text.substr(at + 1));
  };
  for (const std::string& text : mapping.maps) {
    TALLY_ASSIGN_OR_RETURN(const auto pair, split(text));
    TALLY_RETURN_IF_ERROR(made.AddTarget(pair.first, {{Piece::Kind::kColumn, pair.second}}));
  }
  for (const std::string& text : mapping.sets) {
    TALLY_ASSIGN_OR_RETURN(const auto pair, split(text));
    TALLY_RETURN_IF_ERROR(made.AddTarget(pair.first, {{Piece::Kind::kText, pair.second}}));
  }
  if (!mapping.id_format.empty()) {
    std::vector<Piece> value;
    std::string_view rest = mapping.id_format;
    while (!rest.empty()) {
      const size_t open = rest.find('{');
      if (open != 0) value.push_back({Piece::Kind::kText, std::string(rest.substr(0, open))});
      if (open == std::string_view::npos) break;
      const size_t close = rest.find('}', open);
      if (close == std::string_view::npos) return Invalid("--id-format: a { is not closed");
      const std::string name(rest.substr(open + 1, close - open - 1));
      value.push_back({name == "row" ? Piece::Kind::kRow : Piece::Kind::kColumn, name});
      rest.remove_prefix(close + 1);
    }
    const bool varies = std::ranges::any_of(
        value, [](const Piece& piece) { return piece.kind != Piece::Kind::kText; });
    if (!varies) return Invalid("--id-format gives every row the same id: use {row} or {COLUMN}");
    TALLY_RETURN_IF_ERROR(made.AddTarget("event_id", std::move(value)));
  }
  const auto has = [&made](std::string_view field) {
    return std::ranges::any_of(made.plain_, [&](const Target& t) { return t.field == field; });
  };
  if (!has("event_id"))
    return Invalid("event_id comes from nowhere: --id-format or --map event_id=COLUMN");
  for (const std::string_view field : kRequired) {
    if (!has(field)) return Invalid(fmt::format("{} comes from nowhere: --map or --set", field));
  }
  return made;
}

Status CsvToJson::AddTarget(std::string_view field, std::vector<Piece> value) {
  std::vector<Target>* targets = &plain_;
  std::string_view name = field;
  if (field.starts_with("dimensions.") && field != "dimensions.") {
    targets = &dimensions_;
    name.remove_prefix(std::string_view("dimensions.").size());
  } else if (field.starts_with("correction_ref.")) {
    targets = &correction_ref_;
    name.remove_prefix(std::string_view("correction_ref.").size());
    if (!Contains(kReferenceFields, name)) return Invalid(fmt::format("no field `{}`", field));
  } else if (!Contains(kFields, field)) {
    return Invalid(fmt::format("no field `{}`", field));
  }
  if (std::ranges::any_of(*targets, [&](const Target& t) { return t.field == name; })) {
    return Invalid(fmt::format("{} is given twice", field));
  }
  const bool plain = targets == &plain_;
  targets->push_back({.field = std::string(name),
                      .value = std::move(value),
                      .required = plain && (Contains(kRequired, name) || name == "event_id"),
                      .is_time = plain && name == "timestamp_ms"});
  return Status::Ok();
}

Status CsvToJson::SetHeader(std::span<const std::string> columns) {
  columns_ = columns.size();
  for (auto* targets : {&plain_, &dimensions_, &correction_ref_}) {
    for (Target& target : *targets) {
      for (Piece& piece : target.value) {
        if (piece.kind != Piece::Kind::kColumn) continue;
        const auto found = std::ranges::find(columns, piece.text);
        if (found == columns.end()) {
          return Invalid(
              fmt::format("no column `{}`; there are: {}", piece.text, fmt::join(columns, ", ")));
        }
        if (std::ranges::count(columns, piece.text) > 1) {
          return Invalid(fmt::format("column `{}` occurs twice", piece.text));
        }
        piece.column = static_cast<size_t>(found - columns.begin());
      }
    }
  }
  return Status::Ok();
}

std::string CsvToJson::ValueOf(const Target& target, uint64_t row,
                               std::span<const std::string> cells) const {
  std::string value;
  for (const Piece& piece : target.value) {
    switch (piece.kind) {
      case Piece::Kind::kText:
        value += piece.text;
        break;
      case Piece::Kind::kColumn:
        value += cells[piece.column];
        break;
      case Piece::Kind::kRow:
        value += std::to_string(row);
        break;
    }
  }
  return value;
}

Status CsvToJson::AppendField(const Target& target, uint64_t row,
                              std::span<const std::string> cells, std::string& out) const {
  const std::string value = ValueOf(target, row, cells);
  // An empty cell means that the row has no such value; a required one is for the database to
  // refuse.
  if (value.empty() && !target.required) return Status::Ok();
  if (!out.ends_with('{')) out += ',';
  AppendJsonString(out, target.field);
  out += ':';
  if (!target.is_time) {
    AppendJsonString(out, value);
    return Status::Ok();
  }
  const auto time = ReadTime(value, assume_utc_);
  if (!time.ok()) {
    return Status::InvalidArgument("invalid_row", "timestamp_ms: " + time.status().message());
  }
  AppendJsonInt(out, *time);
  return Status::Ok();
}

Status CsvToJson::AppendEvent(uint64_t row, std::span<const std::string> cells,
                              std::string& out) const {
  if (cells.size() != columns_) {
    return Status::InvalidArgument(
        "invalid_row", fmt::format("{} cells, the header has {}", cells.size(), columns_));
  }
  out += '{';
  for (const Target& target : plain_) TALLY_RETURN_IF_ERROR(AppendField(target, row, cells, out));
  const auto group = [&](std::string_view name, const std::vector<Target>& targets) -> Status {
    std::string inner = "{";
    for (const Target& target : targets) {
      TALLY_RETURN_IF_ERROR(AppendField(target, row, cells, inner));
    }
    if (inner != "{") out += fmt::format(",\"{}\":{}}}", name, inner);
    return Status::Ok();
  };
  TALLY_RETURN_IF_ERROR(group("dimensions", dimensions_));
  TALLY_RETURN_IF_ERROR(group("correction_ref", correction_ref_));
  out += '}';
  return Status::Ok();
}

}  // namespace tallystick
