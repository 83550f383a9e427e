#include "query/aggregate.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <unordered_map>

#include "base/decimal.h"
#include "base/mutant.h"
#include "base/result.h"
#include "query/row_filter.h"
#include "query/row_scan.h"

namespace tallystick {
namespace {

struct Group {
  std::array<ExactSum, 3> by_kind;  // indexed by EventKind
  uint64_t count = 0;
};

// Lets a scratch key be looked up without making a string of it.
struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using Groups = std::unordered_map<std::string, Group, TextHash, std::equal_to<>>;

// A group's key: for each field u32 length and text, in group_by order.
class KeyWriter {
 public:
  explicit KeyWriter(const std::vector<Field>& fields) : fields_(fields) {}

  std::string_view Write(const RowView& row) {
    key_.clear();
    for (const Field& field : fields_) {
      if (IsBucket(field)) {
        char digits[24];
        const auto end =
            std::to_chars(digits, digits + sizeof digits, BucketStartMs(row, field)).ptr;
        Append({digits, static_cast<size_t>(end - digits)});
      } else {
        Append(FieldValue(row, field).value_or(""));
      }
    }
    return key_;
  }

  static std::vector<std::string> Split(std::string_view key) {
    std::vector<std::string> texts;
    Decoder in(AsByteSpan(key));
    while (in.remaining() > 0) texts.emplace_back(AsText(in.Raw(in.Fixed<uint32_t>())));
    return texts;
  }

 private:
  void Append(std::string_view text) {
    const auto length = static_cast<uint32_t>(text.size());
    key_.append(reinterpret_cast<const char*>(&length), sizeof length);
    key_.append(text);
  }

  const std::vector<Field>& fields_;
  std::string key_;
};

UsageLine ToLine(std::string_view key, const Group& group) {
  UsageLine line;
  line.keys = KeyWriter::Split(key);
  ExactSum net;
  for (const ExactSum& sum : group.by_kind) net.Add(sum);
  line.quantity = net.ToString();
  line.usage = group.by_kind[0].ToString();
  line.corrections = group.by_kind[1].ToString();
  line.retractions = group.by_kind[2].ToString();
  line.count = group.count;
  return line;
}

}  // namespace

Result<UsageResult> Aggregate(const View& view, const UsageQuery& query) {
  TALLY_ASSIGN_OR_RETURN(const Lsn lsn, ResolveLsn(view, query.as_of_lsn));
  const RowFilter filter(query.from_ms, query.to_ms, query.filters);
  TALLY_RETURN_IF_ERROR(filter.Check());
  Groups groups;
  if (query.group_by.empty()) groups.try_emplace("");  // one line, also of nothing
  KeyWriter keys(query.group_by);
  UsageResult result;
  SegmentColumns columns = filter.Columns() | (SegmentColumn::kQuantity | SegmentColumn::kKind);
  for (const Field& field : query.group_by) columns = columns | ColumnOf(field);
  auto found = groups.end();
  TALLY_RETURN_IF_ERROR(ForEachRow(
      view, {query.account_id, query.from_ms, query.to_ms, lsn, columns}, [&](const RowAt& at) {
        if (at.disposition == Disposition::kQuarantined && !TALLY_MUTANT("conflict_counted")) {
          return true;
        }
        if (!filter.Matches(at.row)) return true;
        const std::string_view key = keys.Write(at.row);
        if (found == groups.end() || found->first != key) {  // neighbours are often of one group
          found = groups.find(key);
          if (found == groups.end()) found = groups.try_emplace(std::string(key)).first;
        }
        found->second.by_kind[static_cast<size_t>(at.row.kind)].Add(at.row.quantity);
        ++found->second.count;
        ++(at.place.in_memory() ? result.rows.memory : result.rows.segments);
        return true;
      }));
  for (const auto& [key, group] : groups) result.lines.push_back(ToLine(key, group));
  std::ranges::sort(result.lines, {}, &UsageLine::keys);
  result.lsn = lsn;
  result.watermark_ms = std::max(view.now_ms, view.newest_commit_us / 1000);
  return result;
}

}  // namespace tallystick
