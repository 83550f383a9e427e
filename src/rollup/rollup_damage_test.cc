// What of a rollup is not believed: damage, files and blocks of others, contents that contradict
// themselves under checksums that are right, and lines that the rows do not give.
#define XXH_INLINE_ALL
#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <functional>

#include "rollup/rollup_fixture.h"
#include "rollup/rollup_format.h"
#include "testing/fault_fs.h"

namespace tallystick {
namespace {

// The parts of a file, to be changed and put together under right checksums.
struct Parts {
  RollupFooter footer;
  std::vector<Bytes> blocks;  // payloads
  std::vector<uint64_t> starts;
  std::vector<uint64_t> offsets;  // empty: as the blocks lie
  Bytes behind_index;
  Bytes before_blocks;
  std::function<void(std::span<std::byte>)> change_footer = [](auto) {};
};

class RollupDamageTest : public RollupTest {
 protected:
  void ExpectComplaint(const std::string& what) {
    const Status status = VerifyAll();
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << what;
    EXPECT_NE(status.message().find(what), std::string::npos) << status.message();
    EXPECT_NE(status.message().find("000123.sum at offset "), std::string::npos)
        << status.message();
  }
  void WriteSmall() {
    RollupRows rows;
    for (const char* account : {"a", "b"}) {
      AddRows(rows, {.account = account}, 9);
      AddRows(rows, {.account = account, .model = "l", .kind = EventKind::kRetraction}, 9);
    }
    AddRow(rows, {.account = "c"});
    Write(rows);
    ASSERT_EQ(rollup_.starts, (std::vector<uint64_t>{0, 2, 4, 6, 6}));
  }

  Parts PartsOfFile() {
    const auto reader = Open();
    Parts parts;
    parts.footer = reader->footer();
    parts.starts = rollup_.starts;
    for (uint64_t block = 0; block < parts.footer.blocks(); ++block) {
      uint64_t offset = 0;
      parts.blocks.push_back(**reader->Block(block, &offset));
    }
    return parts;
  }
  void Put(Parts parts) {
    RollupFooter& footer = parts.footer;
    const uint64_t seed = RollupSeed(footer.database_id, footer.number);
    Bytes file;
    const auto append_block = [&](const Bytes& payload) {
      const BlockRef ref{file.size(), static_cast<uint32_t>(payload.size() + kBlockTrailerBytes)};
      file.insert(file.end(), payload.begin(), payload.end());
      SealBlock(seed, ref.offset, BlockCodec::kRaw, ref.offset, file);
      return ref;
    };
    AppendRollupHeader(footer.database_id, footer.number, file);
    file.insert(file.end(), parts.before_blocks.begin(), parts.before_blocks.end());
    const bool as_they_lie = parts.offsets.empty();
    for (const Bytes& payload : parts.blocks) {
      const BlockRef ref = append_block(payload);
      if (as_they_lie) parts.offsets.push_back(ref.offset);
    }
    if (as_they_lie) parts.offsets.push_back(file.size());
    Bytes index;
    AppendIntChunk(parts.starts, index);
    AppendIntChunk(parts.offsets, index);
    index.insert(index.end(), parts.behind_index.begin(), parts.behind_index.end());
    footer.index = append_block(index);
    AppendRollupFooter(footer, file);
    const auto tail = std::span(file).last(kRollupFooterBytes);
    parts.change_footer(tail);
    const auto checked = tail.first(tail.size() - 8);
    StoreFixed(checked.data() + checked.size(), XXH3_64bits(checked.data(), checked.size()));
    fs().SetContent(kRollupPath, file);
  }
  // The file with one part changed, all checksums right.
  void Forge(const std::function<void(Parts&)>& change) {
    Parts parts = good_;
    change(parts);
    Put(std::move(parts));
  }
  // With the lines of a block changed.
  void ForgeLines(const std::function<void(std::span<RollupLine>)>& change) {
    Forge([&](Parts& parts) {
      std::vector<RollupLine> lines = rollup_.lines;
      change(lines);
      parts.blocks[0].clear();
      AppendLines(lines, parts.blocks[0]);
    });
  }
  // With one column of the block replaced: 0..7 as in AppendLines.
  void ForgeColumn(size_t column, uint64_t value) {
    Forge([&](Parts& parts) {
      const Bytes& payload = parts.blocks[0];
      const auto lines = static_cast<uint32_t>(rollup_.lines.size());
      Decoder in(payload);
      IntChunk chunk;
      for (size_t i = 0; i < column; ++i) ASSERT_TRUE(IntChunk::Parse(in, lines, &chunk));
      const size_t begin = in.position();
      ASSERT_TRUE(IntChunk::Parse(in, lines, &chunk));
      const size_t end = in.position();
      Bytes changed(payload.begin(), payload.begin() + static_cast<ptrdiff_t>(begin));
      std::vector<uint64_t> values(lines);
      chunk.Unpack(0, values);
      values[lines - 1] = value;
      AppendIntChunk(values, changed);
      changed.insert(changed.end(), payload.begin() + static_cast<ptrdiff_t>(end), payload.end());
      parts.blocks[0] = changed;
    });
  }

  Parts good_;
};

// --- damage ---

TEST_F(RollupDamageTest, EveryFlippedByteIsNoticedWithFileAndOffset) {
  for (const bool wide : {false, true}) {
    WriteSmall();
    if (wide) {
      ASSERT_TRUE(fs().Remove(kRollupPath).ok());
      for (RollupLine& line : rollup_.lines) line.sum.Add(Quantity{~(int128{1} << 127), 0});
      WriteLines(rollup_);
    }
    ASSERT_TRUE(VerifyAll().ok());
    Bytes bytes = Content();
    for (size_t i = 0; i < bytes.size(); ++i) {
      for (const std::byte bit : {std::byte{0x01}, std::byte{0x80}}) {
        bytes[i] ^= bit;
        fs().SetContent(kRollupPath, bytes);
        ExpectComplaint("");
        bytes[i] ^= bit;
      }
    }
    ASSERT_TRUE(fs().Remove(TestSegment::kPath).ok());
    ASSERT_TRUE(fs().Remove(kRollupPath).ok());
  }
}

TEST_F(RollupDamageTest, EveryCutIsRefusedAtOpen) {
  WriteSmall();
  const Bytes bytes = Content();
  BlockCache cache(1 << 20);
  for (size_t i = 0; i < bytes.size(); ++i) {
    fs().SetContent(kRollupPath, ByteSpan(bytes).first(i));
    const Status status = RollupReader::Open(fs(), kRollupPath, info_, cache).status();
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << i;
    EXPECT_NE(status.message().find("000123.sum at offset "), std::string::npos)
        << status.message();
  }
}

TEST_F(RollupDamageTest, WhatIsAppendedOrPutBetweenIsNotIgnored) {
  WriteSmall();
  const Bytes bytes = Content();
  for (size_t i = 0; i <= bytes.size(); ++i) {
    Bytes more = bytes;
    more.insert(more.begin() + static_cast<ptrdiff_t>(i), std::byte{0});
    fs().SetContent(kRollupPath, more);
    ExpectComplaint("");
  }
}

// A damaged block fails what needs it, and nothing else.
TEST_F(RollupDamageTest, ABadBlockFailsItsLinesOnly) {
  WriteMadeUp(MadeUpRollup(3, 1000));
  const uint64_t offset = OffsetOf(*Open(), 1);
  Bytes bytes = Content();
  bytes[offset + 100] ^= std::byte{4};
  fs().SetContent(kRollupPath, bytes);
  const auto reader = Open();
  ASSERT_NE(reader, nullptr);
  EXPECT_TRUE(reader->LinesOf(1).ok());
  RollupColumns columns(*reader);
  EXPECT_TRUE(columns.Enter(0, 0, 1024).ok());
  const Status status = columns.Enter(1, 0, 1024);
  EXPECT_EQ(status.code(), StatusCode::kCorruption);
  EXPECT_NE(status.message().find("000123.sum at offset " + std::to_string(offset)),
            std::string::npos)
      << status.message();
  EXPECT_EQ(columns.rows(), 0u);
  EXPECT_TRUE(columns.Enter(2, 0, 952).ok());
  EXPECT_EQ(columns.rows(), 952u);
}

// What the cache has is good, and the disk may not be any more: a check must not be content with
// it.
TEST_F(RollupDamageTest, ACheckReadsTheDiskWhateverTheCacheHas) {
  WriteSmall();
  const auto reader = Open();
  RollupColumns columns(*reader);
  ASSERT_TRUE(columns.Enter(0, 0, 1).ok());
  for (const uint64_t offset : {OffsetOf(*reader, 0), reader->footer().index.offset}) {
    Bytes bytes = Content();
    bytes[offset] ^= std::byte{1};
    fs().SetContent(kRollupPath, bytes);
    EXPECT_TRUE(columns.Enter(0, 0, 1).ok());
    EXPECT_EQ(CheckRollup(*reader, rollup_).code(), StatusCode::kCorruption);
    bytes[offset] ^= std::byte{1};
    fs().SetContent(kRollupPath, bytes);
    EXPECT_TRUE(CheckRollup(*reader, rollup_).ok());
  }
}

TEST_F(RollupDamageTest, AReadErrorIsAnIoErrorAndNotRemembered) {
  WriteMadeUp(MadeUpRollup(3, 1000));
  FaultFs faults(fs());
  const auto everything = [&](std::unique_ptr<RollupReader>& reader) -> Status {
    BlockCache& cache = *(cache_ = std::make_unique<BlockCache>(1 << 20));
    auto opened = RollupReader::Open(faults, kRollupPath, info_, cache);
    if (!opened.ok()) return opened.status();
    reader = *std::move(opened);
    if (const auto lines = reader->LinesOf(2); !lines.ok()) return lines.status();
    RollupColumns columns(*reader);
    if (Status status = columns.Enter(2, 0, 1); !status.ok()) return status;
    return CheckRollup(*reader, rollup_);
  };
  const uint64_t fired = ForEachFault(Fault{.op = FaultOp::kRead}, [&](const Fault& fault) {
    faults.Set(fault);
    std::unique_ptr<RollupReader> reader;
    const Status status = everything(reader);
    EXPECT_EQ(status.code(), faults.fired() > 0 ? StatusCode::kIoError : StatusCode::kOk)
        << status.ToString();
    if (faults.fired() == 0) return false;
    EXPECT_NE(status.message().find("000123.sum"), std::string::npos) << status.message();
    if (reader != nullptr) {
      RollupColumns columns(*reader);
      EXPECT_TRUE(columns.Enter(2, 0, 1).ok());
      EXPECT_TRUE(CheckRollup(*reader, rollup_).ok());
    }
    return true;
  });
  // Footer, index, block; header, index, three blocks.
  EXPECT_EQ(fired, 8u);
  faults.Set(Fault{.op = FaultOp::kOpen});
  std::unique_ptr<RollupReader> reader;
  EXPECT_EQ(everything(reader).code(), StatusCode::kIoError);
}

// --- of others ---

TEST_F(RollupDamageTest, AFileOfAnotherSegmentIsRefusedByTheFieldThatDiffers) {
  WriteMadeUp(MadeUpRollup(1, 3));
  struct Case {
    std::string what;
    std::function<void(SegmentInfo&)> change;
  };
  const std::vector<Case> cases = {
      {"database id is 00010203", [](auto& i) { i.database_id = TestDatabaseId(9); }},
      {"number is 123, expected 8", [](auto& i) { i.number = {8}; }},
      {"first LSN is 1001, expected 1000", [](auto& i) { i.first_lsn = {1000}; }},
      {"last LSN is 1001000, expected 5", [](auto& i) { i.last_lsn = {5}; }},
      {"number of rows is 1000000, expected 7", [](auto& i) { i.rows = 7; }},
      {"checksum of the segment's footer is 1234605616436508552, expected 6",
       [](auto& i) { i.footer_checksum = 6; }},
  };
  const SegmentInfo info = info_;
  for (const Case& one : cases) {
    info_ = info;
    one.change(info_);
    ExpectComplaint("the footer's " + one.what);
  }
}

TEST_F(RollupDamageTest, ABlockOfAnotherPlaceOrFileIsNotBelieved) {
  WriteMadeUp(MadeUpRollup(2, kLinesPerBlock));
  const Bytes good = Content();
  const auto reader = Open();
  const auto first = static_cast<ptrdiff_t>(OffsetOf(*reader, 0));
  const auto second = static_cast<ptrdiff_t>(OffsetOf(*reader, 1));
  ASSERT_EQ(reader->footer().index.offset - static_cast<uint64_t>(second),
            static_cast<uint64_t>(second - first));
  Bytes bad = good;
  std::copy_n(good.begin() + second, second - first, bad.begin() + first);
  fs().SetContent(kRollupPath, bad);
  ExpectComplaint("at offset 64: the block's checksum does not match");
  for (const bool other_database : {false, true}) {
    SegmentInfo other = info_;
    if (other_database) {
      other.database_id = TestDatabaseId(9);
    } else {
      other.number = {124};
    }
    SimFs machine;
    ASSERT_TRUE(WriteRollup(machine, kRollupPath, other, rollup_, nullptr).ok());
    const Bytes theirs = *machine.Content(kRollupPath);
    ASSERT_EQ(theirs.size(), good.size());
    bad = good;
    std::copy_n(theirs.begin() + first, second - first, bad.begin() + first);
    fs().SetContent(kRollupPath, bad);
    ExpectComplaint("at offset 64: the block's checksum does not match");
    bad = good;
    std::copy_n(theirs.begin(), kRollupHeaderBytes, bad.begin());
    fs().SetContent(kRollupPath, bad);
    ExpectComplaint("at offset 0: the header is not that of this rollup");
  }
}

// The segment's cache has blocks at the same offsets.
TEST_F(RollupDamageTest, BlocksAreNotTakenForThoseOfTheSegment) {
  WriteSmall();
  BlockCache& cache = segment_.cache();
  const auto segment = segment_.Open();
  SegmentCursor rows(**segment, kAllSegmentColumns);
  ASSERT_TRUE(rows.Seek(0).ok());  // which fills the cache
  ASSERT_GT(cache.Read().bytes, 0u);
  const auto reader = RollupReader::Open(fs(), kRollupPath, info_, cache);
  ASSERT_TRUE(reader.ok());
  RollupColumns columns(**reader);
  EXPECT_TRUE(columns.Enter(0, 0, 6).ok());
  EXPECT_NE(SegmentSeed(info_.database_id, info_.number),
            RollupSeed(info_.database_id, info_.number));
}

// --- every checksum is right, what is under it is not ---

class RollupForgeryTest : public RollupDamageTest {
 protected:
  void SetUp() override {
    WriteSmall();
    good_ = PartsOfFile();
  }
};

TEST_F(RollupForgeryTest, PuttingThePartsTogetherGivesTheSameFile) {
  const Bytes good = Content();
  Put(good_);
  EXPECT_EQ(Content(), good);
  EXPECT_TRUE(VerifyAll().ok());
}

TEST_F(RollupForgeryTest, AFooterThatContradictsItselfIsRefused) {
  const auto with = [&](size_t at, auto value) {
    Forge([&](Parts& parts) {
      parts.change_footer = [=](std::span<std::byte> tail) { StoreFixed(&tail[at], value); };
    });
  };
  struct Case {
    std::string complaint;
    size_t at;
    uint64_t value;
  };
  const uint64_t rows = info_.rows;
  for (const Case& one : std::vector<Case>{
           {"contradicts itself", 72, 2 * rows + 1},  // lines
           {"contradicts itself", 80, 0},             // entries
           {"contradicts itself", 80, rows + 2},
           {"contradicts itself", 80, UINT32_MAX},
           {"contradicts itself", 80, UINT64_MAX},
           {"contradicts itself", 56, uint64_t{1} << 32},  // rows
           {"the index does not decode", 80, 5},
           {"not of the accounts", 80, 3},  // the last one has no lines
           {"the index does not decode", 72, 7},
           {"the file's size", 88, good_.footer.index.offset + 1},
           {"the file's size", 88, 63},
           {"the file's size", 88, UINT64_MAX},
       }) {
    with(one.at, one.value);
    ExpectComplaint(one.complaint);
  }
  // As many rows as the format can have, so that the number of starts would not fit 32 bits.
  Forge([](Parts& parts) {
    parts.footer.rows = UINT32_MAX;
    parts.footer.entries = UINT32_MAX;
  });
  ExpectComplaint("contradicts itself");
  with(96, uint32_t{8});  // bytes of the index
  ExpectComplaint("the file's size");
  with(100, uint32_t{0});  // rows that make a line pay
  ExpectComplaint("contradicts itself");
  with(12, uint32_t{1});
  ExpectComplaint("bytes that are unused are not zero");
  with(8, uint32_t{2});
  ExpectComplaint("rollup format 2, this program knows 1");
  with(0, uint32_t{0});
  ExpectComplaint("magic");
}

TEST_F(RollupForgeryTest, AnIndexThatContradictsItselfIsRefused) {
  using Numbers = std::vector<uint64_t>;
  for (const Numbers& starts :
       {Numbers{1, 2, 4, 6, 6}, Numbers{0, 2, 4, 6, 5}, Numbers{0, 2, 4, 6, 7}}) {
    Forge([&](Parts& parts) { parts.starts = starts; });
    ExpectComplaint("the index does not decode");
  }
  for (const Numbers& starts : {Numbers{0, 4, 2, 6, 6}, Numbers{0, 2, 7, 6, 6}}) {
    Forge([&](Parts& parts) { parts.starts = starts; });
    ExpectComplaint("the entries do not follow one another");
    const auto reader = Open();
    EXPECT_EQ(reader->LinesOf(1).ok(), starts[1] < starts[2] && starts[2] < 7);
  }
  const uint64_t end = good_.footer.index.offset;
  for (const Numbers& offsets : {Numbers{65, end}, Numbers{64, end - 1}, Numbers{0, end}}) {
    Forge([&](Parts& parts) { parts.offsets = offsets; });
    ExpectComplaint("the index does not decode");
  }
  Forge([](Parts& parts) { parts.behind_index = {std::byte{0}}; });
  ExpectComplaint("the index does not decode");
  Forge([](Parts& parts) { parts.before_blocks = {std::byte{0}}; });
  ExpectComplaint("the index does not decode");
}

TEST_F(RollupForgeryTest, BlocksThatDoNotFollowOneAnotherAreRefused) {
  ASSERT_TRUE(fs().Remove(kRollupPath).ok());
  WriteMadeUp(MadeUpRollup(1, 3000));
  good_ = PartsOfFile();
  const auto reader = Open();
  const uint64_t first = OffsetOf(*reader, 0), second = OffsetOf(*reader, 1),
                 third = OffsetOf(*reader, 2), end = reader->footer().index.offset;
  for (const std::vector<uint64_t>& offsets : std::vector<std::vector<uint64_t>>{
           {first, second, 0, end}, {first, first, third, end}, {first, second, end + 1, end}}) {
    Forge([&](Parts& parts) { parts.offsets = offsets; });
    ExpectComplaint("the blocks do not follow one another");
  }
  Forge([&](Parts& parts) { parts.offsets = {first, second + 1, third, end}; });
  ExpectComplaint("checksum");
}

TEST_F(RollupForgeryTest, ABlockThatDoesNotDecodeIsRefused) {
  const Bytes payload = good_.blocks[0];
  for (size_t bytes = 0; bytes < payload.size(); ++bytes) {
    Forge([&](Parts& parts) { parts.blocks[0].resize(bytes); });
    ExpectComplaint("at offset 64: the block of lines does not decode");
  }
  Forge([](Parts& parts) { parts.blocks[0].push_back(std::byte{0}); });
  ExpectComplaint("at offset 64: the block of lines does not decode");
  // Behind the eight columns the form of the sums, then their scale.
  Decoder in(payload);
  IntChunk chunk;
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(IntChunk::Parse(in, 6, &chunk));
  const size_t form_at = in.position();
  ASSERT_EQ(payload[form_at], std::byte{0});
  for (const auto& [at, value] : {std::pair<size_t, uint8_t>{form_at, 2}, {form_at + 1, 13}}) {
    Forge([&](Parts& parts) { parts.blocks[0][at] = static_cast<std::byte>(value); });
    ExpectComplaint("at offset 64: the block of lines does not decode");
  }
}

TEST_F(RollupForgeryTest, CodesKindsAndHoursThatNoRowHasAreRefused) {
  for (size_t column = 0; column < 5; ++column) {
    ForgeColumn(column, uint64_t{1} << 32);
    ExpectComplaint("at offset 64: a line has an impossible code");
  }
  ForgeColumn(5, 3);
  ExpectComplaint("at offset 64: a line has an impossible code");
  for (const int64_t hour :
       {INT64_MAX / kHourMs + 1, INT64_MIN / kHourMs - 1, INT64_MAX, INT64_MIN}) {
    ForgeColumn(6, Biased(hour));
    ExpectComplaint("at offset 64: a line has an impossible hour");
  }
}

TEST_F(RollupForgeryTest, NumbersOfEventsThatNoLineHasAreRefused) {
  for (const uint64_t count : {uint64_t{0}, info_.rows + 1, UINT64_MAX}) {
    ForgeColumn(7, count);
    ExpectComplaint("at offset 64: a line has an impossible number of events");
  }
}

TEST_F(RollupForgeryTest, LinesOutOfOrderAreNoticed) {
  ForgeLines([](auto lines) { std::swap(lines[2], lines[3]); });
  ExpectComplaint("at offset 64: line 3 is not above the one before it");
  ForgeLines([](auto lines) { lines[3] = lines[2]; });
  ExpectComplaint("at offset 64: line 3 is not above the one before it");
}

TEST_F(RollupForgeryTest, LinesThatTheRowsDoNotGiveAreNoticed) {
  ForgeLines([](auto lines) { ++lines[4].count; });
  ExpectComplaint(
      "at offset 64: line 4 is 9 in 10 events of product 0, meter 0, unit 0, model 0, source 0, "
      "kind 0, hour 1782000000000, the rows give 9 in 9 events of product 0");
  ForgeLines([](auto lines) { lines[5].sum.Add(Quantity{1, 12}); });
  ExpectComplaint("at offset 64: line 5 is 9.000000000001 in 9 events of product 0");
  ForgeLines([](auto lines) { lines[1].key.hour_start_ms += kHourMs; });
  ExpectComplaint("hour 1782003600000, the rows give");
  Forge([](Parts& parts) { parts.starts = {0, 2, 4, 4, 6}; });
  ExpectComplaint("its lines are not of the accounts that the rows give");
}

TEST_F(RollupForgeryTest, LinesOfTheSecondBlockAreNamedByItsOffset) {
  ASSERT_TRUE(fs().Remove(kRollupPath).ok());
  WriteMadeUp(MadeUpRollup(1, 1500));
  const uint64_t offset = OffsetOf(*Open(), 1);
  ++rollup_.lines[1200].count;
  ExpectComplaint("at offset " + std::to_string(offset) + ": line 1200 is ");
}

}  // namespace
}  // namespace tallystick
