// UsageDbSender: sends events to a database in batches, several of them in flight, and hands every
// outcome back in the caller's thread. What the database refuses for now is sent again; but where
// what it waits for fails, over and over, that is waited for `trouble_wait_ms` at most.
//
// Events in flight must not depend on each other's order: batches may be committed in another one.
//
// Thread rule: one thread at a time.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "engine/usagedb_survey.h"
#include "env/env.h"
#include "tallystick/db.h"

namespace tallystick {

class UsageDbSender {
 public:
  // What its outcome will be judged by.
  struct Row {
    RowFate fate = RowFate::kFirst;
    UsageTotal* already = nullptr;  // of its account and meter: what was there before
    Quantity quantity;
  };
  struct Outcome {
    const Row& row;
    std::string_view event_id;
    const EventOutcome& outcome;
  };
  using OnOutcome = std::function<void(const Outcome&)>;

  UsageDbSender(Db& db, Clock& clock, uint32_t batch_events, uint32_t trouble_wait_ms,
                OnOutcome on_outcome);
  ~UsageDbSender();  // waits for what is in flight

  Status Add(const EventView& event, const Row& row);
  // Sends what is left and waits for everything.
  Status Finish();

 private:
  static constexpr size_t kInFlightMax = 16;
  static constexpr size_t kBatchBytes = 1 << 20;
  static constexpr int64_t kPauseMicros = 1000;

  struct Sent {
    Batch copy;  // for sending it again
    std::vector<Row> rows;
  };
  struct Answered {
    uint64_t number;
    Result<IngestResult> result;
  };

  Status Send();
  void SendBatch(uint64_t number, const Batch& batch);
  Status TakeAnswer();
  Status SendAgain(uint64_t number, const Status& refusal);
  static Status TroubleBehind(const Status& refusal, const DbStatus& status);

  Db& db_;
  Clock& clock_;
  const uint32_t batch_events_;
  const int64_t trouble_wait_us_;
  const OnOutcome on_outcome_;
  Batch batch_;
  std::vector<Row> rows_;
  std::map<uint64_t, Sent> sent_;
  uint64_t next_number_ = 1;

  Mutex mutex_;
  CondVar changed_;
  std::deque<Answered> answered_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
