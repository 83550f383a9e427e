// Torn tail, clean end or corruption? What stands where the run of good frames of a listed WAL file
// stops, decided by a table (wal_tail.cc) that a test enumerates.
//
// Why the table is right: frame n+1 is written only after frame n is synced, and a failed write
// poisons the log. So only the last frame can be missing or torn. Wherever anything valid stands
// behind a bad frame, that frame had been synced and acknowledged, and its loss is corruption,
// never a tail.
#pragma once

#include <cstdint>
#include <string_view>

namespace tallystick {

// What the rest of the list shows.
enum class LaterFiles : uint8_t {
  kNoFrames,  // no later listed file has a valid frame
  kContinue,  // the next file that has any begins with exactly the frame that is due
  kBreak,     // there are valid frames, but they do not go on from here
};

// What is seen at the block where the next frame is due and none that continues the run stands.
struct TailEvidence {
  bool end_listed = false;    // the manifest gives this file's last frame
  bool end_reached = false;   // ... and the run has come to it (only with end_listed)
  bool valid_frame = false;   // a valid frame stands here, but its number, LSN or time is not next
  bool salt = false;          // the block carries this file's salt
  bool valid_behind = false;  // a later block of this file begins a valid frame
  LaterFiles later = LaterFiles::kNoFrames;
};

enum class TailVerdict : uint8_t {
  kListedEnd,           // all that the manifest promises is here
  kContinues,           // the file was full; the next one goes on
  kCleanEnd,            // nothing was ever written here
  kTornTail,            // a write that never finished, so never acknowledged: drop it
  kListedFrameMissing,  // corruption: the manifest promises more frames
  kOutOfSequence,       // corruption: a valid frame that is not the next one
  kHole,                // corruption: valid frames stand behind a bad one
};

constexpr bool IsCorruption(TailVerdict verdict) {
  return verdict >= TailVerdict::kListedFrameMissing;
}

TailVerdict ClassifyTail(const TailEvidence& evidence);
// How many rows of the table match: exactly one, for all evidence (tested by enumeration).
int CountMatchingTailRows(const TailEvidence& evidence);
std::string_view TailVerdictText(
    TailVerdict verdict);  // for people: "frames stand behind a bad one"

}  // namespace tallystick
