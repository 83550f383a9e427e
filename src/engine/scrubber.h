// Scrubber: reads every file of the database again and again, slowly, so that damage to what nobody
// asks for is found while there is a backup to go back to.
//
// A pass begins right after the start, then scrub_interval_s after the last one began, and when
// somebody asks for one. What a pass reads and what it does about damage: scrub_pass.h.
//
// Thread rule: Step by the executor, never twice at once; the rest from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/mutex.h"
#include "engine/scrub_pass.h"

namespace tallystick {

class Scrubber {
 public:
  explicit Scrubber(const ScrubSources& sources)
      : sources_(sources), options_(sources.options), clock_(sources.env.clock()) {}

  StepResult Step();  // REQUIRES: scrub_bytes_per_second > 0
  void SetWake(std::function<void()> wake) { wake_ = std::move(wake); }

  // Another pass begins at once, or as soon as the one that runs has ended.
  // kFailedPrecondition `scrub_off` where scrub_bytes_per_second is 0.
  Status Ask();
  ScrubStatus Read() const;

 private:
  bool TakeDue(int64_t now_us);
  void Begin(int64_t now_us);
  void End();
  void Found(const ScrubFinding& finding);
  void Note();
  void Log(LogLevel level, const std::string& text) const {
    if (options_.log) options_.log(level, text);
  }

  const ScrubSources sources_;
  const OpenOptions& options_;
  Clock& clock_;
  std::function<void()> wake_;

  // Owned by the step.
  std::unique_ptr<ScrubPass> pass_;
  bool first_ = true;  // no pass has ended yet
  int64_t next_pass_us_ = 0;
  int64_t resume_us_ = 0;  // what was read is paid for then
  uint64_t pass_faults_ = 0;
  uint64_t files_before_ = 0;  // of the passes that have ended
  uint64_t bytes_before_ = 0;

  mutable Mutex mutex_;
  bool asked_ GUARDED_BY(mutex_) = false;
  ScrubStatus status_ GUARDED_BY(mutex_);
};

}  // namespace tallystick
