#include "engine/scrubber.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace tallystick {
namespace {

constexpr int64_t kNoLogMicros = 1'000'000;
constexpr size_t kFindingsKept = 16;

}  // namespace

StepResult Scrubber::Step() {
  const int64_t now_us = clock_.MonotonicMicros();
  if (pass_ == nullptr) {
    if (!TakeDue(now_us)) return StepResult::WaitUntil(next_pass_us_);
    Begin(now_us);
  }
  if (now_us < resume_us_) return StepResult::WaitUntil(resume_us_);
  // Right after the start ingest may come to depend on a sidecar that nobody has looked at.
  const bool soon = pass_->in_siblings() && first_;
  const uint64_t rate =
      soon ? options_.background_bytes_per_second : options_.scrub_bytes_per_second;
  const uint64_t before = pass_->bytes();
  const ScrubPass::Outcome outcome = pass_->Step();
  const uint64_t bytes = pass_->bytes() - before;
  const uint64_t pause_us = rate == 0 ? 0 : bytes * 1'000'000 / rate;
  resume_us_ = clock_.MonotonicMicros() + static_cast<int64_t>(pause_us);
  Note();
  if (outcome == ScrubPass::Outcome::kNoLogYet) {
    resume_us_ += kNoLogMicros;
  } else if (outcome == ScrubPass::Outcome::kDone) {
    End();
  }
  return StepResult::Again();
}

bool Scrubber::TakeDue(int64_t now_us) {
  MutexLock lock(mutex_);
  return std::exchange(asked_, false) || now_us >= next_pass_us_;
}

void Scrubber::Begin(int64_t now_us) {
  next_pass_us_ = now_us + static_cast<int64_t>(options_.scrub_interval_s) * 1'000'000;
  pass_faults_ = 0;
  pass_ = std::make_unique<ScrubPass>(sources_,
                                      [this](const ScrubFinding& finding) { Found(finding); });
  Note();
}

void Scrubber::Found(const ScrubFinding& finding) {
  ++pass_faults_;
  {
    MutexLock lock(mutex_);
    ++status_.faults;
    if (status_.findings.size() == kFindingsKept) status_.findings.erase(status_.findings.begin());
    status_.findings.push_back(finding);
    status_.findings.back().found_ms = clock_.WallMicros() / 1000;
  }
  const std::string at =
      finding.offset.has_value() ? fmt::format(" at offset {}", *finding.offset) : "";
  Log(LogLevel::kError, fmt::format("scrub: {}{}: {}", finding.file, at, finding.what));
}

void Scrubber::Note() {
  MutexLock lock(mutex_);
  status_.running = true;
  status_.file = pass_->file();
  status_.pass_bytes = pass_->bytes();
  status_.pass_bytes_expected = std::max(pass_->bytes(), pass_->bytes_expected());
  status_.files = files_before_ + pass_->files();
  status_.bytes = bytes_before_ + pass_->bytes();
}

void Scrubber::End() {
  first_ = false;
  files_before_ += pass_->files();
  bytes_before_ += pass_->bytes();
  Log(pass_faults_ == 0 ? LogLevel::kInfo : LogLevel::kError,
      fmt::format("scrub: {} files and {} bytes were read, {} faults", pass_->files(),
                  pass_->bytes(), pass_faults_));
  pass_ = nullptr;
  MutexLock lock(mutex_);
  status_.running = false;
  status_.file.clear();
  ++status_.passes;
  status_.last_pass_faults = pass_faults_;
  status_.last_pass_ended_ms = clock_.WallMicros() / 1000;
}

Status Scrubber::Ask() {
  if (options_.scrub_bytes_per_second == 0) {
    return Status::FailedPrecondition("scrub_off", "scrub_bytes_per_second is 0");
  }
  {
    MutexLock lock(mutex_);
    asked_ = true;
  }
  if (wake_) wake_();
  return Status::Ok();
}

ScrubStatus Scrubber::Read() const {
  MutexLock lock(mutex_);
  return status_;
}

}  // namespace tallystick
