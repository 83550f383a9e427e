#include "wal/wal_tail.h"

#include "base/check.h"
#include "base/mutant.h"

namespace tallystick {
namespace {

enum Want : uint8_t { kNo, kYes, kAny };
enum WantLater : uint8_t { kNone, kGoesOn, kBreaks, kAnyLater };

struct Row {
  Want end_listed, end_reached, valid_frame, salt, valid_behind;
  WantLater later;
  TailVerdict verdict;
};

// clang-format off
constexpr Row kTable[] = {
  // listed reached valid  salt   behind later       verdict
  {kYes,    kYes,   kAny,  kAny,  kAny,  kAnyLater,  TailVerdict::kListedEnd},
  {kYes,    kNo,    kAny,  kAny,  kAny,  kAnyLater,  TailVerdict::kListedFrameMissing},
  {kNo,     kAny,   kYes,  kAny,  kAny,  kAnyLater,  TailVerdict::kOutOfSequence},
  {kNo,     kAny,   kNo,   kAny,  kYes,  kAnyLater,  TailVerdict::kHole},
  {kNo,     kAny,   kNo,   kAny,  kNo,   kBreaks,    TailVerdict::kHole},
  {kNo,     kAny,   kNo,   kYes,  kNo,   kGoesOn,    TailVerdict::kHole},
  {kNo,     kAny,   kNo,   kNo,   kNo,   kGoesOn,    TailVerdict::kContinues},
  {kNo,     kAny,   kNo,   kYes,  kNo,   kNone,      TailVerdict::kTornTail},
  {kNo,     kAny,   kNo,   kNo,   kNo,   kNone,      TailVerdict::kCleanEnd},
};
// clang-format on

bool Matches(Want want, bool is) { return want == kAny || (want == kYes) == is; }

bool Matches(WantLater want, LaterFiles is) {
  switch (want) {
    case kAnyLater:
      return true;
    case kNone:
      return is == LaterFiles::kNoFrames;
    case kGoesOn:
      return is == LaterFiles::kContinue;
    case kBreaks:
      return is == LaterFiles::kBreak;
  }
  return false;
}

bool Matches(const Row& row, const TailEvidence& e) {
  return Matches(row.end_listed, e.end_listed) && Matches(row.end_reached, e.end_reached) &&
         Matches(row.valid_frame, e.valid_frame) && Matches(row.salt, e.salt) &&
         Matches(row.valid_behind, e.valid_behind) && Matches(row.later, e.later);
}

}  // namespace

TailVerdict ClassifyTail(const TailEvidence& evidence) {
  for (const Row& row : kTable) {
    if (!Matches(row, evidence)) continue;
    if (TALLY_MUTANT("mid_log_truncated") && IsCorruption(row.verdict)) {
      return TailVerdict::kTornTail;
    }
    return row.verdict;
  }
  TALLY_CHECK(false);
}

int CountMatchingTailRows(const TailEvidence& evidence) {
  int count = 0;
  for (const Row& row : kTable) count += Matches(row, evidence) ? 1 : 0;
  return count;
}

std::string_view TailVerdictText(TailVerdict verdict) {
  switch (verdict) {
    case TailVerdict::kListedEnd:
      return "the listed end";
    case TailVerdict::kContinues:
      return "full; the next file goes on";
    case TailVerdict::kCleanEnd:
      return "clean end";
    case TailVerdict::kTornTail:
      return "torn tail (a write that was never acknowledged)";
    case TailVerdict::kListedFrameMissing:
      return "a frame that the manifest lists is missing or damaged";
    case TailVerdict::kOutOfSequence:
      return "a valid frame whose number, LSN or commit time is not the next one";
    case TailVerdict::kHole:
      return "a damaged frame with valid frames behind it";
  }
  TALLY_CHECK(false);
}

}  // namespace tallystick
