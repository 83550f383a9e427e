#include "cli/ingest_sink.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "base/result.h"
#include "cli/http_client.h"
#include "cli/json_rows.h"
#include "cli/source.h"
#include "server/ingest_json.h"
#include "tallystick/db.h"

namespace tallystick {
namespace {

uint64_t Number(const std::string& text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

class HttpSink final : public IngestSink {
 public:
  explicit HttpSink(HttpClient client) : client_(std::move(client)) {}

  Result<SentBatch> Send(const std::vector<std::string>& events) override {
    retry_after_s_ = 1;
    TALLY_ASSIGN_OR_RETURN(
        const HttpResponse response,
        client_.PostJson("/v1/usage/batch",
                         fmt::format(R"({{"events":[{}]}})", fmt::join(events, ",")),
                         "application/json"));
    if (response.status != 200) {
      if (response.retry_after_s > 0) retry_after_s_ = response.retry_after_s;
      return StatusOfProblem(response.status, response.body);
    }
    TALLY_ASSIGN_OR_RETURN(const JsonRows answer, ReadJsonRows(response.body, "outcomes"));
    SentBatch sent{.accepted = Number(Member(answer.top, "accepted")),
                   .duplicates = Number(Member(answer.top, "duplicates")),
                   .conflicts = Number(Member(answer.top, "conflicts")),
                   .rejected = Number(Member(answer.top, "rejected"))};
    for (const JsonRow& row : answer.rows) {
      const std::string& outcome = Member(row, "outcome");
      if (outcome != "rejected" && outcome != "conflict") continue;
      std::string explanation;
      if (outcome == "rejected") {
        explanation = fmt::format("{}: {}", Member(row, "code"), Member(row, "message"));
      }
      sent.faults.push_back(
          {Number(Member(row, "index")), outcome, Member(row, "event_id"), std::move(explanation)});
    }
    return sent;
  }

  uint32_t retry_after_s() const override { return retry_after_s_; }
  Status Close() override { return Status::Ok(); }

 private:
  HttpClient client_;
  uint32_t retry_after_s_ = 1;
};

class DbSink final : public IngestSink {
 public:
  explicit DbSink(Db db) : db_(std::move(db)) {}

  Result<SentBatch> Send(const std::vector<std::string>& events) override {
    Batch batch = db_.NewBatch();
    for (const std::string& event : events) {
      if (auto rejection = parser_.ParseEventLine(event, batch)) {
        batch.AddRejected("", std::move(*rejection));
      }
    }
    TALLY_ASSIGN_OR_RETURN(const IngestResult result, db_.Ingest(std::move(batch)));
    SentBatch sent{.accepted = result.accepted,
                   .duplicates = result.duplicates,
                   .conflicts = result.conflicts,
                   .rejected = result.rejected};
    for (size_t i = 0; i < result.outcomes.size(); ++i) {
      const EventOutcome& outcome = result.outcomes[i];
      const std::string id(result.batch.event_id(i));
      if (outcome.kind == OutcomeKind::kConflict) sent.faults.push_back({i, "conflict", id, ""});
      if (outcome.kind == OutcomeKind::kRejected) {
        const Rejection& why = outcome.rejection;
        sent.faults.push_back({i, "rejected", id, fmt::format("{}: {}", why.code, why.message)});
      }
    }
    return sent;
  }

  uint32_t retry_after_s() const override { return 1; }
  Status Close() override { return db_.Close(); }

 private:
  Db db_;
  EventParser parser_{UnknownFields::kReject};
};

}  // namespace

Result<std::unique_ptr<IngestSink>> IngestSink::Open(const std::string& url,
                                                     const std::string& data) {
  if (!url.empty()) {
    TALLY_ASSIGN_OR_RETURN(HttpClient client, HttpClient::Create(url));
    return std::unique_ptr<IngestSink>(std::make_unique<HttpSink>(std::move(client)));
  }
  OpenOptions options;
  options.log = StderrLog();
  options.flush_on_close_ms_max = 3'600'000;  // so that the next command has nothing to replay
  TALLY_ASSIGN_OR_RETURN(Db db, Db::Open(data, options));
  return std::unique_ptr<IngestSink>(std::make_unique<DbSink>(std::move(db)));
}

}  // namespace tallystick
