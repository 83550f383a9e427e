#include "testing/flush_protocol.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

#include "testing/tried.h"

namespace tallystick {
namespace {

std::string Text(const ModelResult& result) {
  std::string text = result.violation + "\n";
  for (const std::string& line : result.trace) text += "  " + line + "\n";
  return text;
}

struct Case {
  const char* name;
  FlushProtocolBounds bounds;
  uint64_t states_min;
};

class RightFlushProtocolTest : public testing::TestWithParam<Case> {};

TEST_P(RightFlushProtocolTest, HoldsInEveryState) {
  const ModelResult result = ExploreFlushProtocol(BrokenFlushRule::kNone, GetParam().bounds);
  ReportTried(std::string("flush_model bounds=") + GetParam().name + " states=" +
              std::to_string(result.states) + " recoveries=" + std::to_string(result.recoveries) +
              " depth=" + std::to_string(result.depth));
  EXPECT_EQ(result.violation, "") << Text(result);
  EXPECT_GE(result.states, GetParam().states_min);
}

const bool kQuick = ChosenEffort() == Effort::kQuick;

INSTANTIATE_TEST_SUITE_P(
    Bounds, RightFlushProtocolTest,
    testing::Values(
        Case{"two_crashes_and_a_failure", {.failures = kQuick ? 0 : 1}, kQuick ? 29'000u : 315'000},
        Case{"a_pinned_request",
             {.events = 3, .crashes = kQuick ? 0 : 1, .spares = 2, .pinned = true},
             kQuick ? 300'000u : 2'200'000},
        Case{"a_rotten_sidecar", {.crashes = 1, .rots = 1, .pinned = true}, 50'000},
        Case{"a_clean_stop", {.crashes = 1, .failures = 0, .closes = 1}, 57'000},
        Case{"a_clean_stop_that_fails", {.crashes = 1, .spares = 0, .closes = 1}, 22'000}),
    [](const auto& info) { return std::string(info.param.name); });

// What these rules protect is time: without them no row is lost and no event is stored twice, but
// ingest may be refused for a while.
class HarmlessToRowsTest : public testing::TestWithParam<BrokenFlushRule> {};

TEST_P(HarmlessToRowsTest, HoldsButForWhatCostsTime) {
  FlushProtocolBounds bounds{.crashes = 1, .rots = 1, .pinned = true, .safety_only = true};
  const ModelResult safe = ExploreFlushProtocol(GetParam(), bounds);
  EXPECT_EQ(safe.violation, "") << Text(safe);
  bounds.safety_only = false;
  const std::string violation = ExploreFlushProtocol(GetParam(), bounds).violation;
  EXPECT_TRUE(violation.starts_with("F7") || violation.starts_with("F8")) << violation;
}

INSTANTIATE_TEST_SUITE_P(
    Each, HarmlessToRowsTest,
    testing::Values(BrokenFlushRule::kSidecarNotSynced, BrokenFlushRule::kSidecarNameNotSynced,
                    BrokenFlushRule::kRebuiltNotSynced, BrokenFlushRule::kRebuiltNameNotSynced,
                    BrokenFlushRule::kKeysDroppedEarly),
    [](const auto& info) { return std::string(BrokenFlushRuleName(info.param)); });

class BrokenFlushRuleTest : public testing::TestWithParam<BrokenFlushRule> {};

// The smallest bounds in which it shows.
TEST_P(BrokenFlushRuleTest, HasACounterexample) {
  const FlushProtocolBounds all[] = {{.crashes = 1, .failures = 0},
                                     {.crashes = 0, .failures = 0, .pinned = true},
                                     {.crashes = 0, .failures = 0, .closes = 1},
                                     {.crashes = 1, .failures = 0, .rots = 1},
                                     {.crashes = 1, .failures = 1},
                                     {.crashes = 2, .failures = 0},
                                     {.events = 3, .crashes = 0, .failures = 1, .spares = 2}};
  for (const FlushProtocolBounds& bounds : all) {
    const ModelResult result = ExploreFlushProtocol(GetParam(), bounds);
    if (result.violation.empty()) continue;
    std::printf("%s\n", Text(result).c_str());
    return;
  }
  FAIL() << "no counterexample";
}

INSTANTIATE_TEST_SUITE_P(Each, BrokenFlushRuleTest,
                         testing::ValuesIn(AllBrokenFlushRules().begin(),
                                           AllBrokenFlushRules().end()),
                         [](const auto& info) {
                           return std::string(BrokenFlushRuleName(info.param));
                         });

}  // namespace
}  // namespace tallystick
