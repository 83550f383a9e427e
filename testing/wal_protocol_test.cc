#include "testing/wal_protocol.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "testing/tried.h"

namespace tallystick {
namespace {

std::string Text(const WalProtocolResult& result) {
  std::string text = result.violation + "\n";
  for (const std::string& line : result.trace) text += "  " + line + "\n";
  return text;
}

void Report(const std::string& bounds, const WalProtocolResult& result) {
  ReportTried("protocol_model bounds=" + bounds + " states=" + std::to_string(result.states) +
              " recoveries=" + std::to_string(result.recoveries) +
              " depth=" + std::to_string(result.depth));
}

struct Case {
  const char* name;
  WalProtocolBounds bounds;
  uint64_t states_min;
};

class RightProtocolTest : public testing::TestWithParam<Case> {};

TEST_P(RightProtocolTest, HoldsInEveryState) {
  const WalProtocolResult result = ExploreWalProtocol(BrokenRule::kNone, GetParam().bounds);
  Report(GetParam().name, result);
  EXPECT_EQ(result.violation, "") << Text(result);
  EXPECT_GE(result.states, GetParam().states_min);
}

INSTANTIATE_TEST_SUITE_P(Bounds, RightProtocolTest,
                         testing::Values(Case{"two_crashes_and_a_failed_sync", {}, 700'000},
                                         Case{"two_crashes_and_recycling", {2, 2, 0, 2}, 1'800'000},
                                         Case{"one_crash_in_a_longer_run", {1, 5, 1, 2}, 390'000}),
                         [](const auto& info) { return std::string(info.param.name); });

class BrokenRuleTest : public testing::TestWithParam<BrokenRule> {};

TEST_P(BrokenRuleTest, HasACounterexample) {
  const WalProtocolResult result = ExploreWalProtocol(GetParam(), {2, 4, 1, 2});
  ASSERT_NE(result.violation, "") << result.states << " states and no violation";
  ASSERT_FALSE(result.trace.empty());
  std::printf("%s\n", Text(result).c_str());
}

INSTANTIATE_TEST_SUITE_P(Each, BrokenRuleTest,
                         testing::ValuesIn(AllBrokenRules().begin(), AllBrokenRules().end()),
                         [](const auto& info) { return std::string(BrokenRuleName(info.param)); });

// --- traces ---

const std::vector<std::string> kGoodTrace = {
    "create wal/000002 direct",
    "write wal/000002 0+65536",
    "syncdir wal",
    "write wal/000002 4096+4096",
    "create manifest/000003.tmp",
    "write manifest/000003.tmp 0+200",
    "sync manifest/000003.tmp",
    "rename manifest/000003.tmp manifest/000003",
    "syncdir manifest",
    "remove wal/000001",
    "write wal/000002 8192+4096",
    "create wal/000004",
    "write wal/000004 0+65536",
    "sync wal/000004",
    "syncdir wal",
    "create manifest/000005.tmp",
    "write manifest/000005.tmp 0+200",
    "sync manifest/000005.tmp",
    "rename manifest/000005.tmp manifest/000005",
    "syncdir manifest",
    "write wal/000002 12288+8192",
    "write wal/000004 4096+4096",
    "sync wal/000004",
    "write wal/000004 8192+4096",
    "sync wal/000004",
};

std::string WhyNot(const std::vector<std::string>& trace) {
  std::string why;
  return TraceIsPathOfModel(trace, &why) ? "" : why;
}

size_t IndexOf(const std::string& line, size_t from = 0) {
  for (size_t i = from; i < kGoodTrace.size(); ++i) {
    if (kGoodTrace[i] == line) return i;
  }
  ADD_FAILURE() << "no line " << line;
  return 0;
}

std::vector<std::string> Without(size_t index) {
  auto trace = kGoodTrace;
  trace.erase(trace.begin() + static_cast<ptrdiff_t>(index));
  return trace;
}

std::vector<std::string> Moved(size_t from, size_t to) {
  auto trace = Without(from);
  trace.insert(trace.begin() + static_cast<ptrdiff_t>(to), kGoodTrace[from]);
  return trace;
}

TEST(WalProtocolTraceTest, GoodTraceIsAPath) { EXPECT_EQ(WhyNot(kGoodTrace), ""); }

TEST(WalProtocolTraceTest, MissingSyncsAreNoticed) {
  for (const char* line : {"syncdir wal", "sync manifest/000003.tmp", "syncdir manifest",
                           "sync wal/000004", "write manifest/000003.tmp 0+200"}) {
    EXPECT_NE(WhyNot(Without(IndexOf(line))), "") << line;
  }
  const size_t second = IndexOf("syncdir wal", IndexOf("syncdir wal") + 1);
  EXPECT_NE(WhyNot(Without(second)), "");
}

TEST(WalProtocolTraceTest, WrongOrderIsNoticed) {
  // Removed before the manifest is durable; appended to before it is listed; a name used twice.
  EXPECT_NE(WhyNot(Moved(IndexOf("remove wal/000001"), IndexOf("syncdir manifest"))), "");
  EXPECT_NE(WhyNot(Moved(IndexOf("write wal/000004 4096+4096"),
                         IndexOf("rename manifest/000005.tmp manifest/000005") + 1)),
            "");
  auto trace = kGoodTrace;
  trace.push_back("create wal/000004");
  EXPECT_NE(WhyNot(trace), "");
}

TEST(WalProtocolTraceTest, AppendsOnlyGoForward) {
  for (const char* line :
       {"write wal/000002 20480+4096", "write wal/000004 8192+4096", "write wal/000004 16384+4096",
        "write wal/000004 0+4096", "write wal/000001 4096+4096", "remove wal/000004",
        "truncate wal/000004", "rename wal/000004 wal/000009"}) {
    auto trace = kGoodTrace;
    trace.push_back(line);
    EXPECT_NE(WhyNot(trace), "") << line;
  }
}

// --- a flush ---

// The first log file's rows go to a segment, behind kGoodTrace.
const std::vector<std::string> kFlush = {
    "create segments/000006.seg",
    "write segments/000006.seg 0+5000",
    "sync segments/000006.seg",
    "create segments/000006.idx",
    "write segments/000006.idx 0+4096",
    "sync segments/000006.idx",
    "syncdir segments",
    "create manifest/000007.tmp",
    "write manifest/000007.tmp 0+200",
    "sync manifest/000007.tmp",
    "rename manifest/000007.tmp manifest/000007",
    "syncdir manifest",
    "remove wal/000002",
};

std::string WhyNotFlush(const std::vector<std::string>& flush) {
  auto trace = kGoodTrace;
  trace.insert(trace.end(), flush.begin(), flush.end());
  return WhyNot(trace);
}

TEST(WalProtocolTraceTest, FlushIsAPath) { EXPECT_EQ(WhyNotFlush(kFlush), ""); }

TEST(WalProtocolTraceTest, ALogFileNeedsAWholeSegmentToGo) {
  for (const char* line : {"sync segments/000006.seg", "sync segments/000006.idx",
                           "syncdir segments", "sync manifest/000007.tmp", "syncdir manifest"}) {
    auto flush = kFlush;
    ASSERT_EQ(std::erase(flush, line), 1u) << line;
    EXPECT_NE(WhyNotFlush(flush), "") << line;
  }
  // The sidecar's name comes after the directory's sync.
  auto flush = kFlush;
  std::rotate(flush.begin() + 3, flush.begin() + 6, flush.begin() + 7);
  EXPECT_NE(WhyNotFlush(flush), "");
}

TEST(WalProtocolTraceTest, ALogFileOutlivesTheManifestsThatNeedIt) {
  auto before_manifest = kFlush;
  std::rotate(before_manifest.begin() + 7, before_manifest.end() - 1, before_manifest.end());
  EXPECT_NE(WhyNotFlush(before_manifest), "");
  auto before_sync = kFlush;
  std::swap(before_sync[11], before_sync[12]);
  EXPECT_NE(WhyNotFlush(before_sync), "");
  // Its last frame is younger than the manifest.
  auto later_frame = kFlush;
  later_frame.insert(later_frame.end() - 1, {"write wal/000004 12288+4096", "sync wal/000004"});
  later_frame.back() = "remove wal/000004";
  EXPECT_NE(WhyNotFlush(later_frame), "");
}

TEST(WalProtocolTraceTest, ASegmentIsWrittenOnce) {
  for (const char* line :
       {"write segments/000006.seg 0+4096", "write segments/000005.seg 0+4096"}) {
    auto flush = kFlush;
    flush.push_back(line);
    EXPECT_NE(WhyNotFlush(flush), "") << line;
  }
}

}  // namespace
}  // namespace tallystick
