// Which rows a query is about, and the value of a field in a row.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/row.h"
#include "query/view.h"
#include "segment/segment_reader.h"
#include "tallystick/query.h"

namespace tallystick {

// The LSN that a read is answered at: `as_of`, or the view's. kInvalidArgument `lsn_in_future`.
Result<Lsn> ResolveLsn(const View& view, std::optional<Lsn> as_of);

// none: null, or no such dimension. Buckets are not columns of a row: REQUIRES field.kind is none.
std::optional<std::string_view> FieldValue(const RowView& row, const Field& field);
bool IsBucket(const Field& field);
// The column of a segment that a field is read from.
SegmentColumn ColumnOf(const Field& field);

// Range and filters of one query. Borrows the filters.
class RowFilter {
 public:
  RowFilter(int64_t from_ms, int64_t to_ms, const std::vector<Filter>& filters)
      : from_ms_(from_ms), to_ms_(to_ms), filters_(filters) {}
  bool Matches(const RowView& row) const;
  // The columns that Matches looks at.
  SegmentColumns Columns() const;
  // kInvalidArgument where a filter names a bucket.
  Status Check() const;

 private:
  int64_t from_ms_;
  int64_t to_ms_;
  const std::vector<Filter>& filters_;
};

}  // namespace tallystick
