#include "server/explain_json.h"

#include <iterator>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "server/json_writer.h"

namespace tallystick {
namespace {

std::string NumberText(uint64_t segment) { return fmt::format("{:06}", segment); }

void AppendInputs(std::string& out, const std::vector<SegmentInputs>& inputs) {
  out += '[';
  for (const SegmentInputs& input : inputs) {
    if (out.back() != '[') out += ',';
    out += '{';
    AppendJsonUintField(out, "rolled_up", input.rolled_up);
    AppendJsonTextField(out, "rollup_blocks", RangesText(input.rollup_blocks));
    AppendJsonTextField(out, "row_groups", RangesText(input.row_groups));
    AppendJsonUintField(out, "rows", input.rows);
    AppendJsonUintField(out, "segment", input.segment);
    out += '}';
  }
  out += ']';
}

void AppendLine(std::string& out, const UsageLine& line) {
  TALLY_CHECK(line.keys.size() == std::size(kExplainGroups));
  out += '{';
  AppendJsonTextField(out, "corrections", line.corrections);
  AppendJsonUintField(out, "count", line.count);
  AppendJsonKey(out, "inputs");
  AppendInputs(out, line.inputs);
  AppendJsonUintField(out, "memory_rows", line.memory_rows);
  AppendJsonTextField(out, "meter_id", line.keys[1]);
  AppendJsonTextField(out, "model_id", line.keys[2]);
  AppendJsonTextField(out, "product_id", line.keys[0]);
  AppendJsonTextField(out, "quantity", line.quantity);
  AppendJsonTextField(out, "retractions", line.retractions);
  AppendJsonTextField(out, "source", line.keys[3]);
  AppendJsonTextField(out, "unit", line.keys[4]);
  AppendJsonTextField(out, "usage", line.usage);
  out += '}';
}

void AppendSegment(std::string& out, const SegmentPlan& plan, bool analyze) {
  out += '{';
  AppendJsonTextField(out, "file", NumberText(plan.read.segment) + ".seg");
  if (analyze) AppendJsonUintField(out, "micros", plan.micros);
  AppendJsonKey(out, "pruned");
  if (plan.pruned.empty()) {
    out += "null";
  } else {
    AppendJsonString(out, plan.pruned);
  }
  AppendJsonTextField(out, "rollup_blocks", RangesText(plan.read.rollup_blocks));
  AppendJsonUintField(out, "rollup_blocks_pruned", plan.rollup_blocks_pruned);
  AppendJsonTextField(out, "row_groups", RangesText(plan.read.row_groups));
  AppendJsonUintField(out, "row_groups_pruned", plan.row_groups_pruned);
  if (analyze) AppendJsonUintField(out, "rows_scanned", plan.rows_scanned);
  AppendJsonUintField(out, "segment", plan.read.segment);
  out += '}';
}

void AppendPlan(std::string& out, const ReadPlan& plan, bool analyze) {
  out += '{';
  if (analyze) AppendJsonUintField(out, "memory_rows_scanned", plan.memory_rows_scanned);
  AppendJsonUintField(out, "memtables", plan.memtables);
  if (analyze) AppendJsonUintField(out, "micros", plan.micros);
  AppendJsonKey(out, "segments");
  out += '[';
  for (const SegmentPlan& segment : plan.segments) {
    if (out.back() != '[') out += ',';
    AppendSegment(out, segment, analyze);
  }
  out += "]}";
}

// The segments of which something was read, as usageDb's clients know them. Here a rollup is part
// of its segment, and so its own input.
void AppendSegmentLists(std::string& out, const ReadPlan& plan) {
  std::string raw;
  std::string rollup;
  std::string inputs;
  for (const SegmentPlan& segment : plan.segments) {
    const std::string number = NumberText(segment.read.segment);
    if (!segment.read.row_groups.empty()) {
      fmt::format_to(std::back_inserter(raw), R"({}"{}")", raw.empty() ? "" : ",", number);
    }
    if (!segment.read.rollup_blocks.empty()) {
      const char* const comma = rollup.empty() ? "" : ",";
      fmt::format_to(std::back_inserter(rollup), R"({}"{}")", comma, number);
      fmt::format_to(std::back_inserter(inputs), R"({}"{}":["{}"])", comma, number, number);
    }
  }
  fmt::format_to(std::back_inserter(out),
                 R"(,"raw_segments":[{}],"rollup_inputs":{{{}}},"rollup_segments":[{}])", raw,
                 inputs, rollup);
}

}  // namespace

std::string RangesText(std::span<const uint32_t> numbers) {
  std::string out;
  for (size_t i = 0; i < numbers.size();) {
    size_t last = i;
    while (last + 1 < numbers.size() && numbers[last + 1] == numbers[last] + 1) ++last;
    if (!out.empty()) out += ',';
    AppendJsonUint(out, numbers[i]);
    if (last > i) {
      out += '-';
      AppendJsonUint(out, numbers[last]);
    }
    i = last + 1;
  }
  return out;
}

std::string ExplainTailToJson(const UsageQuery& query, const UsageResult& result, bool analyze) {
  std::string out = "]";
  AppendJsonIntField(out, "from_ms", query.from_ms);
  AppendJsonKey(out, "lines");
  out += '[';
  for (const UsageLine& line : result.lines) {
    if (out.back() != '[') out += ',';
    AppendLine(out, line);
  }
  out += ']';
  AppendJsonUintField(out, "lsn", result.lsn.value);
  if (analyze) AppendJsonUintField(out, "memory_bytes", result.memory_bytes);
  AppendJsonKey(out, "plan");
  AppendPlan(out, result.plan, analyze);
  AppendSegmentLists(out, result.plan);
  AppendJsonKey(out, "rows");
  AppendRowSourcesJson(out, result.rows);
  AppendJsonIntField(out, "to_ms", query.to_ms);
  AppendJsonIntField(out, "watermark_ms", result.watermark_ms);
  return out.substr(1);  // the list's end is the stream's
}

std::string VerifyToJson(const UsageQuery& query, const PathComparison& comparison) {
  const UsageResult& result = comparison.rollups;
  std::string out = "{";
  AppendJsonTextField(out, "account_id", query.account_id.value_or(""));
  AppendJsonTextField(out, "drift", comparison.drift);
  AppendJsonTextField(out, "each_total", comparison.each_total);
  AppendJsonKey(out, "faults");
  out += '[';
  for (const std::string& fault : comparison.faults) {
    if (out.back() != '[') out += ',';
    AppendJsonString(out, fault);
  }
  out += ']';
  AppendJsonIntField(out, "from_ms", query.from_ms);
  AppendJsonUintField(out, "lsn", result.lsn.value);
  AppendJsonKey(out, "matches");
  out += comparison.faults.empty() ? "true" : "false";
  AppendJsonKey(out, "period_sealed");
  out += query.to_ms <= result.watermark_ms ? "true" : "false";
  AppendJsonTextField(out, "raw_total", comparison.row_total);
  AppendJsonTextField(out, "rollup_total", comparison.rollup_total);
  AppendJsonIntField(out, "to_ms", query.to_ms);
  AppendJsonIntField(out, "watermark_ms", result.watermark_ms);
  out += '}';
  return out;
}

}  // namespace tallystick
