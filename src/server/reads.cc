#include "server/reads.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "base/check.h"
#include "base/result.h"
#include "server/json_writer.h"
#include "server/text.h"
#include "server/time_parse.h"

namespace tallystick {
namespace {

constexpr std::string_view kFilterParameters[] = {"meter_id", "model_id", "product_id"};
constexpr std::string_view kDimensionPrefix = "dimensions.";
constexpr uint32_t kConflictsAtOnce = 256;

Result<int64_t> RequireTime(const QueryString& query, std::string_view name) {
  TALLY_ASSIGN_OR_RETURN(const std::string_view text, query.Require(name));
  auto time = ParseTime(text);
  if (!time.ok()) return time.status().WithContext(fmt::format("parameter `{}`", name));
  return *time;
}

Result<std::optional<Lsn>> AsOfLsn(const QueryString& query) {
  TALLY_ASSIGN_OR_RETURN(const std::optional<uint64_t> value,
                         query.GetUint("as_of_lsn", 0, std::numeric_limits<uint64_t>::max()));
  if (!value) return std::optional<Lsn>();
  return std::optional<Lsn>(Lsn{*value});
}

Result<std::vector<Filter>> Filters(const QueryString& query) {
  std::vector<Filter> filters;
  for (const auto& [name, value] : query.parameters()) {
    const bool known =
        std::ranges::find(kFilterParameters, std::string_view(name)) != std::end(kFilterParameters);
    if (!known && !name.starts_with(kDimensionPrefix)) continue;
    TALLY_ASSIGN_OR_RETURN(const auto once, query.Get(name));
    filters.push_back({Field::Parse(name), {std::string(once.value())}});
  }
  return filters;
}

// "meter_id, day": blanks are dropped, so are empty names and repeated ones.
std::vector<Field> ParseGroupBy(std::string_view text) {
  std::vector<Field> fields;
  std::vector<std::string> names;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    const std::string_view name = TrimBlanks(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (name.empty()) continue;
    Field field = Field::Parse(name);
    std::string canonical = field.Name();
    if (std::ranges::find(names, canonical) != names.end()) continue;
    names.push_back(std::move(canonical));
    fields.push_back(std::move(field));
  }
  return fields;
}

Result<Answer> Usage(const Db& db, std::string_view account, const QueryString& parameters) {
  UsageQuery query;
  query.account_id = account;
  TALLY_ASSIGN_OR_RETURN(query.from_ms, RequireTime(parameters, "from"));
  TALLY_ASSIGN_OR_RETURN(query.to_ms, RequireTime(parameters, "to"));
  TALLY_ASSIGN_OR_RETURN(const auto group_by, parameters.Get("group_by"));
  query.group_by = ParseGroupBy(group_by.value_or(""));
  TALLY_ASSIGN_OR_RETURN(query.filters, Filters(parameters));
  TALLY_ASSIGN_OR_RETURN(query.as_of_lsn, AsOfLsn(parameters));
  // `source` says which path computes; both give the same answer, so any value will do.
  TALLY_RETURN_IF_ERROR(parameters.Get("source").status());
  TALLY_ASSIGN_OR_RETURN(const UsageResult result, db.Aggregate(query));
  return Answer::Json(UsageResultToJson(query.group_by, result));
}

Result<Answer> OneEvent(const Db& db, std::string_view event_id, const QueryString& parameters) {
  TALLY_ASSIGN_OR_RETURN(const auto account, parameters.Get("account_id"));
  TALLY_ASSIGN_OR_RETURN(const auto as_of_lsn, AsOfLsn(parameters));
  TALLY_ASSIGN_OR_RETURN(const EventLookup lookup,
                         db.GetEvent(event_id, account.value_or(""), as_of_lsn));
  return Answer::Json(EventLookupToJson(lookup));
}

class EventRows final : public RowStream {
 public:
  EventRows(EventStream events, std::optional<uint64_t> limit)
      : events_(std::move(events)), limit_(limit), paged_(limit.has_value()) {}

  Result<Piece> Next(size_t bytes) override {
    Piece piece;
    if (!begun_) piece.text = R"({"events":[)";
    while (piece.text.size() < bytes) {
      if (limit_ == 0) return Finish(std::move(piece));
      TALLY_ASSIGN_OR_RETURN(const std::optional<Event> event, events_.Next());
      if (!event) return Finish(std::move(piece));
      if (begun_) piece.text += ',';
      begun_ = true;
      AppendEventJson(piece.text, *event);
      if (limit_) --*limit_;
    }
    return piece;
  }

 private:
  Result<Piece> Finish(Piece piece) {
    std::string& out = piece.text;
    out += R"(],"lsn":)";
    AppendJsonUint(out, events_.lsn().value);
    if (paged_) {
      if (const std::string cursor = events_.NextCursor(); !cursor.empty()) {
        out += R"(,"next_cursor":)";
        AppendJsonString(out, cursor);
      }
    }
    out += R"(,"rows":)";
    AppendRowSourcesJson(out, events_.rows());
    out += '}';
    piece.last = true;
    return piece;
  }

  EventStream events_;
  std::optional<uint64_t> limit_;  // events left
  const bool paged_;
  bool begun_ = false;  // an event was written
};

Result<std::unique_ptr<RowStream>> Events(const Db& db, std::string_view account,
                                          const QueryString& parameters) {
  EventsQuery query;
  query.account_id = account;
  TALLY_ASSIGN_OR_RETURN(query.from_ms, RequireTime(parameters, "from"));
  TALLY_ASSIGN_OR_RETURN(query.to_ms, RequireTime(parameters, "to"));
  TALLY_ASSIGN_OR_RETURN(query.filters, Filters(parameters));
  TALLY_ASSIGN_OR_RETURN(query.as_of_lsn, AsOfLsn(parameters));
  TALLY_ASSIGN_OR_RETURN(const auto cursor, parameters.Get("cursor"));
  query.cursor = cursor.value_or("");
  TALLY_ASSIGN_OR_RETURN(const auto limit,
                         parameters.GetUint("limit", 1, std::numeric_limits<uint32_t>::max()));
  TALLY_ASSIGN_OR_RETURN(EventStream events, db.ListEvents(query));
  return std::unique_ptr<RowStream>(std::make_unique<EventRows>(std::move(events), limit));
}

class ConflictRows final : public RowStream {
 public:
  ConflictRows(const Db& db, ConflictsQuery query, std::optional<uint64_t> limit)
      : db_(db), query_(std::move(query)), limit_(limit) {}

  Result<Piece> Next(size_t bytes) override {
    Piece piece;
    if (!begun_) piece.text = R"({"conflicts":[)";
    while (piece.text.size() < bytes) {
      query_.limit = kConflictsAtOnce;
      if (limit_ && *limit_ < kConflictsAtOnce) query_.limit = static_cast<uint32_t>(*limit_);
      TALLY_ASSIGN_OR_RETURN(const ConflictsPage page, db_.ListConflicts(query_));
      for (const Conflict& conflict : page.conflicts) {
        if (begun_) piece.text += ',';
        begun_ = true;
        AppendConflictJson(piece.text, conflict);
      }
      if (limit_) *limit_ -= std::min<uint64_t>(*limit_, page.conflicts.size());
      const bool full = limit_ == 0;
      if (full || page.next_cursor.empty()) return Finish(std::move(piece), page);
      query_.cursor = page.next_cursor;
      query_.as_of_lsn.reset();  // the cursor carries it
    }
    return piece;
  }

 private:
  static Result<Piece> Finish(Piece piece, const ConflictsPage& page) {
    std::string& out = piece.text;
    out += R"(],"lsn":)";
    AppendJsonUint(out, page.lsn.value);
    if (!page.next_cursor.empty()) {
      out += R"(,"next_cursor":)";
      AppendJsonString(out, page.next_cursor);
    }
    out += '}';
    piece.last = true;
    return piece;
  }

  const Db& db_;
  ConflictsQuery query_;
  std::optional<uint64_t> limit_;  // conflicts left
  bool begun_ = false;
};

Result<std::unique_ptr<RowStream>> Conflicts(const Db& db, const QueryString& parameters) {
  ConflictsQuery query;
  TALLY_ASSIGN_OR_RETURN(const auto account, parameters.Get("account_id"));
  if (account) query.account_id = *account;
  TALLY_ASSIGN_OR_RETURN(const auto cursor, parameters.Get("cursor"));
  query.cursor = cursor.value_or("");
  TALLY_ASSIGN_OR_RETURN(query.as_of_lsn, AsOfLsn(parameters));
  TALLY_ASSIGN_OR_RETURN(const auto limit,
                         parameters.GetUint("limit", 1, std::numeric_limits<uint32_t>::max()));
  return std::unique_ptr<RowStream>(std::make_unique<ConflictRows>(db, std::move(query), limit));
}

ReadReply Whole(Result<Answer> answer) {
  if (!answer.ok()) return {Answer::Problem(answer.status()), nullptr};
  return {std::move(*answer), nullptr};
}

ReadReply Streamed(Result<std::unique_ptr<RowStream>> stream) {
  if (!stream.ok()) return {Answer::Problem(stream.status()), nullptr};
  return {Answer(), std::move(*stream)};
}

}  // namespace

ReadReply RunRead(const Db& db, Route route, std::string_view parameter, const QueryString& query) {
  switch (route) {
    case Route::kUsage:
      return Whole(Usage(db, parameter, query));
    case Route::kEvent:
      return Whole(OneEvent(db, parameter, query));
    case Route::kEvents:
      return Streamed(Events(db, parameter, query));
    case Route::kConflicts:
      return Streamed(Conflicts(db, query));
    default:
      break;
  }
  TALLY_CHECK(false);  // the other routes read nothing
}

}  // namespace tallystick
