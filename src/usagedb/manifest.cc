#include "usagedb/manifest.h"

#include <fmt/format.h>

#include <array>

#include "base/result.h"
#include "usagedb/event_hash.h"
#include "usagedb/json_fields.h"

namespace tallystick::usagedb {
namespace {

using Value = JsonFields::Value;

constexpr size_t kIdBytesMax = 128;

class ManifestReader {
 public:
  Result<UsageDbManifest> Read(std::string_view text) {
    std::string padded(text);
    padded.append(kJsonPaddingBytes, ' ');
    UsageDbManifest manifest;
    manifest.says_last_sealed = false;
    JsonReader& json = fields_.json();
    if (!json.Begin(std::string_view(padded).substr(0, text.size())) || !ReadRoot(&manifest)) {
      return Status::Corruption(fields_.fault());
    }
    return manifest;
  }

 private:
  bool ReadRoot(UsageDbManifest* out) {
    static constexpr std::array<std::string_view, 8> kNames = {
        "db_version",         "bucket_count",           "raw_segments",
        "rollup_segments",    "compacted_replacements", "watermarks",
        "last_sealed_wal_id", "closed_periods"};
    JsonReader& json = fields_.json();
    if (!json.IsObject()) return fields_.Wrong("the manifest is no JSON object");
    JsonReader::Object object;
    if (const auto error = json.document().get_object().get(object)) return json.Fault(error);
    const bool read =
        fields_.Fields("the manifest", object, kNames, 6, [&](size_t index, Value& value) {
          switch (index) {
            case 0:
              return fields_.Integer(kNames[index], value, &out->db_version);
            case 1:
              return fields_.Integer(kNames[index], value, &out->bucket_count);
            case 2:
              return ReadSegments(kNames[index], value, false, &out->raw_segments);
            case 3:
              return ReadSegments(kNames[index], value, true, &out->rollup_segments);
            case 5:
              return ReadWatermarks(value, out);
            case 6:
              return ReadLastSealed(kNames[index], value, out);
            case 7:
              return ReadPeriods(value, out);
            default:
              return json.Walk(value, 1);  // what compaction has replaced
          }
        });
    if (!read || !json.End()) return false;
    if (out->db_version != 0) {
      return fields_.Wrong(fmt::format("db_version {} is not known", out->db_version));
    }
    return out->bucket_count > 0 || fields_.Wrong("bucket_count is 0");
  }

  // Another log comes after it.
  bool ReadLastSealed(std::string_view name, Value& value, UsageDbManifest* out) {
    out->says_last_sealed = true;
    if (!fields_.Integer(name, value, &out->last_sealed_wal_id)) return false;
    return out->last_sealed_wal_id < UINT64_MAX ||
           fields_.Wrong(fmt::format("{} is {}", name, UINT64_MAX));
  }

  bool ReadSegments(std::string_view what, Value& value, bool rollups,
                    std::vector<SegmentMeta>* out) {
    return fields_.Array(what, value, [&](Value& element) {
      SegmentMeta& meta = out->emplace_back();
      if (!ReadSegment(element, &meta)) return false;
      if (meta.is_rollup == rollups) return true;
      return fields_.Wrong(fmt::format("segment {} is of the wrong kind", meta.segment_id));
    });
  }

  bool ReadSegment(Value& value, SegmentMeta* out) {
    static constexpr std::array<std::string_view, 14> kNames = {
        "segment_id",     "kind",           "min_timestamp_ms", "max_timestamp_ms", "bucket",
        "row_count",      "product_ids",    "meter_ids",        "model_ids",        "checksum",
        "min_account_id", "max_account_id", "quantity_sum",     "input_segment_ids"};
    return fields_.Object("a segment", value, kNames, 10, [&](size_t index, Value& field) {
      const std::string_view name = kNames[index];
      switch (index) {
        case 0:
          return ReadId(field, &out->segment_id);
        case 1:
          return ReadKind(field, &out->is_rollup);
        case 2:
          return fields_.Integer(name, field, &out->min_timestamp_ms);
        case 3:
          return fields_.Integer(name, field, &out->max_timestamp_ms);
        case 4:
          return fields_.Integer(name, field, &out->bucket);
        case 5:
          return ReadRowCount(name, field, &out->row_count);
        case 6:
          return ReadTexts(name, field, &out->product_ids);
        case 7:
          return ReadTexts(name, field, &out->meter_ids);
        case 8:
          return ReadTexts(name, field, &out->model_ids);
        case 9:
          return fields_.Integer(name, field, &out->checksum);
        case 10:
          return ReadOptionalText(name, field, &out->min_account_id);
        case 11:
          return ReadOptionalText(name, field, &out->max_account_id);
        case 12:
          return fields_.OptionalInteger(name, field, &out->quantity_sum);
        default:
          return fields_.json().Walk(field, 1);
      }
    });
  }

  // A segment has 32 bits for it.
  bool ReadRowCount(std::string_view name, Value& value, uint64_t* out) {
    uint32_t rows = 0;
    if (!fields_.Integer(name, value, &rows)) return false;
    *out = rows;
    return true;
  }

  // It becomes the name of a file.
  bool ReadId(Value& value, std::string* out) {
    std::string_view text;
    if (!fields_.Text("segment_id", value, &text)) return false;
    const auto fits = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    };
    if (text.empty() || text.size() > kIdBytesMax || !std::ranges::all_of(text, fits)) {
      return fields_.Wrong("a segment_id is no name of a file");
    }
    *out = text;
    return true;
  }

  bool ReadKind(Value& value, bool* is_rollup) {
    std::string_view text;
    if (!fields_.Text("kind", value, &text)) return false;
    *is_rollup = text == "Rollup";
    return *is_rollup || text == "Raw" || fields_.Wrong("kind is neither Raw nor Rollup");
  }

  bool ReadOptionalText(std::string_view name, Value& value, std::optional<std::string>* out) {
    if (JsonFields::IsNull(value)) return true;
    std::string_view text;
    if (!fields_.Text(name, value, &text)) return false;
    *out = text;
    return true;
  }

  bool ReadTexts(std::string_view name, Value& value, std::vector<std::string>* out) {
    return fields_.Array(name, value, [&](Value& element) {
      std::string_view text;
      if (!fields_.Text(name, element, &text)) return false;
      out->emplace_back(text);
      return true;
    });
  }

  bool ReadWatermarks(Value& value, UsageDbManifest* out) {
    static constexpr std::array<std::string_view, 1> kNames = {"hourly_rollup_ms"};
    return fields_.Object("watermarks", value, kNames, 1, [&](size_t, Value& field) {
      return fields_.Integer(kNames[0], field, &out->hourly_rollup_ms);
    });
  }

  bool ReadPeriods(Value& value, UsageDbManifest* out) {
    return fields_.Array("closed_periods", value, [&](Value& element) {
      return ReadPeriod(element, &out->closed_periods.emplace_back());
    });
  }

  bool ReadPeriod(Value& value, ClosedPeriod* out) {
    static constexpr std::array<std::string_view, 7> kNames = {"account_id",
                                                               "year",
                                                               "month",
                                                               "closed_at_ms",
                                                               "frozen_quantity",
                                                               "frozen_event_count",
                                                               "watermark_at_close_ms"};
    return fields_.Object("a closed period", value, kNames, 4, [&](size_t index, Value& field) {
      const std::string_view name = kNames[index];
      std::string_view text;
      switch (index) {
        case 0:
          if (!fields_.Text(name, field, &text)) return false;
          out->account_id = text;
          return true;
        case 1:
          return fields_.Integer(name, field, &out->year);
        case 2:
          return fields_.Integer(name, field, &out->month);
        case 3:
          return fields_.Integer(name, field, &out->closed_at_ms);
        case 4:
          return fields_.OptionalInteger(name, field, &out->frozen_quantity);
        case 5:
          return fields_.OptionalInteger(name, field, &out->frozen_event_count);
        default:
          return fields_.OptionalInteger(name, field, &out->watermark_at_close_ms);
      }
    });
  }

  JsonFields fields_;
};

// --- printing, as serde_json's pretty printer does: two blanks a level ---

class Printer {
 public:
  void Open(char bracket) {
    out_ += bracket;
    ++depth_;
    first_ = true;
  }
  void Close(char bracket) {
    --depth_;
    if (!first_) NewLine();
    out_ += bracket;
    first_ = false;
  }
  void Item() {
    if (!first_) out_ += ',';
    first_ = false;
    NewLine();
  }
  void Key(std::string_view name) {
    Item();
    AppendJsonText(out_, name);
    out_ += ": ";
  }
  void Text(std::string_view text) { AppendJsonText(out_, text); }
  void Raw(std::string_view text) { out_ += text; }
  void Field(std::string_view name, std::string_view raw) {
    Key(name);
    Raw(raw);
  }
  void Texts(std::string_view name, const std::vector<std::string>& texts) {
    Key(name);
    Open('[');
    for (const std::string& text : texts) {
      Item();
      Text(text);
    }
    Close(']');
  }
  std::string Take() { return std::move(out_); }

 private:
  void NewLine() {
    out_ += '\n';
    out_.append(2 * depth_, ' ');
  }

  std::string out_;
  size_t depth_ = 0;
  bool first_ = true;
};

void PrintOptionalText(Printer& to, std::string_view name, const std::optional<std::string>& text) {
  to.Key(name);
  if (text.has_value()) {
    to.Text(*text);
  } else {
    to.Raw("null");
  }
}

void PrintSegment(Printer& to, const SegmentMeta& meta) {
  to.Item();
  to.Open('{');
  to.Key("segment_id");
  to.Text(meta.segment_id);
  to.Field("kind", meta.is_rollup ? "\"Rollup\"" : "\"Raw\"");
  to.Field("min_timestamp_ms", std::to_string(meta.min_timestamp_ms));
  to.Field("max_timestamp_ms", std::to_string(meta.max_timestamp_ms));
  to.Field("bucket", std::to_string(meta.bucket));
  to.Field("row_count", std::to_string(meta.row_count));
  PrintOptionalText(to, "min_account_id", meta.min_account_id);
  PrintOptionalText(to, "max_account_id", meta.max_account_id);
  to.Texts("product_ids", meta.product_ids);
  to.Texts("meter_ids", meta.meter_ids);
  to.Texts("model_ids", meta.model_ids);
  to.Field("quantity_sum", meta.quantity_sum.has_value()
                               ? Quantity::FromInteger(*meta.quantity_sum).ToString()
                               : "null");
  to.Field("checksum", std::to_string(meta.checksum));
  to.Texts("input_segment_ids", {});
  to.Close('}');
}

}  // namespace

Result<UsageDbManifest> ParseManifest(std::string_view json) { return ManifestReader().Read(json); }

std::string PrintManifest(const UsageDbManifest& manifest) {
  Printer to;
  to.Open('{');
  to.Field("db_version", std::to_string(manifest.db_version));
  to.Field("bucket_count", std::to_string(manifest.bucket_count));
  to.Key("raw_segments");
  to.Open('[');
  for (const SegmentMeta& meta : manifest.raw_segments) PrintSegment(to, meta);
  to.Close(']');
  to.Field("rollup_segments", "[]");
  to.Field("compacted_replacements", "[]");
  to.Key("watermarks");
  to.Open('{');
  to.Field("hourly_rollup_ms", std::to_string(manifest.hourly_rollup_ms));
  to.Close('}');
  to.Field("last_sealed_wal_id", std::to_string(manifest.last_sealed_wal_id));
  to.Field("closed_periods", "[]");
  to.Close('}');
  return to.Take();
}

uint32_t BucketOf(std::string_view account_id, uint32_t bucket_count) {
  return LoadFixed<uint32_t>(
             reinterpret_cast<const std::byte*>(HashOfId(account_id).bytes.data())) %
         bucket_count;
}

void AppendJsonText(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
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
        if (static_cast<unsigned char>(c) < 0x20) {
          fmt::format_to(std::back_inserter(out), "\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

}  // namespace tallystick::usagedb
