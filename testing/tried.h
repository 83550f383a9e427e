// What a test layer tried, for people and for the run's record: a run that tried nothing must not
// look like one that passed.
#pragma once

#include <cstdint>
#include <string>

namespace tallystick {

// Prints the line, and appends it to the file that the environment variable TALLY_TRIED_FILE names.
void ReportTried(const std::string& line);

// How much to try: TALLY_SOAK=1 multiplies, TALLY_QUICK=1 divides (the run against deliberate
// bugs).
enum class Effort : uint8_t { kQuick, kNormal, kSoak };
Effort ChosenEffort();

// The number in an environment variable, or `fallback`.
uint64_t NumberFromEnvironment(const char* name, uint64_t fallback);

}  // namespace tallystick
