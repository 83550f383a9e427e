#include "query/commit_time.h"

#include <algorithm>
#include <ranges>

#include "base/result.h"
#include "query/row_scan.h"

namespace tallystick {

Result<Lsn> LastCommittedAt(const View& view, int64_t epoch_us) {
  // Commit times ascend with LSNs: the first frame that is later ends the rows.
  Lsn end{view.visible.value + 1};
  const auto is_later = [&](Lsn first, int64_t commit_time_us) {
    if (commit_time_us <= epoch_us || first >= end) return false;
    end = first;
    return true;
  };
  for (const auto& memtable : std::views::reverse(view.version->memtables)) {
    if (memtable->empty()) continue;
    memtable->ForEachFrame(is_later);
    if (end > memtable->first_lsn()) return Lsn{end.value - 1};
  }
  for (const auto& segment : std::views::reverse(view.version->segments)) {
    const auto times = segment->rows().CommitTimes();
    if (!times.ok()) return NoteDamage(*segment, times.status());
    for (const CommitTime& time : *times) is_later(time.first_lsn, time.commit_time_us);
    if (end > segment->listed().first_lsn) break;
  }
  return Lsn{end.value - 1};
}

}  // namespace tallystick
