#include "testing/flush_protocol_disk.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "testing/model_result.h"

namespace tallystick::flush_protocol {

void Create(File& file) {
  file.old |= file.inode;
  file.visible = kPart;
  file.inode = kPart;
}

void WriteWhole(File& file) {
  file.visible = kWhole;
  file.inode = kPart | kRotten | kWhole;
}

void Sync(File& file) { file.inode = file.visible; }

void Remove(File& file) {
  file.old |= file.inode;
  file.visible = kNone;
  file.inode = kNone;
  if (file.old == kNone) file.old = 0;
}

void Rename(File& from, File& to) {
  to.old |= to.inode;
  to.visible = from.visible;
  to.inode = from.inode;
  Remove(from);
}

void SyncLogDir(State& state) {
  for (Log& log : state.logs) log.file.old = 0;
  ForgetGone(state);
}

void SyncSegmentDir(State& state) {
  for (Segment& segment : state.segments) {
    segment.rows_file.old = 0;
    segment.keys_file.old = 0;
    segment.temporary.old = 0;
  }
  ForgetGone(state);
}

void RenameManifest(State& state, const Manifest& manifest) {
  TALLY_CHECK(state.manifest_count < kManifests);
  state.manifests[state.manifest_count++] = manifest;
}

void SyncManifestDir(State& state) { SettleManifests(state); }

namespace {

bool Gone(const File& file) { return file.inode == kNone && file.old == 0; }

}  // namespace

void ForgetGone(State& state) {
  for (Log& log : state.logs) {
    if (Gone(log.file)) log = Log{};
  }
  for (int number = 1; number <= kSegments; ++number) {
    Segment& segment = state.segments[number];
    if (!Gone(segment.rows_file) || !Gone(segment.keys_file) || !Gone(segment.temporary)) continue;
    segment = Segment{};
    state.promised_sidecars &= ~Bit(number);
  }
}

void Kill(State& state) {
  state.mode = Mode::kDown;
  state.process = Process{};
}

namespace {

// Everything that a power cut decides, as the digits of one number.
class PowerCut {
 public:
  explicit PowerCut(const State& state) : before_(state) {
    for (int number = 1; number <= kLogs; ++number) {
      Count(state.logs[number].file);
      if (state.logs[number].unsynced != 0) codes_ *= 2;
    }
    for (const Segment& segment : state.segments) {
      Count(segment.rows_file);
      Count(segment.keys_file);
      Count(segment.temporary);
    }
    for (int i = 2; i < state.manifest_count; ++i) codes_ *= 2;
  }

  int codes() const { return codes_; }

  State Outcome(int code) {
    rest_ = code;
    State after = before_;
    for (int number = 1; number <= kLogs; ++number) {
      Log& log = after.logs[number];
      Decide(log.file);
      if (log.unsynced == 0) continue;
      if (Digit(2) == 0) log.rows[log.unsynced] = 0;
      log.unsynced = 0;
    }
    for (Segment& segment : after.segments) {
      Decide(segment.rows_file);
      Decide(segment.keys_file);
      Decide(segment.temporary);
    }
    DecideManifests(after);
    Kill(after);
    ForgetGone(after);
    return after;
  }

 private:
  static uint8_t Choices(const File& file) { return file.inode | file.old; }
  void Count(const File& file) { codes_ *= std::popcount(Choices(file)); }
  int Digit(int options) {
    const int digit = rest_ % options;
    rest_ /= options;
    return digit;
  }

  void Decide(File& file) {
    uint8_t choices = Choices(file);
    for (int skip = Digit(std::popcount(choices)); skip > 0; --skip) choices &= choices - 1;
    const auto left = static_cast<uint8_t>(choices & -choices);
    file = {left, left, 0};
  }

  void DecideManifests(State& after) {
    after.manifest_count = 2;
    for (int i = 2; i < before_.manifest_count; ++i) {
      if (Digit(2) == 0) continue;
      after.manifests[0] = after.manifests[1];
      after.manifests[1] = before_.manifests[i];
    }
    for (int i = 2; i < kManifests; ++i) after.manifests[i] = Manifest{};
  }

  const State& before_;
  int codes_ = 1;
  int rest_ = 0;
};

}  // namespace

void ForEachPowerCut(const State& state, const std::function<void(const State&)>& outcome) {
  PowerCut cut(state);
  for (int code = 0; code < cut.codes(); ++code) outcome(cut.Outcome(code));
}

namespace {

class Planner {
 public:
  Planner(const State& state, BrokenFlushRule rule) : state_(state), rule_(rule) {}

  Plan Run() {
    const Manifest* manifest = &state_.Newest();
    if (manifest->damaged != 0 && rule_ == BrokenFlushRule::kOlderManifestTaken) --manifest;
    if (manifest->damaged != 0) {
      plan_.refused = "the newest manifest does not verify";
      return plan_;
    }
    plan_.next = *manifest;
    plan_.next.log_count = 0;
    plan_.next.logs = {};
    for (int i = 0; i < manifest->run_count; ++i) ReadSegment(manifest->runs[i]);
    if (plan_.last != manifest->flushed) Refuse("the segments do not reach to flushed_lsn");
    for (int i = 0; i < manifest->log_count; ++i) ReadLog(manifest->logs[i]);
    RaiseNumbers();
    if (rule_ != BrokenFlushRule::kLostLogPassedOver) CheckOrphans(*manifest);
    EndBeforeLastRow(*manifest);
    return plan_;
  }

 private:
  void Refuse(std::string_view why) {
    if (plan_.refused.empty()) plan_.refused = why;
  }

  void ReadSegment(const ListedRun& run) {
    const Segment& segment = state_.segments[run.number];
    if (segment.rows_file.visible == kNone) return Refuse("a listed segment is absent");
    if (segment.rows_file.visible != kWhole) return Refuse("a listed segment is damaged");
    if (run.first != plan_.last + 1) return Refuse("the segments do not tile");
    for (int lsn = run.first; lsn <= run.last; ++lsn) plan_.found[lsn] = segment.rows[lsn];
    plan_.last = run.last;
  }

  void ReadLog(const ListedLog& listed) {
    const Log& log = state_.logs[listed.number];
    if (log.file.visible == kNone) return Refuse("a listed log file is absent");
    ListedLog kept{listed.number, 0};
    for (int lsn = 1; lsn <= (listed.end != 0 ? listed.end : kLsns); ++lsn) {
      if (log.rows[lsn] == 0) continue;
      if (lsn != plan_.last + 1) return Refuse("a row in the log that is not the next");
      plan_.found[lsn] = log.rows[lsn];
      plan_.last = static_cast<uint8_t>(lsn);
      plan_.last_log = listed.number;
      kept.end = plan_.last;
    }
    if (listed.end > plan_.last) return Refuse("a row that the manifest lists is missing");
    if (kept.end != 0) plan_.next.logs[plan_.next.log_count++] = kept;
  }

  void RaiseNumbers() {
    for (uint8_t number = 1; number <= kLogs; ++number) {
      if (state_.logs[number].file.visible == kNone) continue;
      plan_.next.next_log = std::max<uint8_t>(plan_.next.next_log, number + 1);
    }
    for (uint8_t number = 1; number <= kSegments; ++number) {
      const Segment& segment = state_.segments[number];
      if ((segment.rows_file.visible & segment.keys_file.visible & segment.temporary.visible) ==
          kNone) {
        continue;
      }
      plan_.next.next_segment = std::max<uint8_t>(plan_.next.next_segment, number + 1);
    }
  }

  // A flush that did not come to its manifest: the log has its rows, or has lost some.
  void CheckOrphans(const Manifest& manifest) {
    for (uint8_t number = 1; number <= kSegments; ++number) {
      const Segment& segment = state_.segments[number];
      if (segment.rows_file.visible != kWhole || manifest.HasRun(number)) continue;
      if (segment.last > plan_.last) Refuse("a segment that reaches above the end of the log");
    }
  }

  // The last row may not be on disk: it will stand in the new log file.
  void EndBeforeLastRow(const Manifest& manifest) {
    if (plan_.last == manifest.flushed || !plan_.refused.empty()) return;
    Manifest& next = plan_.next;
    ListedLog& log = next.logs[next.log_count - 1];
    const int before = next.log_count > 1 ? next.logs[next.log_count - 2].end : manifest.flushed;
    if (--log.end > before) return;
    log = ListedLog{};
    --next.log_count;
  }

  const State& state_;
  const BrokenFlushRule rule_;
  Plan plan_;
};

}  // namespace

Plan PlanRecovery(const State& state, BrokenFlushRule rule) { return Planner(state, rule).Run(); }

}  // namespace tallystick::flush_protocol
