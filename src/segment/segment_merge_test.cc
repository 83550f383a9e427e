#include "segment/segment_merge.h"

#include <gtest/gtest.h>

#include "segment/segment_fixture.h"

namespace tallystick {
namespace {

// Rows that are cut into segments, merged, and compared with one segment of them all.
class Merge {
 public:
  Merge(const SegmentSpec& spec, uint32_t rows, const RowShape& shape, uint64_t seed)
      : spec_(spec), all_(Lsn{1}, rows, shape, seed) {}

  // `cuts`: how many rows each segment has.
  Result<WrittenSegment> Run(const std::vector<uint32_t>& cuts, uint32_t step = 1) {
    uint32_t first = 0;
    for (const uint32_t rows : cuts) {
      TALLY_CHECK(WritePart(first, rows).ok());
      first += rows;
    }
    std::vector<const SegmentReader*> inputs;
    for (const auto& part : parts_) inputs.push_back(part.get());
    auto merger = SegmentMerger::Start(fs_, kMerged, spec_, inputs, nullptr);
    if (!merger.ok()) return merger.status();
    merger_ = *std::move(merger);
    for (;;) {
      auto done = merger_->Step(step);
      if (!done.ok()) return done.status();
      if (*done) break;
    }
    return merger_->Finish();
  }

  Bytes Expected() {
    std::vector<RecordView> records;
    auto written = WriteSegment(fs_, "expected.seg", spec_, all_.Input(&records), nullptr);
    TALLY_CHECK(written.ok());
    return *fs_.Content("expected.seg");
  }
  Bytes Merged() { return *fs_.Content(kMerged); }

  std::vector<std::unique_ptr<SegmentReader>>& parts() { return parts_; }
  SegmentMerger& merger() { return *merger_; }
  const TestRows& rows() const { return all_; }
  SimFs& fs() { return fs_; }

 private:
  static constexpr char kMerged[] = "merged.seg";

  Status WritePart(uint32_t first, uint32_t count) {
    TestRows rows(all_.lsn(first));
    std::vector<RecordView> records;
    for (uint32_t i = first; i < first + count; ++i) records.push_back(all_.record(i));
    std::vector<CommitTime> times;
    for (const CommitTime& time : all_.commit_times()) {
      if (time.first_lsn > all_.lsn(first + count - 1)) break;
      // What covers the first row: a frame that began before it goes on here.
      if (time.first_lsn <= all_.lsn(first))
        times = {{all_.lsn(first), time.commit_time_us}};
      else
        times.push_back(time);
    }
    SegmentSpec spec = spec_;
    spec.number = {parts_.size() + 1};
    const std::string path = "part" + std::to_string(parts_.size()) + ".seg";
    auto written = WriteSegment(fs_, path, spec, {all_.lsn(first), records, times}, nullptr);
    if (!written.ok()) return written.status();
    auto reader = SegmentReader::Open(
        fs_, path, {spec.database_id, spec.number, written->footer_checksum}, cache_);
    if (!reader.ok()) return reader.status();
    parts_.push_back(*std::move(reader));
    return Status::Ok();
  }

  const SegmentSpec spec_;
  SimFs fs_;
  BlockCache cache_{uint64_t{1} << 20};
  TestRows all_;
  std::vector<std::unique_ptr<SegmentReader>> parts_;
  std::unique_ptr<SegmentMerger> merger_;
};

SegmentSpec Spec(uint32_t group_rows, uint32_t dimension_sets_max = kSegmentDimensionSetsMax) {
  return {.database_id = TestDatabaseId(),
          .number = {123},
          .group_rows = group_rows,
          .dimension_sets_max = dimension_sets_max};
}

// The commit times' table is compared entry by entry: where a frame was cut, the parts have one
// more.
void ExpectSameRows(Merge& merge) {
  BlockCache cache(1 << 20);
  auto reader = SegmentReader::Open(merge.fs(), "merged.seg", {TestDatabaseId(), {123}, 0}, cache);
  ASSERT_TRUE(reader.ok()) << reader.status().ToString();
  const auto totals = CheckSegment(**reader, {});
  ASSERT_TRUE(totals.ok()) << totals.status().ToString();
  EXPECT_EQ(*totals, merge.rows().Totals());
  const std::vector<uint32_t> order = merge.rows().SortedOrder();
  SegmentCursor cursor(**reader, kAllSegmentColumns);
  for (uint32_t row = 0; row < order.size(); ++row) {
    ASSERT_TRUE(cursor.Seek(row).ok());
    ASSERT_EQ(cursor.lsn(), merge.rows().lsn(order[row])) << row;
    Bytes canonical;
    EncodeRow(cursor.row(), canonical);
    ASSERT_TRUE(std::ranges::equal(canonical, merge.rows().record(order[row]).canonical)) << row;
  }
}

void ExpectMaps(Merge& merge) {
  BlockCache cache(1 << 20);
  auto reader = SegmentReader::Open(merge.fs(), "merged.seg", {TestDatabaseId(), {123}, 0}, cache);
  ASSERT_TRUE(reader.ok());
  for (size_t i = 0; i < merge.parts().size(); ++i) {
    const SegmentReader& part = *merge.parts()[i];
    ASSERT_EQ(merge.merger().maps()[i].size(), part.info().rows);
    for (uint32_t row = 0; row < part.info().rows; ++row) {
      ASSERT_EQ(*part.LsnOfRow(row), *(*reader)->LsnOfRow(merge.merger().maps()[i].At(row)));
    }
  }
}

std::vector<RowShape> Shapes() {
  using Ids = RowShape::Ids;
  using Quantities = RowShape::Quantities;
  return {
      {},
      {.accounts = 50, .dimension_sets = 0},
      {.ids = Ids::kMixed, .quantities = Quantities::kMixed, .corrections = true},
      {.accounts = 1, .ids = Ids::kText, .quantities = Quantities::kScaled, .quarantined = true},
      {.dimension_sets = UINT32_MAX, .ids = Ids::kUpperUuid, .quantities = Quantities::kWide},
      {.accounts = 7,
       .dimension_sets = 100,
       .ids = Ids::kMixed,
       .quantities = Quantities::kMixed,
       .edge_timestamps = true,
       .empty_and_absent = true,
       .corrections = true,
       .quarantined = true},
  };
}

TEST(SegmentMerge, MakesTheRowsOfAllInputsInOrder) {
  uint64_t seed = 100;
  for (const RowShape& shape : Shapes()) {
    for (const auto& cuts : {std::vector<uint32_t>{1, 1},
                             {1, 500},
                             {300, 7, 200},
                             {64, 64, 64, 64},
                             {1, 2, 3, 4, 5, 6, 7, 8, 900}}) {
      for (const uint32_t group_rows : {1u, 16u, 100u, 8192u}) {
        for (const uint32_t sets_max : {kSegmentDimensionSetsMax, 8u}) {
          SCOPED_TRACE(testing::Message() << "seed " << ++seed << ", " << cuts.size()
                                          << " inputs, groups of " << group_rows);
          uint32_t rows = 0;
          for (const uint32_t cut : cuts) rows += cut;
          Merge merge(Spec(group_rows, sets_max), rows, shape, seed);
          const auto written = merge.Run(cuts, 1 + seed % 4);
          ASSERT_TRUE(written.ok()) << written.status().ToString();
          EXPECT_EQ(written->totals, merge.rows().Totals());
          ExpectSameRows(merge);
          ExpectMaps(merge);
        }
      }
    }
  }
}

// The merged file is the one that would have been written had all rows been there at once. Each
// commit is a single row here, so that the table of commit times is the same too.
TEST(SegmentMerge, MakesTheSameBytesAsOneWrite) {
  uint64_t seed = 1;
  for (const RowShape& shape : Shapes()) {
    for (const auto& [sets_max, set_bytes_max] :
         {std::pair(kSegmentDimensionSetsMax, kSegmentDimensionSetBytesMax),
          std::pair(8u, kSegmentDimensionSetBytesMax),
          std::pair(kSegmentDimensionSetsMax, uint64_t{300})}) {
      SCOPED_TRACE(testing::Message() << "seed " << ++seed);
      SegmentSpec spec = Spec(32, sets_max);
      spec.dimension_set_bytes_max = set_bytes_max;
      Merge merge(spec, 700, shape, seed);
      // Cut where a frame begins.
      std::vector<uint32_t> cuts;
      uint32_t before = 0;
      const auto& times = merge.rows().commit_times();
      for (const size_t at : {times.size() / 5, times.size() / 2, times.size() - 1}) {
        const auto next = static_cast<uint32_t>(times[at].first_lsn.value - 1);
        cuts.push_back(next - before);
        before = next;
      }
      cuts.push_back(700 - before);
      const auto written = merge.Run(cuts);
      ASSERT_TRUE(written.ok()) << written.status().ToString();
      EXPECT_TRUE(merge.Merged() == merge.Expected());
    }
  }
}

// Whatever byte of an input is wrong: an error with its path, or the same output.
TEST(SegmentMerge, DamageOfAnInputIsNeverMerged) {
  const RowShape shape = Shapes().back();
  const std::vector<uint32_t> cuts = {60, 60};
  Merge sound(Spec(16), 120, shape, 9);
  ASSERT_TRUE(sound.Run(cuts).ok());
  const Bytes expected = sound.Merged();
  const Bytes part = *sound.fs().Content("part1.seg");
  uint64_t refused = 0;
  for (size_t at = kSegmentHeaderBytes; at < part.size() - kSegmentTailBytes; at += 7) {
    SCOPED_TRACE(at);
    Bytes damaged = part;
    damaged[at] ^= std::byte{0x10};
    sound.fs().SetContent("part1.seg", damaged);
    ASSERT_TRUE(sound.fs().Remove("merged.seg").ok());
    BlockCache cache(0);
    auto first = SegmentReader::Open(sound.fs(), "part0.seg", {TestDatabaseId(), {1}, 0}, cache);
    auto second = SegmentReader::Open(sound.fs(), "part1.seg", {TestDatabaseId(), {2}, 0}, cache);
    ASSERT_TRUE(first.ok() && second.ok());
    auto merger = SegmentMerger::Start(sound.fs(), "merged.seg", Spec(16),
                                       {first->get(), second->get()}, nullptr);
    Status status = merger.status();
    if (status.ok()) {
      const auto done = (*merger)->Step(1000);
      status = done.ok() ? (*merger)->Finish().status() : done.status();
    }
    if (!status.ok()) {
      EXPECT_NE(status.ToString().find("part1.seg at offset"), std::string::npos)
          << status.ToString();
      ++refused;
      if (!sound.fs().Content("merged.seg").ok()) {
        ASSERT_TRUE(sound.fs().Open("merged.seg", OpenMode::kCreateNew).ok());
      }
      continue;
    }
    EXPECT_TRUE(sound.Merged() == expected);
  }
  EXPECT_GT(refused, 100u);
}

}  // namespace
}  // namespace tallystick
