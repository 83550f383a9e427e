#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "dedupe/sidecar_fixture.h"
#include "dedupe/sidecar_format.h"
#include "dedupe/sidecar_reader.h"
#include "dedupe/sidecar_writer.h"
#include "testing/fault_fs.h"
#include "testing/golden.h"
#include "testing/sim_fs.h"

namespace tallystick {
namespace {

constexpr char kPath[] = "000007.idx";

class SidecarTest : public testing::Test {
 protected:
  void Write(uint64_t rows) {
    binding_ = BindingOf(rows);
    entries_ = EntriesOf(rows);
    WriteEntries();
  }
  void WriteEntries() {
    const Status status = WriteSidecar(fs_, kPath, binding_, entries_, nullptr);
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  std::unique_ptr<SidecarReader> Open() {
    auto reader = SidecarReader::Open(fs_, kPath, binding_);
    EXPECT_TRUE(reader.ok()) << reader.status().ToString();
    return reader.ok() ? *std::move(reader) : nullptr;
  }
  Bytes Content() { return *fs_.Content(kPath); }

  // What the engine does with a batch.
  static Result<std::vector<std::optional<SidecarReader::Found>>> Probe(
      const SidecarReader& reader, const std::vector<EventHash>& keys) {
    std::vector<uint32_t> candidates;
    reader.Filter(keys, &candidates);
    std::vector<std::optional<SidecarReader::Found>> found(candidates.size());
    Status status = reader.Find(keys, candidates, found);
    if (!status.ok()) return status;
    std::vector<std::optional<SidecarReader::Found>> by_key(keys.size());
    for (size_t k = 0; k < candidates.size(); ++k) by_key[candidates[k]] = found[k];
    return by_key;
  }

  // Every entry is found, and of as many keys that are not there none.
  void ExpectAnswersAll(const SidecarReader& reader) {
    std::vector<EventHash> keys;
    for (const SidecarEntry& entry : entries_) keys.push_back(entry.key);
    for (size_t i = 0; i < entries_.size(); ++i) keys.push_back(KeyNumber(1'000'000 + i));
    const auto found = Probe(reader, keys);
    ASSERT_TRUE(found.ok()) << found.status().ToString();
    for (size_t i = 0; i < entries_.size(); ++i) {
      ASSERT_TRUE((*found)[i].has_value()) << i;
      EXPECT_EQ((*found)[i]->payload_hash, entries_[i].payload_hash) << i;
      EXPECT_EQ((*found)[i]->row, entries_[i].row) << i;
      EXPECT_FALSE((*found)[entries_.size() + i].has_value()) << i;
    }
  }

  // Open, filter, every page: the first complaint.
  Status VerifyAll() {
    auto reader = SidecarReader::Open(fs_, kPath, binding_);
    if (!reader.ok()) return reader.status();
    if (Status status = (*reader)->LoadFilter(nullptr); !status.ok()) return status;
    return CheckSidecar(**reader);
  }

  SimFs fs_;
  SidecarBinding binding_;
  std::vector<SidecarEntry> entries_;
};

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
    ASSERT_TRUE(fs_.Remove(kPath).ok());
  }
}

TEST_F(SidecarTest, AMissingFileIsNotFound) {
  binding_ = BindingOf(1);
  EXPECT_EQ(SidecarReader::Open(fs_, kPath, binding_).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(SidecarReader::ReadBinding(fs_, kPath).status().code(), StatusCode::kNotFound);
}

TEST_F(SidecarTest, EveryFlippedByteIsNoticed) {
  Write(150);
  ASSERT_TRUE(VerifyAll().ok());
  Bytes bytes = Content();
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= std::byte{0x20};
    fs_.SetContent(kPath, bytes);
    EXPECT_EQ(VerifyAll().code(), StatusCode::kCorruption) << i;
    bytes[i] ^= std::byte{0x20};
  }
}

TEST_F(SidecarTest, EveryCutIsRefusedAtOpen) {
  Write(150);
  const Bytes bytes = Content();
  for (size_t i = 0; i < bytes.size(); ++i) {
    fs_.SetContent(kPath, ByteSpan(bytes).first(i));
    EXPECT_EQ(SidecarReader::Open(fs_, kPath, binding_).status().code(), StatusCode::kCorruption)
        << i;
  }
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
  auto reader = SidecarReader::Open(faults, kPath, binding_);
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
