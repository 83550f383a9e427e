#include "dedupe/sidecar_merge.h"

#include <gtest/gtest.h>

#include <random>

#include "dedupe/sidecar_fixture.h"

namespace tallystick {
namespace {

// Entries dealt to several sidecars, merged again.
class SidecarMerge : public testing::Test {
 protected:
  static constexpr char kMerged[] = "merged.idx";

  // Input i has the entries of `parts[i]`; their rows are numbered from 0 there.
  void WriteInputs(const std::vector<std::vector<SidecarEntry>>& parts) {
    for (size_t i = 0; i < parts.size(); ++i) {
      const std::string path = "part" + std::to_string(i) + ".idx";
      const SidecarBinding binding = BindingOf(parts[i].size(), 100 + i);
      ASSERT_TRUE(WriteSidecar(*fs_, path, binding, parts[i], nullptr).ok());
      auto reader = SidecarReader::Open(*fs_, path, binding);
      ASSERT_TRUE(reader.ok()) << reader.status().ToString();
      readers_.push_back(*std::move(reader));
    }
  }
  // map_row: where the row of an input is in the merged segment.
  Status Merge(uint64_t rows, const std::function<uint32_t(size_t, uint32_t)>& map_row,
               uint64_t step) {
    std::vector<const SidecarReader*> readers;
    for (const auto& reader : readers_) readers.push_back(reader.get());
    const auto map_rows = [&](std::span<const uint32_t> inputs, std::span<SidecarEntry> entries) {
      for (size_t i = 0; i < entries.size(); ++i) {
        entries[i].row = map_row(inputs[i], entries[i].row);
      }
    };
    auto merger = SidecarMerger::Start(*fs_, kMerged, BindingOf(rows), readers, map_rows, nullptr);
    if (!merger.ok()) return merger.status();
    for (;;) {
      auto done = (*merger)->Step(step);
      if (!done.ok()) return done.status();
      if (*done) return (*merger)->Finish();
    }
  }

  std::unique_ptr<SimFs> fs_ = std::make_unique<SimFs>();
  std::vector<std::unique_ptr<SidecarReader>> readers_;
};

TEST_F(SidecarMerge, MakesTheSameBytesAsOneWrite) {
  for (const uint64_t rows : {2, 146, 147, 1000, 20'000}) {
    for (const size_t inputs : {2, 3, 8}) {
      if (rows < inputs) continue;
      SCOPED_TRACE(testing::Message() << rows << " rows of " << inputs << " inputs");
      readers_.clear();
      fs_ = std::make_unique<SimFs>();
      const std::vector<SidecarEntry> all = EntriesOf(rows);
      std::mt19937_64 random(rows * 10 + inputs);
      std::vector<std::vector<SidecarEntry>> parts(inputs);
      std::vector<std::vector<uint32_t>> maps(inputs);
      for (uint64_t i = 0; i < rows; ++i) {
        const size_t part = i < inputs ? i : random() % inputs;
        SidecarEntry entry = all[i];
        maps[part].push_back(entry.row);
        entry.row = static_cast<uint32_t>(parts[part].size());
        parts[part].push_back(entry);
      }
      WriteInputs(parts);
      const auto map_row = [&](size_t input, uint32_t row) { return maps[input][row]; };
      const Status status = Merge(rows, map_row, 1 + rows / 3);
      ASSERT_TRUE(status.ok()) << status.ToString();
      ASSERT_TRUE(WriteSidecar(*fs_, "expected.idx", BindingOf(rows), all, nullptr).ok());
      EXPECT_TRUE(*fs_->Content(kMerged) == *fs_->Content("expected.idx"));
      auto merged = SidecarReader::Open(*fs_, kMerged, BindingOf(rows));
      ASSERT_TRUE(merged.ok());
      EXPECT_TRUE(CheckSidecar(**merged).ok());
    }
  }
}

// Nothing of these is ever believed: there is no footer.
TEST_F(SidecarMerge, KeysAreConserved) {
  const std::vector<SidecarEntry> all = EntriesOf(10);
  std::vector<std::vector<SidecarEntry>> parts(2);
  for (uint32_t i = 0; i < 10; ++i) {
    parts[i % 2].push_back({all[i].key, all[i].payload_hash, i / 2});
  }
  const auto map_row = [](size_t input, uint32_t row) {
    return static_cast<uint32_t>(2 * row + input);
  };
  WriteInputs(parts);
  EXPECT_EQ(Merge(11, map_row, 100).message(), "merged.idx is not written: 10 entries for 11 rows");
  ASSERT_TRUE(fs_->Remove(kMerged).ok());
  EXPECT_EQ(Merge(9, map_row, 100).code(), StatusCode::kCorruption);
  EXPECT_FALSE(SidecarReader::Open(*fs_, kMerged, BindingOf(9)).ok());
  ASSERT_TRUE(fs_->Remove(kMerged).ok());
  const auto beyond = [](size_t, uint32_t row) { return 6 + row; };
  EXPECT_EQ(Merge(10, beyond, 100).code(), StatusCode::kCorruption);
}

TEST_F(SidecarMerge, AKeyOfTwoInputsIsRefused) {
  const std::vector<SidecarEntry> all = EntriesOf(10);
  std::vector<std::vector<SidecarEntry>> parts(2);
  for (uint32_t i = 0; i < 10; ++i) {
    parts[i % 2].push_back({all[i].key, all[i].payload_hash, i / 2});
  }
  parts[1][3].key = parts[0][2].key;
  WriteInputs(parts);
  const Status status = Merge(
      10, [](size_t input, uint32_t row) { return static_cast<uint32_t>(2 * row + input); }, 3);
  EXPECT_EQ(status.message(), "merged.idx is not written: rows 4 and 7 have the same key");
}

TEST_F(SidecarMerge, DamageOfAnInputIsSaidWithItsFile) {
  const std::vector<SidecarEntry> all = EntriesOf(400);
  std::vector<std::vector<SidecarEntry>> parts(2);
  for (uint32_t i = 0; i < 400; ++i) {
    parts[i % 2].push_back({all[i].key, all[i].payload_hash, i / 2});
  }
  WriteInputs(parts);
  Bytes damaged = *fs_->Content("part1.idx");
  damaged[kSidecarHeaderBytes + kSidecarPageBytes + 100] ^= std::byte{1};
  fs_->SetContent("part1.idx", damaged);
  const Status status = Merge(
      400, [](size_t input, uint32_t row) { return static_cast<uint32_t>(2 * row + input); }, 100);
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_NE(status.message().find("part1.idx at offset 8192"), std::string::npos)
      << status.ToString();
}

}  // namespace
}  // namespace tallystick
