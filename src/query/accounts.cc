#include "query/accounts.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <set>
#include <string>

#include "base/result.h"
#include "query/cursor.h"
#include "query/row_filter.h"
#include "query/row_scan.h"
#include "segment/segment_dictionaries.h"

namespace tallystick {
namespace {

constexpr uint64_t kNodeBytes = 80;

class Lister {
 public:
  Lister(const View& view, const AccountsQuery& query, Lsn lsn, std::string after,
         QueryContext& context)
      : view_(view), query_(query), lsn_(lsn), after_(std::move(after)), context_(context) {}

  // The first accounts behind `after`, one more than a page has.
  Status Run() {
    for (uint32_t i = 0; i < view_.version->segments.size(); ++i) {
      const LiveSegment& segment = *view_.version->segments[i];
      if (segment.listed().first_lsn > lsn_) break;
      if (Status status = AddSegment(i, segment); !status.ok()) return NoteDamage(segment, status);
    }
    const std::optional<std::string> all;
    Status status;
    TALLY_RETURN_IF_ERROR(ForEachRowInMemory(
        view_, {.account_id = all, .lsn = lsn_, .columns = 0, .context = &context_},
        [&](const RowAt& at) {
          if (at.disposition == Disposition::kCounted && IsWanted(at.row.account_id)) {
            status = Add(at.row.account_id);
          }
          return status.ok();
        }));
    return status;
  }

  const std::set<std::string, std::less<>>& found() const { return found_; }

 private:
  // Beyond the end of the page nothing is wanted any more.
  bool IsWanted(std::string_view account) const {
    return account.starts_with(query_.prefix) && account > after_ &&
           (!IsFull() || account < *found_.rbegin()) && !found_.contains(account);
  }
  bool IsFull() const { return query_.limit.has_value() && found_.size() > *query_.limit; }

  Status Add(std::string_view account) {
    if (IsFull()) {
      const auto last = std::prev(found_.end());
      context_.Free(kNodeBytes + last->size());
      found_.erase(last);
    }
    found_.emplace(account);
    return context_.Use(kNodeBytes + account.size());
  }

  Status AddSegment(uint32_t index, const LiveSegment& segment) {
    SegmentDictionaries dictionaries(segment.rows());
    const auto text = [&](uint64_t code) -> Result<std::string_view> {
      TALLY_ASSIGN_OR_RETURN(const auto found, dictionaries.Text(SegmentColumn::kAccountId, code));
      return found.value();  // accounts are never absent
    };
    TALLY_ASSIGN_OR_RETURN(const uint64_t codes, dictionaries.CodeCount(SegmentColumn::kAccountId));
    uint64_t begin = 0;
    const std::string_view from = std::max<std::string_view>(query_.prefix, after_);
    for (uint64_t end = codes; begin < end;) {
      const uint64_t middle = begin + (end - begin) / 2;
      TALLY_ASSIGN_OR_RETURN(const std::string_view account, text(middle));
      (account < from ? begin : end) = account < from ? middle + 1 : middle;
    }
    for (uint64_t code = begin; code < codes; ++code) {
      TALLY_RETURN_IF_ERROR(context_.Check());
      TALLY_ASSIGN_OR_RETURN(const std::string_view account, text(code));
      if (!account.starts_with(query_.prefix)) break;
      if (IsFull() && account > *found_.rbegin()) break;
      if (!IsWanted(account)) continue;
      TALLY_ASSIGN_OR_RETURN(const bool counted, HasCountedRow(index, segment, account));
      if (counted) TALLY_RETURN_IF_ERROR(Add(account));
    }
    return Status::Ok();
  }

  Result<bool> HasCountedRow(uint32_t index, const LiveSegment& segment,
                             std::string_view account) const {
    const SegmentInfo& info = segment.rows().info();
    if (info.quarantined == 0 && info.last_lsn <= lsn_) return true;
    TALLY_ASSIGN_OR_RETURN(const RowRange range, segment.rows().RowsOfAccount(account));
    const std::optional<std::string> all;
    TALLY_ASSIGN_OR_RETURN(
        const bool none,
        ForEachRowOf(view_, index, range,
                     {.account_id = all, .lsn = lsn_, .columns = 0, .context = &context_},
                     [](const RowAt& at) { return at.disposition != Disposition::kCounted; }));
    return !none;
  }

  const View& view_;
  const AccountsQuery& query_;
  const Lsn lsn_;
  const std::string after_;  // empty: from the beginning; no account id is empty
  QueryContext& context_;
  std::set<std::string, std::less<>> found_;
};

}  // namespace

Result<AccountsPage> ListAccounts(const View& view, const AccountsQuery& query,
                                  QueryContext& context) {
  AccountsPage page;
  TALLY_ASSIGN_OR_RETURN(page.lsn, ResolveLsn(view, query.as_of_lsn));
  const std::string key = "accounts " + query.prefix;
  const uint64_t hash = XXH3_64bits(key.data(), key.size());
  std::string after;
  if (!query.cursor.empty()) {
    TALLY_ASSIGN_OR_RETURN(Cursor cursor, DecodeCursor(query.cursor, view.incarnation, hash));
    if (query.as_of_lsn.has_value() && *query.as_of_lsn != cursor.as_of) {
      return Status::InvalidArgument("invalid_cursor", "cursor is of another as_of_lsn");
    }
    TALLY_ASSIGN_OR_RETURN(page.lsn, ResolveLsn(view, cursor.as_of));
    after = std::move(cursor.last_text);
  }
  Lister lister(view, query, page.lsn, std::move(after), context);
  TALLY_RETURN_IF_ERROR(lister.Run());
  page.account_ids.assign(lister.found().begin(), lister.found().end());
  if (query.limit.has_value() && page.account_ids.size() > *query.limit) {
    page.account_ids.resize(*query.limit);
    page.next_cursor = EncodeCursor(
        {.as_of = page.lsn, .last_text = page.account_ids.empty() ? "" : page.account_ids.back()},
        view.incarnation, hash);
  }
  return page;
}

}  // namespace tallystick
