#include "testing/machine.h"

#include <memory>
#include <optional>

#include "base/check.h"

namespace tallystick {

Machine::Machine(uint64_t seed, const OpenOptions& options)
    : seed_(seed),
      options_(options),
      fs_(std::make_unique<SimFs>(seed)),
      clock_(std::make_unique<SimClock>()) {}

Machine::Machine(const Machine& other, std::unique_ptr<SimFs> fs)
    : seed_(other.seed_),
      lives_(other.lives_),
      options_(other.options_),
      fs_(std::move(fs)),
      clock_(std::make_unique<SimClock>(*other.clock_)) {}

Machine::Machine(Machine&&) noexcept = default;

Machine::~Machine() {
  if (fs_ != nullptr) Halt();
}

Machine Machine::Fork() const {
  TALLY_CHECK(db_ == nullptr);
  return Machine(*this, fs_->Clone());
}

Status Machine::Open() {
  TALLY_CHECK(db_ == nullptr);
  FileSystem& fs = front_ != nullptr ? *front_ : *fs_;
  env_ = std::make_unique<SimEnv>(fs, *clock_, NextSeed());
  options_.env = env_.get();
  auto db = Db::Open("data", options_);
  if (!db.ok()) return db.status();
  db_ = std::make_unique<Db>(std::move(db).value());
  return Status::Ok();
}

Result<Lsn> Machine::LsnAt(int64_t at_us) {
  const auto settled = std::make_shared<std::optional<Status>>();
  db_->SettleTime(at_us, [settled](const Status& status) { *settled = status; });
  RunUntilIdle();
  if (!settled->has_value()) return Status::Unavailable("not_settled", "the log takes nothing");
  if (!(*settled)->ok()) return **settled;
  return db_->LsnAt(at_us);
}

Batch Machine::MakeBatch(const std::vector<Event>& events) {
  Batch batch = db_->NewBatch();
  for (const Event& event : events) batch.Add(EventAsView(event).view());
  return batch;
}

Result<IngestResult> Machine::Ingest(const std::vector<Event>& events) {
  std::optional<Result<IngestResult>> answer;
  db_->IngestAsync(MakeBatch(events),
                   [&](Result<IngestResult> result) { answer = std::move(result); },
                   {.originals = true});
  const bool answered = env_->executor().RunUntil([&] { return answer.has_value(); });
  // What is still queued would be answered later, into this frame.
  if (!answered) return Status::Unavailable("unanswered", "the engine rests and has not answered");
  return *std::move(answer);
}

Result<IngestResult> Machine::IngestInTheEnd(const std::vector<Event>& events) {
  auto answer = Ingest(events);
  for (int i = 0; i < 10 && answer.status().code() == StatusCode::kUnavailable; ++i) {
    clock_->Advance(5'000'000);
    RunUntilIdle();
    answer = Ingest(events);
  }
  return answer;
}

std::string Machine::Run(const ScenarioStep& step, ReferenceModel& model, bool refusals_allowed) {
  if (step.kind == ScenarioStep::Kind::kIdle) {
    RunUntilIdle();
    return "";
  }
  if (step.kind == ScenarioStep::Kind::kReopen) {
    Status status = Close();
    if (status.ok() && !crashed()) status = Open();
    return status.ok() || crashed() || refusals_allowed ? "" : "reopen: " + status.ToString();
  }
  struct Answers {
    size_t count = 0;
    std::string wrong;
  };
  auto answers = std::make_shared<Answers>();
  for (const auto& request : step.requests) {
    model.Sent(request);
    auto answered = [&, answers, request](Result<IngestResult> result) {
      ++answers->count;
      if (crashed() || !answers->wrong.empty()) return;
      if (result.ok()) {
        answers->wrong = model.Answered(request, *result);
      } else if (!refusals_allowed) {
        answers->wrong = "refused: " + result.status().ToString();
      }
    };
    db_->IngestAsync(MakeBatch(request), std::move(answered), {.originals = true});
  }
  const bool all =
      env_->executor().RunUntil([&] { return answers->count == step.requests.size(); });
  if (!all && !crashed() && answers->wrong.empty()) return "the engine rests and has not answered";
  return answers->wrong;
}

void Machine::RunUntilIdle() { env_->executor().RunUntilIdle(); }

void Machine::CrashAfter(uint64_t operations, uint64_t draw) {
  // Each crash point draws its own partial effect, though all begin with one seed.
  fs_->CrashAt(fs_->operations() + operations - 1,
               NextSeed() ^ ((operations + (draw << 32)) * 0x9e3779b97f4a7c15));
}

void Machine::Halt() {
  if (!fs_->crashed()) {
    fs_->CrashAt(fs_->operations(), 0);
    IgnoreError(fs_->Exists("data").status(), "the last operation, without effect");
  }
  Leave();
}

void Machine::Leave() {
  if (db_ != nullptr) compactions_ += db_->GetStatus().compactions;
  db_.reset();
  env_.reset();
}

void Machine::Restart(CrashKind kind, uint64_t seed) {
  TALLY_CHECK(db_ == nullptr);
  fs_->Restart(kind, seed);
}

Status Machine::Close() {
  Status status = db_->Close();
  Leave();
  return status;
}

}  // namespace tallystick
