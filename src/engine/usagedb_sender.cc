#include "engine/usagedb_sender.h"

#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "model/batch_builder.h"

namespace tallystick {

UsageDbSender::UsageDbSender(Db& db, Clock& clock, uint32_t batch_events, uint32_t trouble_wait_ms,
                             OnOutcome on_outcome)
    : db_(db),
      clock_(clock),
      batch_events_(batch_events),
      trouble_wait_us_(int64_t{trouble_wait_ms} * 1000),
      on_outcome_(std::move(on_outcome)),
      batch_(db.NewBatch()) {}

UsageDbSender::~UsageDbSender() {
  MutexLock lock(mutex_);
  while (answered_.size() < sent_.size()) changed_.Wait(mutex_);
}

Status UsageDbSender::Add(const EventView& event, const Row& row) {
  batch_.Add(event);
  rows_.push_back(row);
  if (rows_.size() < batch_events_ && batch_.encoded_bytes() < kBatchBytes) return Status::Ok();
  return Send();
}

Status UsageDbSender::Finish() {
  TALLY_RETURN_IF_ERROR(Send());
  while (!sent_.empty()) TALLY_RETURN_IF_ERROR(TakeAnswer());
  return Status::Ok();
}

Status UsageDbSender::Send() {
  if (rows_.empty()) return Status::Ok();
  while (sent_.size() >= kInFlightMax) TALLY_RETURN_IF_ERROR(TakeAnswer());
  const uint64_t number = next_number_++;
  sent_.emplace(number, Sent{std::exchange(batch_, db_.NewBatch()), std::exchange(rows_, {})});
  SendBatch(number, sent_.at(number).copy);
  return Status::Ok();
}

void UsageDbSender::SendBatch(uint64_t number, const Batch& batch) {
  db_.IngestAsync(BatchBuilder::Copy(batch), [this, number](Result<IngestResult> result) {
    MutexLock lock(mutex_);
    answered_.push_back({number, std::move(result)});
    changed_.NotifyOne();
  });
}

Status UsageDbSender::TakeAnswer() {
  std::optional<Answered> answer;
  {
    MutexLock lock(mutex_);
    while (answered_.empty()) changed_.Wait(mutex_);
    answer = std::move(answered_.front());
    answered_.pop_front();
  }
  if (!answer->result.ok()) return SendAgain(answer->number, answer->result.status());
  const auto node = sent_.extract(answer->number);
  const IngestResult& result = *answer->result;
  const std::vector<Row>& rows = node.mapped().rows;
  TALLY_CHECK(result.outcomes.size() == rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    on_outcome_({rows[i], result.batch.event_id(i), result.outcomes[i]});
  }
  return Status::Ok();
}

// Why what would end the refusal fails; ok while nothing is known to.
Status UsageDbSender::TroubleBehind(const Status& refusal, const DbStatus& status) {
  const std::string_view reason = refusal.reason();
  if (reason == "log_unavailable") return refusal;
  if (reason == "dedupe_rebuilding" || reason == "memory_full") return status.sidecar_rebuild;
  if (reason == "compaction_behind") return status.compaction;
  return Status::Ok();
}

// What passes by itself is waited for; what does not ends the import.
Status UsageDbSender::SendAgain(uint64_t number, const Status& refusal) {
  const auto passes = [](const Status& status) {
    return status.code() == StatusCode::kUnavailable && status.reason() != "log_poisoned";
  };
  Status state = refusal;
  int64_t last_well_us = clock_.MonotonicMicros();
  while (passes(state)) {
    const DbStatus status = db_.GetStatus();
    if (!status.flush.ok()) {
      state = status.flush;
      break;
    }
    const Status trouble = TroubleBehind(state, status);
    const int64_t now_us = clock_.MonotonicMicros();
    if (trouble.ok()) last_well_us = now_us;
    if (now_us - last_well_us > trouble_wait_us_) {
      state = trouble;
      break;
    }
    clock_.SleepMicros(kPauseMicros);
    state = db_.Ready();
  }
  if (state.ok()) {
    SendBatch(number, sent_.at(number).copy);
    return state;
  }
  sent_.erase(number);
  return state;
}

}  // namespace tallystick
