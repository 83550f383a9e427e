// A simulated machine with one database on it: runs scenarios, crashes at a chosen file operation,
// restarts.
//
// Answers count only while the machine runs: what the engine says after the crash nobody hears.
// Thread rule: one thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tallystick/db.h"
#include "testing/reference_model.h"
#include "testing/scenario.h"
#include "testing/sim_env.h"
#include "testing/sim_fs.h"

namespace tallystick {

class Machine {
 public:
  Machine(uint64_t seed, const OpenOptions& options);
  Machine(Machine&&) noexcept;
  Machine& operator=(Machine&&) = delete;
  ~Machine();

  // An independent machine in the same state. REQUIRES: halted, or never opened.
  Machine Fork() const;

  // The file system that the database is opened on; a test may put another in front of the
  // simulated one.
  void SetFileSystem(FileSystem* front) { front_ = front; }

  Status Open();
  bool is_open() const { return db_ != nullptr; }
  Db& db() { return *db_; }
  // A step of a scenario, its answers held against the model. Empty, or what is wrong. A crash is
  // not wrong, nor is a refusal where `refusals_allowed`: it leaves the events "maybe".
  std::string Run(const ScenarioStep& step, ReferenceModel& model, bool refusals_allowed = false);
  Result<IngestResult> Ingest(const std::vector<Event>& events);
  // The same, sent again while it is refused with kUnavailable (the flusher is behind, a sidecar is
  // being rebuilt), ten times at most; time passes between the attempts.
  Result<IngestResult> IngestInTheEnd(const std::vector<Event>& events);
  // Db::LsnAt, which would wait for steps that run in this thread. kUnavailable: not settled.
  Result<Lsn> LsnAt(int64_t at_us);
  Batch MakeBatch(const std::vector<Event>& events);
  void RunUntilIdle();

  // The machine stops in the operation that comes after `operations - 1` more; `draw` chooses among
  // its partial effects.
  void CrashAfter(uint64_t operations, uint64_t draw = 0);
  bool crashed() const { return fs_->crashed(); }
  // The process is gone: nothing that the engine still does reaches a file.
  void Halt();
  // REQUIRES: halted.
  void Restart(CrashKind kind, uint64_t seed);
  // Closed in order.
  Status Close();

  // Merges of all lives that have ended.
  uint64_t compactions() const { return compactions_; }
  uint64_t operations() const { return fs_->operations(); }
  SimFs& fs() { return *fs_; }
  SimClock& clock() { return *clock_; }
  SimExecutor& executor() { return env_->executor(); }
  const OpenOptions& options() const { return options_; }
  void SetOptions(const OpenOptions& options) { options_ = options; }

 private:
  Machine(const Machine& other, std::unique_ptr<SimFs> fs);
  void Leave();
  uint64_t NextSeed() { return ++lives_ * 0x9e3779b97f4a7c15 + seed_; }

  uint64_t seed_;
  uint64_t lives_ = 0;
  uint64_t compactions_ = 0;
  OpenOptions options_;
  std::unique_ptr<SimFs> fs_;
  FileSystem* front_ = nullptr;
  std::unique_ptr<SimClock> clock_;
  std::unique_ptr<SimEnv> env_;
  std::unique_ptr<Db> db_;
};

}  // namespace tallystick
