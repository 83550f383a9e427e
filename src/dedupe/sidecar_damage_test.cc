// What of a sidecar is not believed: damage, files and pages of others, contents that contradict
// themselves under checksums that are right.
#define XXH_INLINE_ALL
#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <functional>

#include "dedupe/sidecar_filter.h"
#include "dedupe/sidecar_fixture.h"
#include "dedupe/sidecar_format.h"
#include "dedupe/sidecar_reader.h"
#include "dedupe/sidecar_writer.h"

namespace tallystick {
namespace {

class SidecarDamageTest : public SidecarTest {
 protected:
  // Changes the file's bytes in place.
  void Damage(const std::function<void(std::span<std::byte>)>& change) {
    Bytes bytes = Content();
    change(bytes);
    fs_.SetContent(kSidecarPath, bytes);
  }
  // Changes them and makes the checksums of pages, directory, filter and footer right again.
  void DamageAndReseal(const std::function<void(std::span<std::byte>)>& change) {
    Damage([&](std::span<std::byte> bytes) {
      change(bytes);
      const SidecarLayout layout = SidecarLayout::For(binding_.rows);
      for (uint64_t page = 0; page < layout.pages; ++page) {
        SealSidecarPage(SidecarSeed(binding_), page,
                        bytes.subspan(layout.PageOffset(page), kSidecarPageBytes));
      }
      SidecarFooter footer;
      footer.binding = binding_;
      footer.directory_checksum =
          XXH3_64bits(bytes.data() + layout.directory_offset, layout.directory_bytes);
      footer.filter_checksum =
          XXH3_64bits(bytes.data() + layout.filter_offset, layout.filter_bytes);
      Bytes tail;
      AppendSidecarFooter(footer, tail);
      std::ranges::copy(tail, bytes.end() - kSidecarFooterBytes);
    });
  }
  // The first complaint of the whole file must be this one.
  void ExpectComplaint(const std::string& what) {
    const Status status = VerifyAll();
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << what;
    EXPECT_NE(status.message().find(what), std::string::npos) << status.message();
    EXPECT_NE(status.message().find(kSidecarPath), std::string::npos) << status.message();
  }
  static std::span<std::byte> Page(std::span<std::byte> file, uint64_t page) {
    return file.subspan(kSidecarHeaderBytes + page * kSidecarPageBytes, kSidecarPageBytes);
  }
  static std::span<std::byte> Entry(std::span<std::byte> file, uint64_t page, uint64_t index) {
    return Page(file, page).subspan(8 + index * kSidecarEntryBytes, kSidecarEntryBytes);
  }
};

TEST_F(SidecarDamageTest, EveryFlippedByteIsNoticed) {
  Write(150);
  ASSERT_TRUE(VerifyAll().ok());
  Bytes bytes = Content();
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= std::byte{0x20};
    fs_.SetContent(kSidecarPath, bytes);
    EXPECT_EQ(VerifyAll().code(), StatusCode::kCorruption) << i;
    bytes[i] ^= std::byte{0x20};
  }
}

TEST_F(SidecarDamageTest, EveryCutIsRefusedAtOpen) {
  Write(150);
  const Bytes bytes = Content();
  for (size_t i = 0; i < bytes.size(); ++i) {
    fs_.SetContent(kSidecarPath, ByteSpan(bytes).first(i));
    EXPECT_EQ(SidecarReader::Open(fs_, kSidecarPath, binding_).status().code(),
              StatusCode::kCorruption)
        << i;
  }
}

TEST_F(SidecarDamageTest, AFileThatIsBoundToAnotherIsRefusedByTheFieldThatDiffers) {
  Write(100);
  struct Case {
    std::string field;
    std::string found;
    std::string expected;
    std::function<void(SidecarBinding&)> change;
  };
  const std::vector<Case> cases = {
      {"database id", "abab", "cdcd", [](auto& b) { b.database_id.bytes.fill(0xcd); }},
      {"number", "7", "8", [](auto& b) { b.number = {8}; }},
      {"first LSN", "1001", "1000", [](auto& b) { b.first_lsn = {1000}; }},
      {"last LSN", "1100", "1101", [](auto& b) { b.last_lsn = {1101}; }},
      {"number of rows", "100", "101", [](auto& b) { b.rows = 101; }},
      {"checksum of the segment's footer", std::to_string(0x1122334455667788), "5",
       [](auto& b) { b.footer_checksum = 5; }},
  };
  for (const Case& one : cases) {
    SidecarBinding other = binding_;
    one.change(other);
    const Status status = SidecarReader::Open(fs_, kSidecarPath, other).status();
    EXPECT_EQ(status.code(), StatusCode::kCorruption) << one.field;
    for (const std::string& part :
         {std::string(kSidecarPath), one.field + " is " + one.found, "expected " + one.expected}) {
      EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
    }
  }
}

TEST_F(SidecarDamageTest, AnUnknownVersionIsRefusedByItsNumber) {
  Write(3);
  Damage([](std::span<std::byte> bytes) { bytes[bytes.size() - 128 + 8] = std::byte{2}; });
  ExpectComplaint("unknown sidecar format version 2");
}

TEST_F(SidecarDamageTest, WhatIsAppendedIsNotIgnored) {
  Write(3);
  Bytes bytes = Content();
  bytes.insert(bytes.begin() + 5000, std::byte{0});
  fs_.SetContent(kSidecarPath, bytes);
  ExpectComplaint("expected");
  bytes = Content();
  bytes.push_back(std::byte{0});
  fs_.SetContent(kSidecarPath, bytes);
  ExpectComplaint("magic");
}

TEST_F(SidecarDamageTest, APageOfAnotherPlaceIsBelievedByNobody) {
  Write(400);
  Damage(
      [](std::span<std::byte> bytes) { std::ranges::swap_ranges(Page(bytes, 0), Page(bytes, 1)); });
  const auto reader = Open();
  std::vector<EventHash> keys;
  for (const SidecarEntry& entry : entries_) keys.push_back(entry.key);
  EXPECT_EQ(Probe(*reader, keys).status().code(), StatusCode::kCorruption);
  EXPECT_EQ(reader->ForEach([](const SidecarEntry&) {}).code(), StatusCode::kCorruption);
  EXPECT_EQ(CheckSidecar(*reader).code(), StatusCode::kCorruption);
}

TEST_F(SidecarDamageTest, APageOfAnotherFileIsBelievedByNobody) {
  for (const bool other_database : {false, true}) {
    SidecarBinding other = BindingOf(100);
    if (other_database) {
      other.database_id.bytes.fill(0xcd);
    } else {
      other.number = {8};
    }
    ASSERT_TRUE(WriteSidecar(fs_, "other.idx", other, EntriesOf(100), nullptr).ok());
    Bytes theirs = *fs_.Content("other.idx");
    Write(100);
    Damage([&](std::span<std::byte> bytes) {
      ASSERT_TRUE(std::ranges::equal(Page(bytes, 0).subspan(8), Page(theirs, 0).subspan(8)));
      std::ranges::copy(Page(theirs, 0), Page(bytes, 0).begin());
    });
    const auto reader = Open();
    const std::vector<EventHash> keys = {entries_[0].key};
    const Status status = Probe(*reader, keys).status();
    EXPECT_EQ(status.code(), StatusCode::kCorruption);
    EXPECT_NE(status.message().find("000007.idx at offset 4096"), std::string::npos)
        << status.message();
    EXPECT_EQ(CheckSidecar(*reader).code(), StatusCode::kCorruption);
    ASSERT_TRUE(fs_.Remove(kSidecarPath).ok());
    ASSERT_TRUE(fs_.Remove("other.idx").ok());
  }
}

TEST_F(SidecarDamageTest, ADamagedFilterStaysAbsentAndPagesAnswer) {
  Write(200);
  const SidecarLayout layout = SidecarLayout::For(200);
  Damage([&](std::span<std::byte> bytes) { bytes[layout.filter_offset] ^= std::byte{1}; });
  const auto reader = Open();
  EXPECT_EQ(reader->LoadFilter(nullptr).code(), StatusCode::kCorruption);
  EXPECT_FALSE(reader->filter_loaded());
  ExpectAnswersAll(*reader);
}

TEST_F(SidecarDamageTest, ADamagedDirectoryIsAnErrorOfEveryProbe) {
  Write(200);
  const SidecarLayout layout = SidecarLayout::For(200);
  Damage([&](std::span<std::byte> bytes) { bytes[layout.directory_offset] ^= std::byte{1}; });
  const auto reader = Open();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Probe(*reader, {entries_[0].key}).status().code(), StatusCode::kCorruption);
  }
}

// --- every checksum is right, what is under it is not ---

TEST_F(SidecarDamageTest, KeysOutOfOrderAreNoticed) {
  Write(200);
  DamageAndReseal([](std::span<std::byte> bytes) {
    std::ranges::swap_ranges(Entry(bytes, 0, 7), Entry(bytes, 0, 8));
  });
  ExpectComplaint("entry 8 is not above the one before it");
}

TEST_F(SidecarDamageTest, ARepeatedKeyIsNoticed) {
  Write(200);
  DamageAndReseal([](std::span<std::byte> bytes) {
    std::ranges::copy(Entry(bytes, 0, 7).first(16), Entry(bytes, 0, 8).begin());
  });
  ExpectComplaint("entry 8 is not above the one before it");
}

TEST_F(SidecarDamageTest, ARepeatedRowAndARowBeyondAreNoticed) {
  Write(200);
  DamageAndReseal([](std::span<std::byte> bytes) {
    std::ranges::copy(Entry(bytes, 0, 7).last(4), Entry(bytes, 1, 8).end() - 4);
  });
  ExpectComplaint("entry 8 has a row number that another one has");
  DamageAndReseal([](std::span<std::byte> bytes) {
    StoreFixed<uint32_t>(Entry(bytes, 1, 8).data() + 24, 200);
  });
  ExpectComplaint("entry 8 has a row number beyond the segment's rows");
}

TEST_F(SidecarDamageTest, ADirectoryThatIsNotThatOfThePagesIsNoticed) {
  Write(200);
  const uint64_t second = SidecarLayout::For(200).directory_offset + 8;
  DamageAndReseal([&](std::span<std::byte> bytes) { bytes[second] ^= std::byte{1}; });
  ExpectComplaint("entry 0 is not what the page directory says");
  DamageAndReseal([&](std::span<std::byte> bytes) { StoreFixed<uint64_t>(&bytes[second], 0); });
  ExpectComplaint("the page directory is not in order");
}

TEST_F(SidecarDamageTest, AFilterWithoutOneKeyAndOneThatHasTooManyAreNoticed) {
  const SidecarLayout layout = SidecarLayout::For(200);
  for (const std::byte bits : {std::byte{0}, std::byte{0xff}}) {
    Write(200);
    DamageAndReseal([&](std::span<std::byte> bytes) {
      const auto filter = bytes.subspan(layout.filter_offset, layout.filter_bytes);
      *std::ranges::find_if(filter, [&](std::byte b) { return b != bits; }) = bits;
    });
    ExpectComplaint("the filter is not that of the keys");
    ASSERT_TRUE(fs_.Remove(kSidecarPath).ok());
  }
}

TEST_F(SidecarDamageTest, AFilterThatTheFooterDoesNotKnowIsNoticed) {
  Write(200);
  Damage([&](std::span<std::byte> bytes) {
    const auto footer = bytes.last(kSidecarFooterBytes);
    footer[112] ^= std::byte{1};
    StoreFixed<uint64_t>(&footer[120], XXH3_64bits(footer.data(), 120));
  });
  const Status status = CheckSidecar(*Open());  // which does not load the filter
  EXPECT_NE(status.message().find("the filter does not verify"), std::string::npos)
      << status.message();
}

TEST_F(SidecarDamageTest, BytesBehindTheLastEntryAreNoticed) {
  Write(200);
  DamageAndReseal([](std::span<std::byte> bytes) { Page(bytes, 1).back() = std::byte{1}; });
  ExpectComplaint("the last page is not filled with zeros");
}

TEST_F(SidecarDamageTest, AHeaderOfAnotherFileIsNoticed) {
  Write(200);
  Bytes header;
  AppendSidecarHeader(BindingOf(200, 8), header);
  Damage([&](std::span<std::byte> bytes) { std::ranges::copy(header, bytes.begin()); });
  ExpectComplaint("at offset 0: the header is not that of this sidecar");
}

}  // namespace
}  // namespace tallystick
