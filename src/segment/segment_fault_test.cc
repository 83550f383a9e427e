// Segments whose blocks are bad, exchanged or contradict one another.
#include <gtest/gtest.h>

#include "segment/segment_file.h"
#include "segment/segment_fixture.h"
#include "testing/fault_fs.h"

namespace tallystick {
namespace {

constexpr SegmentSpec kSpec = {.number = {123}, .group_rows = 16};
constexpr uint32_t kRows = 50;
const RowShape kShape = {.corrections = true, .quarantined = true};

void CopyBlock(const Bytes& from, uint64_t from_at, uint64_t to_at, uint32_t bytes, Bytes& to) {
  std::copy_n(from.begin() + static_cast<ptrdiff_t>(from_at), bytes,
              to.begin() + static_cast<ptrdiff_t>(to_at));
}

TEST(SegmentFault, ABadChunkFailsTheReadsOfItsColumnAndGroupOnly) {
  TestSegment segment(kSpec);
  const TestRows rows({5}, kRows, kShape, 9);
  ASSERT_TRUE(segment.Write(rows).ok());
  const Bytes good = segment.Content();
  for (size_t i = 0; i < kSegmentColumnCount; ++i) {
    const auto bad_column = static_cast<SegmentColumn>(1u << i);
    segment.SetContent(good);
    const GroupEntry entry = *(*segment.Open())->file().Group(1);
    const BlockRef ref = entry.Block(bad_column);
    if (ref.bytes == 0) continue;
    Bytes bad = good;
    bad[ref.offset] ^= std::byte{1};
    segment.SetContent(bad);
    auto reader = segment.Open();
    ASSERT_TRUE(reader.ok());
    SegmentCursor all(**reader, kAllSegmentColumns);
    SegmentCursor others(**reader, kAllSegmentColumns & ~static_cast<SegmentColumns>(bad_column));
    for (uint32_t row = 0; row < kRows; ++row) {
      EXPECT_TRUE(others.Seek(row).ok()) << i;
      const Status status = all.Seek(row);
      const bool hit = row / 16 == 1;
      ASSERT_EQ(status.ok(), !hit) << "column " << i << " row " << row;
      if (!hit) continue;
      EXPECT_EQ(status.code(), StatusCode::kCorruption);
      EXPECT_NE(status.message().find("000123.seg at offset " + std::to_string(ref.offset)),
                std::string::npos)
          << status.ToString();
    }
  }
}

TEST(SegmentFault, AReadErrorIsAnIoErrorAndNotRemembered) {
  TestSegment segment(kSpec);
  ASSERT_TRUE(segment.Write(TestRows({5}, kRows, kShape, 9)).ok());
  FaultFs faulty(segment.fs());
  auto reader = SegmentReader::Open(
      faulty, TestSegment::kPath,
      {kSpec.database_id, kSpec.number, segment.written().footer_checksum}, segment.cache());
  ASSERT_TRUE(reader.ok());
  uint64_t failed = 0;
  for (uint64_t read = 0;; ++read) {
    segment.cache().Erase(kSpec.number);
    faulty.Set(Fault{.op = FaultOp::kRead, .at = read});
    SegmentCursor cursor(**reader, kAllSegmentColumns);
    const Status status = cursor.Seek(20);
    if (faulty.fired() == 0) {
      EXPECT_TRUE(status.ok());
      break;
    }
    EXPECT_EQ(status.code(), StatusCode::kIoError) << read;
    EXPECT_TRUE(cursor.Seek(20).ok()) << read;
    ++failed;
  }
  EXPECT_GT(failed, 10u);
}

TEST(SegmentFault, EveryFailingWriteFailsTheSegment) {
  const TestRows rows({5}, kRows, kShape, 9);
  std::vector<RecordView> records;
  const SegmentInput input = rows.Input(&records);
  for (const FaultOp op : {FaultOp::kCreate, FaultOp::kWrite, FaultOp::kSync}) {
    SimFs fs;
    FaultFs faulty(fs);
    faulty.Set(Fault{.op = op, .error = 28});
    EXPECT_EQ(WriteSegment(faulty, "1.seg", kSpec, input, nullptr).status().code(),
              StatusCode::kNoSpace)
        << FaultOpName(op);
    EXPECT_EQ(faulty.fired(), 1u);
  }
}

TEST(SegmentFault, ABlockOfAnotherPlaceOrFileIsNotBelieved) {
  TestSegment segment(kSpec);
  ASSERT_TRUE(segment.Write(TestRows({5}, kRows, kShape, 9)).ok());
  const Bytes good = segment.Content();
  TestSegment twin({.number = {124}, .group_rows = 16});  // the same rows, another number
  ASSERT_TRUE(twin.Write(TestRows({5}, kRows, kShape, 9)).ok());
  const Bytes other = twin.Content();
  ASSERT_EQ(good.size(), other.size());
  auto reader = segment.Open();
  const SegmentFile& file = (*reader)->file();
  const BlockRef first = file.Group(0)->Block(SegmentColumn::kEventId);
  const BlockRef second = file.Group(1)->Block(SegmentColumn::kEventId);
  ASSERT_EQ(first.bytes, second.bytes);

  Bytes bad = good;
  CopyBlock(good, second.offset, first.offset, first.bytes, bad);
  segment.SetContent(bad);
  EXPECT_EQ(segment.OpenAndCheck().code(), StatusCode::kCorruption);
  SegmentCursor cursor(*reader->get(), kAllSegmentColumns);
  EXPECT_EQ(cursor.Seek(0).code(), StatusCode::kCorruption);

  bad = good;
  CopyBlock(other, first.offset, first.offset, first.bytes, bad);
  segment.SetContent(bad);
  EXPECT_EQ(segment.OpenAndCheck().code(), StatusCode::kCorruption);
  SegmentCursor of_file(*reader->get(), kAllSegmentColumns);
  EXPECT_EQ(of_file.Seek(0).code(), StatusCode::kCorruption);
}

// Every block of the file, in its order.
std::vector<BlockRef> BlocksOf(const SegmentFile& file) {
  const SegmentFooter& footer = file.footer();
  std::vector<BlockRef> refs;
  for (uint32_t group = 0; group < footer.group_count(); ++group) {
    const GroupEntry entry = *file.Group(group);
    for (size_t i = 0; i < kSegmentColumnCount; ++i) {
      refs.push_back(entry.Block(static_cast<SegmentColumn>(1u << i)));
    }
  }
  refs.insert(refs.end(), footer.dictionaries.begin(), footer.dictionaries.end());
  refs.insert(refs.end(), {footer.account_index, footer.commit_times, footer.quarantined});
  refs.push_back(footer.DirectoryPage(0));
  std::erase_if(refs, [](const BlockRef& ref) { return ref.bytes == 0; });
  return refs;
}

// Makes the checksum of a changed block right again.
void SealAgain(const SegmentFile& file, const BlockRef& ref, Bytes& content) {
  const auto begin = content.begin() + static_cast<ptrdiff_t>(ref.offset);
  Bytes payload(begin, begin + ref.bytes - kBlockTrailerBytes);
  const auto codec = static_cast<BlockCodec>(content[ref.offset + payload.size()]);
  const uint64_t seed = SegmentSeed(file.info().database_id, file.info().number);
  SealBlock(seed, ref.offset, codec, 0, payload);
  std::ranges::copy(payload, begin);
}

// And those of the footer: as if a writer had meant it so.
uint64_t SignAgain(const SegmentFile& file, const std::vector<BlockRef>& blocks, Bytes& content) {
  SegmentFooter footer = file.footer();
  footer.content_checksum = 0;
  for (const BlockRef& ref : blocks) {
    const ByteSpan block = ByteSpan(content).subspan(ref.offset, ref.bytes);
    footer.content_checksum = ChainChecksum(footer.content_checksum, StoredBlockChecksum(block));
  }
  content.resize(content.size() - kSegmentTailBytes);
  AppendSegmentTail(footer, content);
  return footer.info.footer_checksum;
}

class SegmentForgery : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(segment_.Write(TestRows({5}, kRows, kShape, 9)).ok());
    good_ = segment_.Content();
    auto reader = segment_.Open();
    ASSERT_TRUE(reader.ok());
    reader_ = std::move(*reader);
    blocks_ = BlocksOf(file());
  }
  const SegmentFile& file() const { return reader_->file(); }
  // What the check makes of a content that its manifest stands behind.
  Status Check(const Bytes& content, uint64_t footer_checksum) {
    segment_.SetContent(content);
    segment_.cache().Erase(kSpec.number);
    auto reader =
        SegmentReader::Open(segment_.fs(), TestSegment::kPath,
                            {kSpec.database_id, kSpec.number, footer_checksum}, segment_.cache());
    if (!reader.ok()) return reader.status();
    return CheckSegment(**reader, {}).status();
  }
  // Of a byte of a block, changed and signed again.
  Status CheckForged(const BlockRef& ref, uint64_t at) {
    Bytes forged = good_;
    forged[ref.offset + at] ^= std::byte{1};
    SealAgain(file(), ref, forged);
    const uint64_t checksum = SignAgain(file(), blocks_, forged);
    return Check(forged, checksum);
  }

  TestSegment segment_{kSpec};
  Bytes good_;
  std::unique_ptr<SegmentReader> reader_;
  std::vector<BlockRef> blocks_;  // before anything is forged
};

TEST_F(SegmentForgery, SigningAgainGivesTheSameFile) {
  Bytes same = good_;
  for (const BlockRef& ref : blocks_) SealAgain(file(), ref, same);
  EXPECT_EQ(SignAgain(file(), blocks_, same), segment_.written().footer_checksum);
  EXPECT_EQ(same, good_);
}

TEST_F(SegmentForgery, ABlockWithARightChecksumOfItsOwnIsNotThatOfTheFooter) {
  for (const BlockRef& ref : blocks_) {
    Bytes bad = good_;
    bad[ref.offset] ^= std::byte{1};
    SealAgain(file(), ref, bad);
    ASSERT_EQ(Check(bad, segment_.written().footer_checksum).code(), StatusCode::kCorruption)
        << ref.offset;
  }
}

// With all checksums right, what is said twice must still agree.
TEST_F(SegmentForgery, EveryByteOfDirectoryAndQuarantinedListIsHeldAgainstTheRows) {
  for (const BlockRef& ref : {file().footer().quarantined, file().footer().DirectoryPage(0)}) {
    for (uint64_t at = 0; at + kBlockTrailerBytes < ref.bytes; ++at) {
      ASSERT_EQ(CheckForged(ref, at).code(), StatusCode::kCorruption) << ref.offset + at;
    }
  }
}

TEST_F(SegmentForgery, EveryValueOfColumnsThatOthersSpeakOfIsHeldAgainstThem) {
  constexpr uint64_t kSlackBytes = 8;
  std::vector<BlockRef> refs = {file().footer().account_index};
  for (const SegmentColumn column :
       {SegmentColumn::kAccountId, SegmentColumn::kDisposition, SegmentColumn::kLsn}) {
    refs.push_back(file().Group(1)->Block(column));
  }
  for (const BlockRef& ref : refs) {
    for (uint64_t at = 0; at + kBlockTrailerBytes + kSlackBytes < ref.bytes; ++at) {
      ASSERT_EQ(CheckForged(ref, at).code(), StatusCode::kCorruption) << ref.offset + at;
    }
  }
}

TEST_F(SegmentForgery, TheFootersTotalsAreHeldAgainstTheRows) {
  const auto forge = [&](auto&& change) {
    SegmentFooter footer = file().footer();
    change(footer);
    Bytes forged(good_.begin(), good_.end() - kSegmentTailBytes);
    AppendSegmentTail(footer, forged);
    return Check(forged, footer.info.footer_checksum).code();
  };
  EXPECT_EQ(forge([](SegmentFooter&) {}), StatusCode::kOk);
  EXPECT_EQ(forge([](SegmentFooter& f) { f.quantity.Add(Quantity{1, 12}); }),
            StatusCode::kCorruption);
  EXPECT_EQ(forge([](SegmentFooter& f) { --f.info.timestamp_min_ms; }), StatusCode::kCorruption);
  EXPECT_EQ(forge([](SegmentFooter& f) { ++f.info.timestamp_max_ms; }), StatusCode::kCorruption);
  EXPECT_EQ(forge([](SegmentFooter& f) { --f.info.quarantined; }), StatusCode::kCorruption);
  EXPECT_EQ(forge([](SegmentFooter& f) { ++f.info.first_lsn.value, ++f.info.last_lsn.value; }),
            StatusCode::kCorruption);
  EXPECT_EQ(forge([](SegmentFooter& f) { f.scope = IdentityScope::kAccount; }),
            StatusCode::kCorruption);
  EXPECT_EQ(forge([](SegmentFooter& f) { ++f.content_checksum; }), StatusCode::kCorruption);
}

TEST(SegmentFault, ReadingThroughASmallCacheStaysWithinItsBound) {
  TestSegment segment({.number = {123}, .group_rows = 64});
  ASSERT_TRUE(segment.Write(TestRows({1}, 5000, kShape, 4)).ok());
  constexpr uint64_t kBytesMax = 20'000;
  BlockCache small(kBytesMax);
  auto reader = SegmentReader::Open(segment.fs(), TestSegment::kPath, {{}, {123}, 0}, small);
  ASSERT_TRUE(reader.ok());
  ASSERT_TRUE(CheckSegment(**reader, {}).ok());
  EXPECT_EQ(small.Read().misses, 0u);  // the check goes past it
  SegmentCursor cursor(**reader, kAllSegmentColumns);
  for (uint32_t row = 0; row < 5000; row += 37) {
    ASSERT_TRUE(cursor.Seek(row).ok());
    ASSERT_LE(small.Read().bytes, kBytesMax);
  }
  EXPECT_GT(small.Read().bytes, 0u);
}

}  // namespace
}  // namespace tallystick
