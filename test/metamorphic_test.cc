// The same operations under other options answer the same: sizes of log files, memtables and
// groups, gaps between commits, direct I/O or not, the order in which steps run, and restarts in
// between make no difference to what is stored, where, and what a query says.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "testing/machine.h"
#include "testing/reference_model.h"
#include "testing/scenario.h"
#include "testing/sim_env.h"
#include "testing/tried.h"

namespace tallystick {
namespace {

using Requests = std::vector<std::vector<Event>>;

// One client that waits for each answer, so that the order is the same in every run.
Requests RandomRequests(SeededRandom& random) {
  Requests requests(10 + random.Below(25));
  int next_id = 0;
  for (auto& request : requests) {
    for (uint64_t i = 1 + random.Below(6); i > 0; --i) {
      const bool known = next_id > 0 && random.OneIn(3);
      const int id =
          known ? static_cast<int>(random.Below(static_cast<uint64_t>(next_id))) : next_id++;
      request.push_back(SmallEvent(id, random.OneIn(6) ? 1 : 0, id % 9 == 4 ? 1 : 0));
    }
  }
  return requests;
}

OpenOptions RandomOptions(SeededRandom& random) {
  OpenOptions options = SmallOptions(random.OneIn(2));
  options.wal_file_bytes = (7 + random.Below(60)) * 4096;
  options.memtable_rows_max = static_cast<uint32_t>(64 + random.Below(1000));
  options.group_bytes_max = static_cast<uint32_t>(1024 + random.Below(60'000));
  options.commit_gap_us = static_cast<uint32_t>(random.Below(2'000));
  options.commit_wake_bytes = static_cast<uint32_t>(random.Below(100'000));
  options.mark_idle_ms = static_cast<uint32_t>(1 + random.Below(50));
  options.memtables_max = static_cast<uint32_t>(1 + random.Below(4));
  options.memtable_age_ms_max = static_cast<uint32_t>(random.OneIn(2) ? 0 : 1 + random.Below(50));
  options.segment_group_rows = static_cast<uint32_t>(1 + random.Below(16));
  options.rollup_rows_per_line_min = static_cast<uint32_t>(1 + random.Below(4));
  options.cache_bytes_max = random.OneIn(2) ? 0 : random.Below(1 << 20);
  options.dedupe_memory_bytes_max = random.OneIn(2) ? 0 : random.Below(1 << 20);
  options.flush_on_close_ms_max = random.OneIn(2) ? 0 : 5'000;
  options.compaction_fan_in = random.OneIn(3) ? 0 : static_cast<uint32_t>(2 + random.Below(7));
  options.compaction_rows_max = 100 + random.Below(10'000);
  return options;
}

// Everything that was said, as text.
struct Transcript {
  std::string answers;
  std::string contents;
  std::string wrong;
  uint64_t compactions = 0;
  uint64_t rolled_up = 0;  // events that queries were answered for from rollups
};

std::string AnswerText(const IngestResult& result) {
  std::string text = fmt::format("{}:", result.lsn.value);
  for (const EventOutcome& outcome : result.outcomes) {
    text += fmt::format(" {}@{}", static_cast<int>(outcome.kind), outcome.lsn.value);
  }
  return text + "\n";
}

std::string QueryText(const Db& db, uint64_t seed) {
  SeededRandom random(seed);
  std::string text;
  const Lsn last = db.VisibleLsn();
  for (int i = 0; i < 6; ++i) {
    const Lsn lsn{random.Below(last.value + 1)};
    UsageQuery query{.from_ms = 0, .to_ms = INT64_MAX};
    query.as_of_lsn = lsn;
    query.group_by = {Field::Parse("account_id"), Field::Parse(i % 2 == 0 ? "day" : "meter_id")};
    auto result = db.Aggregate(query);
    if (!result.ok()) return result.status().ToString();
    for (const UsageLine& line : result->lines) {
      text += fmt::format("{} {} {} {}\n", lsn.value, fmt::join(line.keys, ","), line.quantity,
                          line.count);
    }
  }
  return text;
}

Transcript RunUnder(const OpenOptions& options, const Requests& requests, uint64_t seed) {
  SeededRandom random(seed);
  Transcript transcript;
  ReferenceModel model;
  Machine machine(seed, options);
  auto open = [&] {
    if (Status status = machine.Open(); !status.ok()) transcript.wrong = status.ToString();
  };
  open();
  for (const auto& request : requests) {
    if (!transcript.wrong.empty()) break;
    model.Sent(request);
    auto answer = machine.IngestInTheEnd(request);
    if (!answer.ok()) {
      transcript.wrong = answer.status().ToString();
      break;
    }
    transcript.answers += AnswerText(*answer);
    transcript.wrong = model.Answered(request, *answer);
    if (random.OneIn(4)) machine.RunUntilIdle();
    if (transcript.wrong.empty() && random.OneIn(8)) {
      const bool in_order = random.OneIn(2);
      if (in_order) {
        transcript.wrong = machine.Close().ok() ? "" : "the close failed";
      } else {
        machine.Halt();
        machine.Restart(CrashKind::kPowerCut, random.Next64());
      }
      if (transcript.wrong.empty()) open();
    }
  }
  if (transcript.wrong.empty()) transcript.wrong = model.Learn(machine.db());
  for (int i = 0; i < 12 && transcript.wrong.empty(); ++i) {
    transcript.wrong = model.CheckQueries(machine.db(), {random.Below(model.learned().value + 1)},
                                          random.Next64());
  }
  transcript.rolled_up = model.rolled_up();
  if (transcript.wrong.empty()) {
    transcript.contents = model.Digest() + QueryText(machine.db(), 7);
  }
  machine.Halt();
  transcript.compactions = machine.compactions();
  return transcript;
}

TEST(MetamorphicTest, OptionsChangeNoAnswer) {
  const uint64_t one = NumberFromEnvironment("TALLY_SEED", 0);
  uint64_t histories = 200;
  if (ChosenEffort() == Effort::kSoak) histories = 2'000;
  if (ChosenEffort() == Effort::kQuick) histories = 20;
  constexpr uint64_t kRunsEach = 5;
  uint64_t runs = 0, rows = 0, rolled_up = 0, compactions = 0;
  for (uint64_t seed = one != 0 ? one : 1; seed <= (one != 0 ? one : histories); ++seed) {
    SeededRandom random(seed);
    const Requests requests = RandomRequests(random);
    Transcript first;
    for (uint64_t run = 0; run < kRunsEach; ++run) {
      const OpenOptions options = RandomOptions(random);
      const Transcript transcript = RunUnder(options, requests, random.Next64());
      ++runs;
      rolled_up += transcript.rolled_up;
      compactions += transcript.compactions;
      ASSERT_EQ(transcript.wrong, "") << "rerun: TALLY_SEED=" << seed << " metamorphic_test";
      if (run == 0) first = transcript;
      ASSERT_EQ(transcript.answers, first.answers)
          << "rerun: TALLY_SEED=" << seed << " metamorphic_test";
      ASSERT_EQ(transcript.contents, first.contents)
          << "rerun: TALLY_SEED=" << seed << " metamorphic_test";
      rows += static_cast<uint64_t>(std::ranges::count(transcript.contents, ';'));
    }
  }
  EXPECT_GT(rows, runs);
  EXPECT_GT(rolled_up, runs);
  EXPECT_GT(compactions, runs / 10);
  ReportTried(fmt::format("metamorphic runs={} rows={} rolled_up={} compactions={}", runs, rows,
                          rolled_up, compactions));
}

}  // namespace
}  // namespace tallystick
