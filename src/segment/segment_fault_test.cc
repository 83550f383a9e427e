// Segments whose blocks are bad, exchanged or contradict one another.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>

#include "segment/chunk.h"
#include "segment/segment_file.h"
#include "segment/segment_fixture.h"
#include "testing/fault_fs.h"

namespace tallystick {
namespace {

constexpr SegmentSpec kSpec = {.number = {123}, .group_rows = 16};
constexpr uint32_t kRows = 50;
const RowShape kShape = {.corrections = true, .quarantined = true};

Bytes CanonicalOf(const RowView& row) {
  Bytes canonical;
  EncodeRow(row, canonical);
  return canonical;
}

void CopyBlock(const Bytes& from, uint64_t from_at, uint64_t to_at, uint32_t bytes, Bytes& to) {
  std::copy_n(from.begin() + static_cast<ptrdiff_t>(from_at), bytes,
              to.begin() + static_cast<ptrdiff_t>(to_at));
}

TEST(SegmentFault, ABadChunkFailsTheReadsOfItsColumnAndGroupOnly) {
  TestSegment segment(kSpec);
  const TestRows rows({5}, kRows, kShape, 9);
  const std::vector<uint32_t> order = rows.SortedOrder();
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
      // What was loaded of the bad group does not show in the one that the cursor came from.
      ASSERT_TRUE(all.Seek(3).ok());
      ASSERT_TRUE(std::ranges::equal(CanonicalOf(all.row()), rows.record(order[3]).canonical));
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
    return segment_.CheckContent(content, footer_checksum);
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

// Rows that differ in timestamp and LSN only, but for two accounts: 8 in one group.
class SegmentContradiction : public ::testing::Test {
 protected:
  void SetUp() override {
    TestRows rows({1});
    const Dimension dimension{"key", "value"};
    for (int64_t i = 0; i < 8; ++i) {
      const std::string id = "event-" + std::to_string(i);
      rows.Add({.event_id = id,
                .account_id = i < 2 ? "a" : "b",
                .product_id = "p",
                .meter_id = "m",
                .timestamp_ms = 100 + (i < 5 ? 10 * i : 40),
                .quantity = Quantity::FromInteger(i),
                .dimensions = {&dimension, 1}});
    }
    for (int64_t i = 0; i < 4; ++i) rows.AddCommitTime({{static_cast<uint64_t>(1 + i)}, 10 + i});
    ASSERT_TRUE(segment_.Write(rows).ok());
    good_ = segment_.Content();
    auto reader = segment_.Open();
    ASSERT_TRUE(reader.ok());
    reader_ = std::move(*reader);
    blocks_ = BlocksOf(file());
    entry_ = *file().Group(0);
  }
  const SegmentFile& file() const { return reader_->file(); }

  Status CheckSigned(Bytes content) {
    const uint64_t checksum = SignAgain(file(), blocks_, content);
    return CheckListed(content, checksum);
  }
  Status CheckListed(const Bytes& content, uint64_t footer_checksum) {
    return segment_.CheckContent(content, footer_checksum);
  }
  // The file with `payload` in the place of a block's, which has as many bytes.
  Status CheckWith(const BlockRef& ref, const Bytes& payload) {
    EXPECT_EQ(payload.size() + kBlockTrailerBytes, ref.bytes);
    Bytes forged = good_;
    std::ranges::copy(payload, forged.begin() + static_cast<ptrdiff_t>(ref.offset));
    SealAgain(file(), ref, forged);
    return CheckSigned(forged);
  }
  Bytes PayloadOf(const BlockRef& ref) const {
    const auto begin = good_.begin() + static_cast<ptrdiff_t>(ref.offset);
    return Bytes(begin, begin + ref.bytes - kBlockTrailerBytes);
  }
  // With two values of a column of integers exchanged: zones and sets of values stay as they are.
  Status CheckSwapped(SegmentColumn column, size_t a, size_t b) {
    const Bytes payload = PayloadOf(entry_.Block(column));
    Decoder decoder(payload);
    IntChunk chunk;
    EXPECT_TRUE(IntChunk::Parse(decoder, 8, &chunk));
    std::vector<uint64_t> values(8);
    chunk.Unpack(0, values);
    std::swap(values[a], values[b]);
    Bytes swapped;
    AppendIntChunk(values, swapped);
    return CheckWith(entry_.Block(column), swapped);
  }
  // With another value for all rows of a column that has only one.
  Status CheckConstant(SegmentColumn column, uint64_t value) {
    ColumnEntry& in_directory = entry_.columns[ColumnIndex(column)];
    EXPECT_EQ(in_directory.block_bytes, 0u);
    const ColumnEntry before = std::exchange(in_directory, {value, value, 0});
    Bytes page;
    AppendGroupEntry(entry_, page);
    in_directory = before;
    return CheckWith(file().footer().DirectoryPage(0), page);
  }
  // The file as it is now, nothing of it in the cache.
  std::unique_ptr<SegmentReader> OpenAnew() {
    cache_ = std::make_unique<BlockCache>(1 << 20);
    auto reader = SegmentReader::Open(segment_.fs(), TestSegment::kPath,
                                      {kSpec.database_id, kSpec.number, 0}, *cache_);
    EXPECT_TRUE(reader.ok());
    return *std::move(reader);
  }
  // With another zone of a column in the directory.
  Status CheckZone(SegmentColumn column, uint64_t min, uint64_t max) {
    GroupEntry entry = entry_;
    entry.columns[ColumnIndex(column)].min = min;
    entry.columns[ColumnIndex(column)].max = max;
    Bytes page;
    AppendGroupEntry(entry, page);
    return CheckWith(file().footer().DirectoryPage(0), page);
  }
  // With a stray byte in front of block `gap`; all blocks are moved, sealed and named again.
  Status CheckGap(size_t gap);

  TestSegment segment_{kSpec};
  Bytes good_;
  std::unique_ptr<SegmentReader> reader_;
  std::vector<BlockRef> blocks_;
  GroupEntry entry_;
  std::unique_ptr<BlockCache> cache_;
};

Status SegmentContradiction::CheckGap(size_t gap) {
  const uint64_t seed = SegmentSeed(file().info().database_id, file().info().number);
  const size_t group_blocks = blocks_.size() - kDictionaryCount - 3;
  Bytes out(good_.begin(), good_.begin() + kSegmentHeaderBytes);
  SegmentFooter footer = file().footer();
  footer.content_checksum = 0;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (i == gap) out.push_back(std::byte{0});
    const uint64_t at = out.size();
    if (i == 0) entry_.offset = at;
    if (i >= group_blocks && i < group_blocks + kDictionaryCount) {
      footer.dictionaries[i - group_blocks].offset = at;
    }
    if (i == blocks_.size() - 3) footer.account_index.offset = at;
    if (i == blocks_.size() - 2) footer.commit_times.offset = at;
    if (i == blocks_.size() - 1) {
      footer.directory_offset = at;
      AppendGroupEntry(entry_, out);
    } else {
      const Bytes payload = PayloadOf(blocks_[i]);
      out.insert(out.end(), payload.begin(), payload.end());
    }
    const auto codec =
        static_cast<BlockCodec>(good_[blocks_[i].offset + blocks_[i].bytes - kBlockTrailerBytes]);
    footer.content_checksum =
        ChainChecksum(footer.content_checksum, SealBlock(seed, at, codec, at, out));
  }
  footer.info.bytes = out.size() + kSegmentTailBytes;
  AppendSegmentTail(footer, out);
  return CheckListed(out, footer.info.footer_checksum);
}

TEST_F(SegmentContradiction, NothingIsWrongWithoutOne) {
  EXPECT_TRUE(CheckSwapped(SegmentColumn::kTimestamp, 3, 3).ok());
  EXPECT_TRUE(CheckConstant(SegmentColumn::kProductId, 0).ok());
  EXPECT_TRUE(CheckGap(blocks_.size()).ok());
}

TEST_F(SegmentContradiction, RowsOutOfOrder) {
  EXPECT_EQ(CheckSwapped(SegmentColumn::kTimestamp, 2, 3).code(), StatusCode::kCorruption);
  // Rows 5 and 6 have one timestamp: the LSN decides.
  EXPECT_EQ(CheckSwapped(SegmentColumn::kLsn, 5, 6).code(), StatusCode::kCorruption);
}

TEST_F(SegmentContradiction, CodesKindsAndDispositionsThatDoNotExist) {
  for (const SegmentColumn column :
       {SegmentColumn::kProductId, SegmentColumn::kMeterId, SegmentColumn::kUnit,
        SegmentColumn::kModelId, SegmentColumn::kSubscriptionId, SegmentColumn::kSource,
        SegmentColumn::kDimensions, SegmentColumn::kDisposition}) {
    EXPECT_EQ(CheckConstant(column, 1).code(), StatusCode::kCorruption) << ColumnIndex(column);
  }
  EXPECT_EQ(CheckConstant(SegmentColumn::kKind, 3).code(), StatusCode::kCorruption);
  // A correction that refers to nothing.
  EXPECT_EQ(CheckConstant(SegmentColumn::kKind, 1).code(), StatusCode::kCorruption);
}

// Readers believe zones before they have read a row: backward ones would be ranges that never end.
TEST_F(SegmentContradiction, ZonesThatAreNoRangesAreRefusedWhenTheyAreRead) {
  const auto read = [&](SegmentColumn column, uint64_t min, uint64_t max) {
    EXPECT_EQ(CheckZone(column, min, max).code(), StatusCode::kCorruption);
    return std::string(OpenAnew()->Zone(0).status().message());
  };
  for (const SegmentColumn column :
       {SegmentColumn::kAccountId, SegmentColumn::kKind, SegmentColumn::kLsn,
        SegmentColumn::kTimestamp, SegmentColumn::kDimensions}) {
    EXPECT_THAT(read(column, 5, 3), testing::HasSubstr("a zone is none")) << ColumnIndex(column);
  }
  EXPECT_THAT(read(SegmentColumn::kTimestamp, 100, uint64_t{1} << 63),
              testing::HasSubstr("a zone is none"));
}

TEST_F(SegmentContradiction, AnAccountIndexWithoutTheLastRowsIsRefusedWhenItIsRead) {
  Bytes payload;
  AppendIntChunk(std::vector<uint64_t>{0, 2, 7}, payload);
  const BlockRef ref = file().footer().account_index;
  payload.resize(ref.bytes - kBlockTrailerBytes);
  EXPECT_EQ(CheckWith(ref, payload).code(), StatusCode::kCorruption);
  EXPECT_THAT(OpenAnew()->AccountStarts().status().message(),
              testing::HasSubstr("the account index does not have all rows"));
}

TEST_F(SegmentContradiction, DictionariesOutOfOrderEmptyOrNoDimensions) {
  const auto with_last = [&](size_t dictionary, size_t from_end, std::byte value) {
    const BlockRef& ref = file().footer().dictionaries[dictionary];
    Bytes payload = PayloadOf(ref);
    payload[payload.size() - from_end] = value;
    return CheckWith(ref, payload).code();
  };
  EXPECT_EQ(with_last(0, 1, std::byte{'c'}), StatusCode::kOk);  // "a", "c"
  EXPECT_EQ(with_last(0, 1, std::byte{'a'}), StatusCode::kCorruption);
  EXPECT_EQ(with_last(0, 1, std::byte{'A'}), StatusCode::kCorruption);
  // One pair of 10 bytes; its count stands in front.
  EXPECT_EQ(with_last(kDimensionDictionary, 11, std::byte{2}), StatusCode::kCorruption);
  // The first account's end is 0: it is empty.
  const BlockRef& accounts = file().footer().dictionaries[0];
  Bytes payload = PayloadOf(accounts);
  payload[4] = std::byte{0};
  EXPECT_EQ(CheckWith(accounts, payload).code(), StatusCode::kCorruption);
}

TEST_F(SegmentContradiction, CommitTimesAndAccountIndexOutOfOrder) {
  const auto with_times = [&](const std::vector<uint64_t>& lsns, std::vector<uint64_t> times) {
    Bytes payload;
    PutFixed<uint32_t>(payload, 4);
    AppendIntChunk(lsns, payload);
    for (uint64_t& time : times) time = Biased(static_cast<int64_t>(time));
    AppendIntChunk(times, payload);
    return CheckWith(file().footer().commit_times, payload).code();
  };
  EXPECT_EQ(with_times({1, 2, 3, 4}, {10, 11, 12, 13}), StatusCode::kOk);
  EXPECT_EQ(with_times({1, 3, 2, 4}, {10, 11, 12, 13}), StatusCode::kCorruption);
  EXPECT_EQ(with_times({1, 2, 3, 4}, {10, 12, 11, 13}), StatusCode::kCorruption);
  EXPECT_EQ(with_times({2, 3, 4, 5}, {10, 11, 12, 13}), StatusCode::kCorruption);
  EXPECT_EQ(with_times({6, 7, 8, 9}, {10, 11, 12, 13}), StatusCode::kCorruption);
  const auto with_starts = [&](const std::vector<uint64_t>& starts) {
    Bytes payload;
    AppendIntChunk(starts, payload);
    return CheckWith(file().footer().account_index, payload).code();
  };
  EXPECT_EQ(with_starts({0, 2, 8}), StatusCode::kOk);
  EXPECT_EQ(with_starts({0, 2, 9}), StatusCode::kCorruption);
  EXPECT_EQ(with_starts({0, 3, 8}), StatusCode::kCorruption);
}

TEST_F(SegmentContradiction, AByteThatBelongsToNoBlock) {
  const size_t group_blocks = blocks_.size() - kDictionaryCount - 3;
  for (const size_t gap : {size_t{0}, group_blocks, group_blocks + 1, blocks_.size() - 3,
                           blocks_.size() - 2, blocks_.size() - 1}) {
    EXPECT_EQ(CheckGap(gap).code(), StatusCode::kCorruption) << gap;
  }
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

TEST(SegmentFault, ACursorGoesBackFromAShortGroupToALongOne) {
  TestSegment segment({.number = {123}, .group_rows = 64});
  const TestRows rows({1}, 65, kShape, 4);
  const std::vector<uint32_t> order = rows.SortedOrder();
  ASSERT_TRUE(segment.Write(rows).ok());
  auto reader = segment.Open();
  ASSERT_TRUE(reader.ok());
  SegmentCursor cursor(**reader, kAllSegmentColumns);
  std::vector<RowView> of_group;
  for (uint32_t row = 65; row-- > 0;) {
    ASSERT_TRUE(cursor.Seek(row).ok());
    if (row == 64) continue;
    of_group.push_back(cursor.row());
  }
  // Views of one group stay as they were.
  for (uint32_t row = 0; row < 64; ++row) {
    EXPECT_TRUE(
        std::ranges::equal(CanonicalOf(of_group[63 - row]), rows.record(order[row]).canonical));
  }
}

}  // namespace
}  // namespace tallystick
