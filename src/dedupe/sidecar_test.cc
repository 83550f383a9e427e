#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <thread>

#include "dedupe/sidecar_fixture.h"
#include "dedupe/sidecar_format.h"
#include "dedupe/sidecar_reader.h"
#include "dedupe/sidecar_writer.h"
#include "testing/fault_fs.h"
#include "testing/golden.h"

namespace tallystick {
namespace {

TEST_F(SidecarTest, EveryEntryIsFoundAtEverySizeAroundAPage) {
  for (const uint64_t rows : {1, 2, 145, 146, 147, 292, 293, 10'000}) {
    Write(rows);
    const auto reader = Open();
    ASSERT_NE(reader, nullptr);
    EXPECT_EQ(reader->binding(), binding_);
    EXPECT_EQ(reader->bytes(), Content().size());
    ExpectAnswersAll(*reader);  // without filter
    EXPECT_FALSE(reader->filter_loaded());
    ASSERT_TRUE(reader->LoadFilter(nullptr).ok());
    EXPECT_TRUE(reader->filter_loaded());
    ExpectAnswersAll(*reader);
    const Status status = CheckSidecar(*reader);
    EXPECT_TRUE(status.ok()) << status.ToString();
    ASSERT_TRUE(fs_.Remove(kSidecarPath).ok());
  }
}

TEST_F(SidecarTest, AMissingFileIsNotFound) {
  binding_ = BindingOf(1);
  EXPECT_EQ(SidecarReader::Open(fs_, kSidecarPath, binding_).status().code(),
            StatusCode::kNotFound);
  EXPECT_EQ(SidecarReader::ReadBinding(fs_, kSidecarPath).status().code(), StatusCode::kNotFound);
}

TEST_F(SidecarTest, TheFilterLetsFewStrangersThroughAndNoFriendOut) {
  Write(50'000);
  const auto reader = Open();
  ASSERT_TRUE(reader->LoadFilter(nullptr).ok());
  std::vector<EventHash> friends, strangers;
  for (const SidecarEntry& entry : entries_) friends.push_back(entry.key);
  for (size_t i = 0; i < 100'000; ++i) strangers.push_back(KeyNumber(5'000'000 + i));
  std::vector<uint32_t> candidates;
  reader->Filter(friends, &candidates);
  EXPECT_EQ(candidates.size(), friends.size());
  candidates.clear();
  reader->Filter(strangers, &candidates);
  EXPECT_LE(candidates.size(), 500u) << "half a percent";
}

TEST_F(SidecarTest, AReadErrorIsAnErrorAndNeverNotFound) {
  Write(1000);
  FaultFs faults(fs_);
  auto reader = SidecarReader::Open(faults, kSidecarPath, binding_);
  ASSERT_TRUE(reader.ok());
  const std::vector<EventHash> key = {entries_[0].key};
  const std::vector<uint32_t> candidates = {0};
  std::vector<std::optional<SidecarReader::Found>> found(1);
  for (uint64_t at = 0; at < 2; ++at) {  // the directory, then the page
    faults.Set(Fault{.op = FaultOp::kRead, .at = at});
    EXPECT_EQ((*reader)->Find(key, candidates, found).code(), StatusCode::kIoError) << at;
  }
  faults.Set(std::nullopt);
  ASSERT_TRUE((*reader)->Find(key, candidates, found).ok());
  EXPECT_TRUE(found[0].has_value());
}

TEST_F(SidecarTest, KeysThatBeginAlikeAreFoundAcrossPages) {
  constexpr uint64_t kLeading = 0x8000'0000'1234'5678;
  std::vector<EventHash> keys;
  for (uint64_t i = 0; i < 100; ++i) keys.push_back(KeyFrom(kLeading - 1, 2 * i));
  for (uint64_t i = 0; i < 700; ++i) keys.push_back(KeyFrom(kLeading, 2 * i + 2));
  for (uint64_t i = 0; i < 100; ++i) keys.push_back(KeyFrom(kLeading + 1, 2 * i));
  WriteKeys(keys);
  const auto reader = Open();
  ExpectAnswersAll(*reader);
  std::vector<EventHash> strangers;
  for (uint64_t i = 0; i <= 700; ++i) strangers.push_back(KeyFrom(kLeading, 2 * i + 1));
  const auto found = Probe(*reader, strangers);
  ASSERT_TRUE(found.ok());
  for (const auto& one : *found) EXPECT_FALSE(one.has_value());
}

TEST_F(SidecarTest, AllKeysMayBeginAlike) {
  for (const uint64_t leading : {uint64_t{0}, UINT64_MAX}) {
    std::vector<EventHash> keys;
    for (uint64_t i = 0; i < 1000; ++i) keys.push_back(KeyFrom(leading, i * 0x1234'5678'9abc));
    WriteKeys(keys);
    const auto reader = Open();
    ExpectAnswersAll(*reader);
    ASSERT_TRUE(reader->LoadFilter(nullptr).ok());
    ExpectAnswersAll(*reader);
    EXPECT_TRUE(CheckSidecar(*reader).ok());
    ASSERT_TRUE(fs_.Remove(kSidecarPath).ok());
  }
}

// The search begins where an evenly spread key would be, and must arrive from anywhere.
TEST_F(SidecarTest, KeysThatAreNotSpreadEvenlyAreFound) {
  std::vector<EventHash> keys;
  for (uint64_t i = 0; i < 4000; ++i) keys.push_back(KeyFrom(i, i));
  for (uint64_t i = 0; i < 4000; ++i) keys.push_back(KeyFrom(UINT64_MAX - i, i));
  for (uint64_t i = 0; i < 4000; ++i) keys.push_back(KeyFrom((1ull << 63) + i * i, i));
  WriteKeys(keys);
  const auto reader = Open();
  ExpectAnswersAll(*reader);
}

TEST_F(SidecarTest, OpenReadsTheFooterAlone) {
  Write(5000);
  const uint64_t before = fs_.bytes_read();
  const auto reader = Open();
  EXPECT_EQ(fs_.bytes_read() - before, kSidecarFooterBytes);
  EXPECT_EQ(reader->memory_bytes(), 0u);
  ASSERT_TRUE(reader->LoadFilter(nullptr).ok());
  EXPECT_EQ(fs_.bytes_read() - before, kSidecarFooterBytes + reader->filter_bytes());
  EXPECT_EQ(reader->memory_bytes(), reader->filter_bytes());
}

TEST_F(SidecarTest, KeysOfOnePageReadItOnce) {
  Write(100);
  const auto reader = Open();
  const uint64_t before = fs_.bytes_read();
  ExpectAnswersAll(*reader);
  EXPECT_EQ(fs_.bytes_read() - before, 8 + kSidecarPageBytes);
}

TEST_F(SidecarTest, AnEventTakesAtMost31BytesAndLittleOver2InMemory) {
  Write(100'000);
  const auto reader = Open();
  EXPECT_LE(Content().size(), 31 * 100'000u);
  ASSERT_TRUE(reader->LoadFilter(nullptr).ok());
  ExpectAnswersAll(*reader);  // which loads the directory
  EXPECT_LE(reader->memory_bytes(), 21 * 100'000u / 10);
}

TEST_F(SidecarTest, EntriesThatAreNotThoseOfASegmentAreRefusedAndNoFileIsMade) {
  using Change = std::function<void(SidecarBinding&, std::vector<SidecarEntry>&)>;
  const std::map<std::string, Change> wrong = {
      {"same key", [](auto&, auto& entries) { entries[3].key = entries[200].key; }},
      {"has two entries", [](auto&, auto& entries) { entries[3].row = entries[200].row; }},
      {"beyond", [](auto&, auto& entries) { entries[3].row = 300; }},
      {"300 entries for 301 rows", [](auto& binding, auto&) { binding.rows = 301; }},
      {"300 entries for 299 rows", [](auto& binding, auto&) { binding.rows = 299; }},
      {"0 entries for 0 rows",
       [](auto& binding, auto& entries) {
         entries.clear();
         binding.rows = 0;
       }},
  };
  for (const auto& [what, change] : wrong) {
    SidecarBinding binding = BindingOf(300);
    std::vector<SidecarEntry> entries = EntriesOf(300);
    change(binding, entries);
    const Status status = WriteSidecar(fs_, kSidecarPath, binding, entries, nullptr);
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << what;
    EXPECT_NE(status.message().find(what), std::string::npos) << status.message();
    EXPECT_FALSE(*fs_.Exists(kSidecarPath)) << what;
  }
}

TEST_F(SidecarTest, AFileThatIsThereIsNotOverwritten) {
  Write(3);
  EXPECT_EQ(WriteSidecar(fs_, kSidecarPath, binding_, entries_, nullptr).reason(), "exists");
}

TEST_F(SidecarTest, AFailedWriteIsAnErrorAndItsRestDoesNotOpen) {
  binding_ = BindingOf(20'000);
  entries_ = EntriesOf(20'000);
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kSync}) {
    const uint64_t fired = ForEachFault(Fault{.op = op}, [&](const Fault& fault) {
      SimFs machine;
      FaultFs faults(machine);
      faults.Set(fault);
      const Status status = WriteSidecar(faults, kSidecarPath, binding_, entries_, nullptr);
      EXPECT_EQ(status.code(), faults.fired() > 0 ? StatusCode::kIoError : StatusCode::kOk);
      if (faults.fired() > 0 && op != FaultOp::kSync) {
        EXPECT_FALSE(SidecarReader::Open(machine, kSidecarPath, binding_).ok()) << fault.at;
      }
      return faults.fired() > 0;
    });
    EXPECT_GE(fired, op == FaultOp::kWrite ? 4u : 1u) << FaultOpName(op);
  }
}

TEST_F(SidecarTest, ShortWritesAndReadsAreContinued) {
  FaultFs faults(fs_);
  faults.Set(Fault{.op = FaultOp::kShortWrite, .for_ever = true});
  binding_ = BindingOf(1000);
  entries_ = EntriesOf(1000);
  ASSERT_TRUE(WriteSidecar(faults, kSidecarPath, binding_, entries_, nullptr).ok());
  EXPECT_GT(faults.fired(), 0u);
  faults.Set(Fault{.op = FaultOp::kShortRead, .for_ever = true});
  const auto reader = SidecarReader::Open(faults, kSidecarPath, binding_);
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  ExpectAnswersAll(**reader);
  EXPECT_TRUE((*reader)->LoadFilter(nullptr).ok());
  EXPECT_TRUE(CheckSidecar(**reader).ok());
}

// Filter and directory are loaded while others probe: every answer is right at any time.
TEST_F(SidecarTest, ProbesGoOnWhileFilterAndDirectoryAreLoaded) {
  Write(3000);
  for (int round = 0; round < 20; ++round) {
    const auto reader = Open();
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] { EXPECT_TRUE(reader->LoadFilter(nullptr).ok()); });
      threads.emplace_back([&] { ExpectAnswersAll(*reader); });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_TRUE(reader->filter_loaded());
  }
}

TEST_F(SidecarTest, TheBytesAreThoseOfTheGolden) {
  Write(3);
  Bytes bytes = Content();
  // The zeros that fill up the header's block and the page say nothing.
  std::string text = HexDump(bytes.data(), 64) + "...\n" +
                     HexDump(bytes.data() + 4088, 8 + 8 + 96) + "...\n" +
                     HexDump(bytes.data() + 8192, bytes.size() - 8192);
  EXPECT_EQ(CompareGolden("testdata/sidecar.golden", text), "");
}

}  // namespace
}  // namespace tallystick
