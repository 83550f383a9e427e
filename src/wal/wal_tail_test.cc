#include "wal/wal_tail.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

template <typename Fn>
void ForAllEvidence(Fn&& fn) {
  for (int bits = 0; bits < 32; ++bits) {
    for (LaterFiles later : {LaterFiles::kNoFrames, LaterFiles::kContinue, LaterFiles::kBreak}) {
      TailEvidence e;
      e.end_listed = bits & 1;
      e.end_reached = bits & 2;
      e.valid_frame = bits & 4;
      e.salt = bits & 8;
      e.valid_behind = bits & 16;
      e.later = later;
      fn(e);
    }
  }
}

TEST(WalTail, EveryEvidenceMatchesExactlyOneRow) {
  int enumerated = 0;
  ForAllEvidence([&](const TailEvidence& e) {
    EXPECT_EQ(CountMatchingTailRows(e), 1);
    ++enumerated;
  });
  EXPECT_EQ(enumerated, 96);
}

// The rule of the log in words, apart from the table: what was acknowledged is never taken for a
// tail.
TEST(WalTail, NothingIsDroppedInFrontOfValidFramesOrBeforeAListedEnd) {
  ForAllEvidence([](const TailEvidence& e) {
    const TailVerdict verdict = ClassifyTail(e);
    const bool dropped = verdict == TailVerdict::kTornTail || verdict == TailVerdict::kCleanEnd;
    if (e.end_listed || e.valid_frame || e.valid_behind || e.later != LaterFiles::kNoFrames) {
      EXPECT_FALSE(dropped);
    } else {
      EXPECT_EQ(verdict, e.salt ? TailVerdict::kTornTail : TailVerdict::kCleanEnd);
    }
    if (e.end_listed) {
      EXPECT_EQ(verdict,
                e.end_reached ? TailVerdict::kListedEnd : TailVerdict::kListedFrameMissing);
    }
  });
}

TEST(WalTail, AFullFileGoesOnInTheNextOnlyWithoutADamagedBlock) {
  EXPECT_EQ(ClassifyTail({.later = LaterFiles::kContinue}), TailVerdict::kContinues);
  EXPECT_EQ(ClassifyTail({.salt = true, .later = LaterFiles::kContinue}), TailVerdict::kHole);
  EXPECT_EQ(ClassifyTail({.later = LaterFiles::kBreak}), TailVerdict::kHole);
}

}  // namespace
}  // namespace tallystick
