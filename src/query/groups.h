// Groups: the lines of an aggregate while it is being computed.
//
// Thread rule: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/decimal.h"
#include "query/query_context.h"
#include "query/time_bucket.h"
#include "tallystick/query.h"

namespace tallystick {

// As group_by; of the fields that are buckets (the others are never asked).
std::vector<TimeBuckets> BucketsOf(const std::vector<Field>& group_by, const TimeZone& zone);

// What a Metric has seen so far.
struct MetricState {
  std::optional<ExactSum> number;        // min or max of the quantity
  std::optional<std::string> text;       // min or max of a field
  std::unordered_set<std::string> seen;  // unique
};

struct Group {
  std::array<ExactSum, 3> by_kind;  // indexed by EventKind
  uint64_t count = 0;
  std::vector<MetricState> metrics;   // as the query's
  std::vector<SegmentInputs> inputs;  // explain
  uint64_t memory_rows = 0;           // explain

  ExactSum Net() const;
  // The part of the segment that is read now. REQUIRES: segments come one after another.
  SegmentInputs& InputsOf(uint64_t segment);
};

// The key of a group: for each field u32 length and text, in group_by order.
class GroupKey {
 public:
  void Clear() { bytes_.clear(); }
  void Append(std::string_view text);
  void Append(int64_t number);  // as decimal text
  std::string_view bytes() const { return bytes_; }
  static std::vector<std::string> Split(std::string_view bytes);

 private:
  std::string bytes_;
};

class Groups {
 public:
  Groups(const UsageQuery& query, QueryContext& context) : query_(query), context_(context) {}
  Groups(const Groups&) = delete;
  ~Groups() { context_.Free(used_bytes_); }

  // kInvalidArgument `invalid_metric`, `invalid_order`: what the query asks for makes no sense.
  static Status Check(const UsageQuery& query);

  // Makes the group if there is none. It stays where it is.
  Result<Group*> Find(std::string_view key);
  // Folds a value into metric `index` of the group.
  Status AddText(Group& group, size_t index, std::string_view text);
  Status AddNumber(Group& group, size_t index, const ExactSum& quantity);

  // All groups as lines, sorted and cut off as the query says.
  std::vector<UsageLine> Lines() const;
  uint64_t size() const { return groups_.size(); }
  ExactSum Total() const;  // of all groups

 private:
  Status Use(uint64_t bytes) {
    used_bytes_ += bytes;
    return context_.Use(bytes);
  }
  // Lets a scratch key be looked up without making a string of it.
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  const UsageQuery& query_;
  QueryContext& context_;
  uint64_t used_bytes_ = 0;
  std::unordered_map<std::string, Group, TextHash, std::equal_to<>> groups_;
};

}  // namespace tallystick
