#include "query/conflicts.h"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

#include "base/result.h"
#include "query/cursor.h"
#include "query/key_lookup.h"
#include "query/quarantine.h"
#include "query/row_filter.h"

namespace tallystick {
namespace {

uint64_t QueryHash(const ConflictsQuery& query) {
  std::string text = "conflicts";
  if (query.account_id.has_value()) text += '=' + *query.account_id;
  return XXH3_64bits(text.data(), text.size());
}

Result<Conflict> ToConflict(const View& view, const FoundRow& row) {
  Conflict conflict;
  conflict.lsn = row.lsn;
  TALLY_ASSIGN_OR_RETURN(conflict.event, ReadEvent(view, row));
  TALLY_ASSIGN_OR_RETURN(const auto original, FindEvent(view, conflict.event.account_id,
                                                        conflict.event.event_id, row.lsn));
  if (!original.has_value()) {
    return Status::Corruption(
        fmt::format("LSN {} is a conflict without an original", row.lsn.value));
  }
  conflict.original_lsn = original->lsn;
  return conflict;
}

}  // namespace

Result<ConflictsPage> ListConflicts(const View& view, const ConflictsQuery& query) {
  TALLY_ASSIGN_OR_RETURN(Lsn lsn, ResolveLsn(view, query.as_of_lsn));
  const uint64_t hash = QueryHash(query);
  Lsn after{0};
  if (!query.cursor.empty()) {
    TALLY_ASSIGN_OR_RETURN(const Cursor cursor, DecodeCursor(query.cursor, view.incarnation, hash));
    if (query.as_of_lsn.has_value() && *query.as_of_lsn != cursor.as_of) {
      return Status::InvalidArgument("invalid_cursor", "cursor is of another as_of_lsn");
    }
    TALLY_ASSIGN_OR_RETURN(lsn, ResolveLsn(view, cursor.as_of));
    after = cursor.last_lsn;
  }
  ConflictsPage page;
  page.lsn = lsn;
  bool more = false;
  TALLY_ASSIGN_OR_RETURN(const std::vector<FoundRow> rows,
                         FindQuarantined(view, std::nullopt, {}, lsn));
  for (const FoundRow& row : rows) {
    if (row.lsn <= after) continue;
    TALLY_ASSIGN_OR_RETURN(Conflict conflict, ToConflict(view, row));
    if (query.account_id.has_value() && conflict.event.account_id != *query.account_id) continue;
    if (query.limit.has_value() && page.conflicts.size() == *query.limit) {
      more = true;
      break;
    }
    page.conflicts.push_back(std::move(conflict));
  }
  if (more) {
    const Lsn last = page.conflicts.empty() ? after : page.conflicts.back().lsn;
    page.next_cursor = EncodeCursor({lsn, 0, last}, view.incarnation, hash);
  }
  return page;
}

}  // namespace tallystick
