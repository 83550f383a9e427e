#include "server/list_reads.h"

#include <algorithm>
#include <limits>

#include "base/result.h"
#include "server/csv_writer.h"
#include "server/json_writer.h"
#include "server/read_parameters.h"

namespace tallystick {
namespace {

constexpr uint32_t kConflictsAtOnce = 256;
// A page of CSV is made before it is sent, since its cursor is in the answer's head.
constexpr uint64_t kCsvPageMax = 100'000;

Result<std::optional<uint64_t>> ParseLimit(const ReadRequest& request, RowFormat format) {
  return request.query.GetUint(
      "limit", 1, format == RowFormat::kCsv ? kCsvPageMax : std::numeric_limits<uint32_t>::max());
}

void AppendCursorField(std::string& out, std::string_view cursor) {
  if (!cursor.empty()) AppendJsonTextField(out, "next_cursor", cursor);
}

class ConflictRows final : public RowSource {
 public:
  ConflictRows(const Db& db, ConflictsQuery query, std::optional<uint64_t> limit)
      : db_(db), query_(std::move(query)), limit_(limit) {}

  Result<bool> AppendNext(std::string& out) override {
    while (next_ == page_.conflicts.size()) {
      const bool over = begun_ && (limit_ == 0 || page_.next_cursor.empty());
      if (over) return false;
      TALLY_RETURN_IF_ERROR(ReadPage());
    }
    AppendConflictJson(out, page_.conflicts[next_++]);
    return true;
  }

  void AppendTail(std::string& out) const override {
    AppendJsonUintField(out, "lsn", page_.lsn.value);
    AppendCursorField(out, page_.next_cursor);
  }

 private:
  Status ReadPage() {
    if (begun_) {
      query_.cursor = page_.next_cursor;
      query_.as_of_lsn.reset();  // the cursor carries it
    }
    begun_ = true;
    query_.limit = static_cast<uint32_t>(
        std::min<uint64_t>(limit_.value_or(kConflictsAtOnce), kConflictsAtOnce));
    TALLY_ASSIGN_OR_RETURN(page_, db_.ListConflicts(query_));
    next_ = 0;
    if (limit_) *limit_ -= std::min<uint64_t>(*limit_, page_.conflicts.size());
    return Status::Ok();
  }

  const Db& db_;
  ConflictsQuery query_;
  std::optional<uint64_t> limit_;  // conflicts that are not read yet
  bool begun_ = false;
  ConflictsPage page_;
  size_t next_ = 0;  // of the page
};

class AccountRows final : public RowSource {
 public:
  AccountRows(AccountsPage page, RowFormat format) : page_(std::move(page)), format_(format) {}

  Result<bool> AppendNext(std::string& out) override {
    if (next_ == page_.account_ids.size()) return false;
    const std::string& account = page_.account_ids[next_++];
    if (format_ == RowFormat::kCsv) {
      AppendCsvText(out, account);
      out += kCsvLineEnd;
    } else {
      out += '{';
      AppendJsonTextField(out, "account_id", account);
      out += '}';
    }
    return true;
  }

  void AppendTail(std::string& out) const override {
    AppendJsonUintField(out, "lsn", page_.lsn.value);
    AppendCursorField(out, page_.next_cursor);
  }

  std::string NextCursor() const override { return page_.next_cursor; }

 private:
  const AccountsPage page_;
  const RowFormat format_;
  size_t next_ = 0;
};

}  // namespace

std::string EventRows::Head(RowFormat format, std::string_view name) {
  std::string head;
  if (format == RowFormat::kCsv) {
    AppendEventCsvHeader(head);
  } else {
    head = "{";
    AppendJsonKey(head, name);
    head += '[';
  }
  return head;
}

Result<bool> EventRows::AppendNext(std::string& out) {
  if (limit_ == 0) return false;
  TALLY_ASSIGN_OR_RETURN(const std::optional<Event> event, events_.Next());
  if (!event) return false;
  if (limit_) --*limit_;
  if (format_ == RowFormat::kCsv) {
    AppendEventCsv(out, *event);
  } else {
    AppendEventJson(out, *event);
  }
  return true;
}

void EventRows::AppendTail(std::string& out) const {
  AppendJsonUintField(out, "lsn", events_.lsn().value);
  AppendCursorField(out, NextCursor());
  AppendJsonKey(out, "rows");
  AppendRowSourcesJson(out, events_.rows());
}

Result<Listing> ReadEvents(const ReadRequest& request, ReadReply& reply) {
  const QueryString& parameters = request.query;
  const RowFormat format = request.context.format;
  EventsQuery query;
  query.account_id = request.parameter;
  query.cancelled = request.context.cancelled;
  TALLY_ASSIGN_OR_RETURN(query.from_ms, RequireTime(parameters, "from"));
  TALLY_ASSIGN_OR_RETURN(query.to_ms, RequireTime(parameters, "to"));
  TALLY_ASSIGN_OR_RETURN(query.filters, ParseFilters(parameters));
  TALLY_ASSIGN_OR_RETURN(const auto cursor, parameters.Get("cursor"));
  query.cursor = cursor.value_or("");
  TALLY_ASSIGN_OR_RETURN(const auto limit, ParseLimit(request, format));
  TALLY_ASSIGN_OR_RETURN(const ReadPoint point, ParseReadPoint(parameters));
  TALLY_ASSIGN_OR_RETURN(query.as_of_lsn, ResolveReadPoint(request.db, point, reply.awaited));
  TALLY_ASSIGN_OR_RETURN(EventStream events, request.db.ListEvents(query));
  const Lsn lsn = events.lsn();
  return Listing{.format = format,
                 .head = EventRows::Head(format, "events"),
                 .rows = std::make_unique<EventRows>(std::move(events), format, limit),
                 .lsn = lsn,
                 .paged = limit.has_value()};
}

Result<Listing> ReadConflicts(const ReadRequest& request, ReadReply& reply) {
  const QueryString& parameters = request.query;
  ConflictsQuery query;
  TALLY_ASSIGN_OR_RETURN(const auto account, parameters.Get("account_id"));
  if (account) query.account_id = *account;
  TALLY_ASSIGN_OR_RETURN(const auto cursor, parameters.Get("cursor"));
  query.cursor = cursor.value_or("");
  TALLY_ASSIGN_OR_RETURN(const auto limit, ParseLimit(request, RowFormat::kJson));
  TALLY_ASSIGN_OR_RETURN(const ReadPoint point, ParseReadPoint(parameters));
  TALLY_ASSIGN_OR_RETURN(query.as_of_lsn, ResolveReadPoint(request.db, point, reply.awaited));
  return Listing{.head = R"({"conflicts":[)",
                 .rows = std::make_unique<ConflictRows>(request.db, std::move(query), limit)};
}

Result<Listing> ReadAccounts(const ReadRequest& request, ReadReply& reply) {
  const QueryString& parameters = request.query;
  const RowFormat format = request.context.format;
  AccountsQuery query;
  query.cancelled = request.context.cancelled;
  TALLY_ASSIGN_OR_RETURN(const auto prefix, parameters.Get("prefix"));
  query.prefix = prefix.value_or("");
  TALLY_ASSIGN_OR_RETURN(const auto cursor, parameters.Get("cursor"));
  query.cursor = cursor.value_or("");
  TALLY_ASSIGN_OR_RETURN(const auto limit, ParseLimit(request, format));
  if (limit) query.limit = static_cast<uint32_t>(*limit);
  TALLY_ASSIGN_OR_RETURN(const ReadPoint point, ParseReadPoint(parameters));
  TALLY_ASSIGN_OR_RETURN(query.as_of_lsn, ResolveReadPoint(request.db, point, reply.awaited));
  TALLY_ASSIGN_OR_RETURN(AccountsPage page, request.db.ListAccounts(query));
  const Lsn lsn = page.lsn;
  return Listing{.format = format,
                 .head = format == RowFormat::kCsv ? "account_id\r\n" : R"({"accounts":[)",
                 .rows = std::make_unique<AccountRows>(std::move(page), format),
                 .lsn = lsn,
                 .paged = limit.has_value()};
}

}  // namespace tallystick
