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
};

class RightFlushProtocolTest : public testing::TestWithParam<Case> {};

TEST_P(RightFlushProtocolTest, HoldsInEveryState) {
  const ModelResult result = ExploreFlushProtocol(BrokenFlushRule::kNone, GetParam().bounds);
  ReportTried(std::string("flush_model bounds=") + GetParam().name + " states=" +
              std::to_string(result.states) + " recoveries=" + std::to_string(result.recoveries) +
              " depth=" + std::to_string(result.depth));
  EXPECT_EQ(result.violation, "") << Text(result);
  EXPECT_GT(result.states, 1000u);
}

INSTANTIATE_TEST_SUITE_P(Bounds, RightFlushProtocolTest,
                         testing::Values(Case{"one_crash_and_a_failure", {.crashes = 1}},
                                         Case{"two_crashes", {.crashes = 2, .failures = 0}},
                                         Case{"a_pinned_request",
                                              {.events = 3,
                                               .crashes = ChosenEffort() == Effort::kQuick ? 0 : 1,
                                               .spares = 2,
                                               .pinned = true}},
                                         Case{"a_clean_stop",
                                              {.crashes = 1,
                                               .failures = ChosenEffort() == Effort::kQuick ? 0 : 1,
                                               .closes = 1}},
                                         Case{"a_rotten_sidecar",
                                              {.crashes = 1, .failures = 0, .rots = 1}}),
                         [](const auto& info) { return std::string(info.param.name); });

class BrokenFlushRuleTest : public testing::TestWithParam<BrokenFlushRule> {};

// The smallest bounds in which it shows.
TEST_P(BrokenFlushRuleTest, HasACounterexample) {
  const FlushProtocolBounds all[] = {{.crashes = 1, .failures = 0},
                                     {.crashes = 0, .failures = 0, .pinned = true},
                                     {.crashes = 1, .failures = 0, .rots = 1},
                                     {.crashes = 1, .failures = 1},
                                     {.crashes = 1, .failures = 1, .closes = 1},
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
