// Which rows a query is about, and the value of a field in a row.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/row.h"
#include "query/view.h"
#include "tallystick/query.h"

namespace tallystick {

// The LSN that a read is answered at: `as_of`, or the view's. kInvalidArgument `lsn_in_future`.
Result<Lsn> ResolveLsn(const View& view, std::optional<Lsn> as_of);

// none: null, or no such dimension. Buckets are not columns of a row: REQUIRES field.kind is none.
std::optional<std::string_view> FieldValue(const RowView& row, const Field& field);
// The start of the row's bucket, epoch ms. REQUIRES: field.kind is a bucket.
int64_t BucketStartMs(const RowView& row, const Field& field);
bool IsBucket(const Field& field);

// Range and filters of one query. Borrows the filters.
class RowFilter {
 public:
  RowFilter(int64_t from_ms, int64_t to_ms, const std::vector<Filter>& filters)
      : from_ms_(from_ms), to_ms_(to_ms), filters_(filters) {}
  bool Matches(const RowView& row) const;
  // kInvalidArgument where a filter names a bucket.
  Status Check() const;

 private:
  int64_t from_ms_;
  int64_t to_ms_;
  const std::vector<Filter>& filters_;
};

// Calls row(Lsn, const RecordView&, const Memtable&) for all rows up to `lsn`, of one account or of
// all, in no stated order, until it returns false.
template <typename Fn>
void ForEachRow(const View& view, const std::optional<std::string>& account_id, Lsn lsn, Fn&& row) {
  bool go_on = true;
  for (const auto& memtable : *view.memtables) {
    if (memtable->empty()) continue;
    if (!go_on || memtable->first_lsn() > lsn) return;
    if (account_id.has_value()) {
      memtable->ForEachOfAccount(*account_id, lsn, [&](Lsn at, const RecordView& record) {
        return go_on = row(at, record, *memtable);
      });
      continue;
    }
    const Lsn end = std::min(memtable->end_lsn(), Lsn{lsn.value + 1});
    for (Lsn at = memtable->first_lsn(); go_on && at < end; ++at.value) {
      go_on = row(at, memtable->Record(at), *memtable);
    }
  }
}

}  // namespace tallystick
