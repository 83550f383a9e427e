#include "query/groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/coding.h"
#include "query/row_filter.h"

namespace tallystick {
namespace {

constexpr uint64_t kNodeBytes = 64;  // of a hash table, about

std::strong_ordering Compare(const GroupOrder& order, const UsageQuery& query,
                             const std::vector<std::string>& a_keys, const Group& a,
                             const std::vector<std::string>& b_keys, const Group& b) {
  switch (order.by) {
    case GroupOrder::By::kKey:
      return a_keys[order.index] <=> b_keys[order.index];
    case GroupOrder::By::kQuantity:
      return a.Net() <=> b.Net();
    case GroupOrder::By::kUsage:
      return a.by_kind[0] <=> b.by_kind[0];
    case GroupOrder::By::kCorrections:
      return a.by_kind[1] <=> b.by_kind[1];
    case GroupOrder::By::kRetractions:
      return a.by_kind[2] <=> b.by_kind[2];
    case GroupOrder::By::kCount:
      return a.count <=> b.count;
    case GroupOrder::By::kMetric:
      break;
  }
  const MetricState& left = a.metrics[order.index];
  const MetricState& right = b.metrics[order.index];
  if (query.metrics[order.index].function == Metric::Function::kUnique) {
    return left.seen.size() <=> right.seen.size();
  }
  if (left.number != right.number) return left.number <=> right.number;
  return left.text <=> right.text;
}

std::optional<std::string> MetricText(const Metric& metric, const MetricState& state) {
  if (metric.function == Metric::Function::kUnique) return std::to_string(state.seen.size());
  if (metric.of.has_value()) return state.text;
  if (!state.number.has_value()) return std::nullopt;
  return state.number->ToString();
}

}  // namespace

std::vector<TimeBuckets> BucketsOf(const std::vector<Field>& group_by, const TimeZone& zone) {
  std::vector<TimeBuckets> buckets;
  for (const Field& field : group_by) {
    buckets.emplace_back(IsBucket(field) ? field.kind : Field::Kind::kHourStartMs, zone);
  }
  return buckets;
}

ExactSum Group::Net() const {
  ExactSum net;
  for (const ExactSum& sum : by_kind) net.Add(sum);
  return net;
}

SegmentInputs& Group::InputsOf(uint64_t segment) {
  if (inputs.empty() || inputs.back().segment != segment) inputs.push_back({.segment = segment});
  return inputs.back();
}

void GroupKey::Append(std::string_view text) {
  const auto length = static_cast<uint32_t>(text.size());
  bytes_.append(reinterpret_cast<const char*>(&length), sizeof length);
  bytes_.append(text);
}

void GroupKey::Append(int64_t number) {
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  Append(std::string_view(digits, static_cast<size_t>(end - digits)));
}

std::vector<std::string> GroupKey::Split(std::string_view bytes) {
  std::vector<std::string> texts;
  Decoder in(AsByteSpan(bytes));
  while (in.remaining() > 0) texts.emplace_back(AsText(in.Raw(in.Fixed<uint32_t>())));
  return texts;
}

Status Groups::Check(const UsageQuery& query) {
  for (const Metric& metric : query.metrics) {
    if (metric.of.has_value() && IsBucket(*metric.of)) {
      return Status::InvalidArgument("invalid_metric",
                                     "'" + metric.of->Name() + "' is a time bucket, no column");
    }
  }
  for (const GroupOrder& order : query.order) {
    const size_t choices = order.by == GroupOrder::By::kKey      ? query.group_by.size()
                           : order.by == GroupOrder::By::kMetric ? query.metrics.size()
                                                                 : 1;
    if (order.index >= choices) {
      return Status::InvalidArgument(
          "invalid_order", fmt::format("the order names number {} of {}", order.index, choices));
    }
  }
  return Status::Ok();
}

Result<Group*> Groups::Find(std::string_view key) {
  auto found = groups_.find(key);
  if (found == groups_.end()) {
    if (Status status = Use(sizeof(Group) + kNodeBytes + key.size() +
                            query_.metrics.size() * sizeof(MetricState));
        !status.ok()) {
      return status;
    }
    found = groups_.try_emplace(std::string(key)).first;
    found->second.metrics.resize(query_.metrics.size());
  }
  return &found->second;
}

Status Groups::AddText(Group& group, size_t index, std::string_view text) {
  MetricState& state = group.metrics[index];
  switch (query_.metrics[index].function) {
    case Metric::Function::kUnique:
      if (!state.seen.emplace(text).second) return Status::Ok();
      return Use(sizeof(std::string) + kNodeBytes + text.size());
    case Metric::Function::kMin:
      if (!state.text.has_value() || text < *state.text) state.text = text;
      return Status::Ok();
    case Metric::Function::kMax:
      if (!state.text.has_value() || text > *state.text) state.text = text;
      return Status::Ok();
  }
  TALLY_CHECK(false);
}

Status Groups::AddNumber(Group& group, size_t index, const ExactSum& quantity) {
  MetricState& state = group.metrics[index];
  switch (query_.metrics[index].function) {
    case Metric::Function::kUnique:
      return AddText(group, index, quantity.ToString());
    case Metric::Function::kMin:
      if (!state.number.has_value() || quantity < *state.number) state.number = quantity;
      return Status::Ok();
    case Metric::Function::kMax:
      if (!state.number.has_value() || quantity > *state.number) state.number = quantity;
      return Status::Ok();
  }
  TALLY_CHECK(false);
}

ExactSum Groups::Total() const {
  ExactSum total;
  for (const auto& [key, group] : groups_) total.Add(group.Net());
  return total;
}

std::vector<UsageLine> Groups::Lines() const {
  struct Entry {
    std::vector<std::string> keys;
    const Group* group;
  };
  std::vector<Entry> entries;
  entries.reserve(groups_.size());
  for (const auto& [key, group] : groups_) entries.push_back({GroupKey::Split(key), &group});
  std::ranges::sort(entries, [&](const Entry& a, const Entry& b) {
    for (const GroupOrder& order : query_.order) {
      const auto ordering = Compare(order, query_, a.keys, *a.group, b.keys, *b.group);
      if (ordering != 0) return order.descending ? ordering > 0 : ordering < 0;
    }
    return a.keys < b.keys;
  });
  if (query_.group_limit.has_value() && entries.size() > *query_.group_limit) {
    entries.resize(*query_.group_limit);
  }
  std::vector<UsageLine> lines;
  lines.reserve(entries.size());
  for (Entry& entry : entries) {
    const Group& group = *entry.group;
    UsageLine& line = lines.emplace_back();
    line.keys = std::move(entry.keys);
    line.quantity = group.Net().ToString();
    line.usage = group.by_kind[0].ToString();
    line.corrections = group.by_kind[1].ToString();
    line.retractions = group.by_kind[2].ToString();
    line.count = group.count;
    for (size_t i = 0; i < query_.metrics.size(); ++i) {
      line.metrics.push_back(MetricText(query_.metrics[i], group.metrics[i]));
    }
    line.inputs = group.inputs;
    line.memory_rows = group.memory_rows;
  }
  return lines;
}

}  // namespace tallystick
