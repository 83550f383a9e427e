#include "manifest/backup_file.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "testing/golden.h"
#include "testing/sim_fs.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tallystick {
namespace {

BackupContent SmallContent() {
  BackupContent content;
  for (size_t i = 0; i < content.identity.database_id.bytes.size(); ++i) {
    content.identity.database_id.bytes[i] = static_cast<uint8_t>(0xa0 + i);
  }
  Manifest& manifest = content.manifest;
  manifest.number = {9};
  manifest.incarnation = 0x0123456789abcdef;
  manifest.flushed_lsn = {12};
  manifest.next_number = 11;
  manifest.last_commit_time_us = 1'800'000'000'000'000;
  manifest.first_frame = {5};
  manifest.segments = {{.number = {3},
                        .first_lsn = {1},
                        .last_lsn = {10},
                        .rows = 10,
                        .bytes = 8192,
                        .footer_checksum = 0x11},
                       {.number = {6},
                        .first_lsn = {11},
                        .last_lsn = {12},
                        .rows = 2,
                        .bytes = 4096,
                        .footer_checksum = 0x22}};
  manifest.wal_files = {{{7}, FrameNumber{8}}, {{10}, FrameNumber{9}}};
  content.lsn = {15};
  content.created_us = 1'800'000'000'123'456;
  using Kind = BackupFileKind;
  content.files = {{Kind::kRows, {3}, 8192, 0x31},   {Kind::kRows, {6}, 4096, 0x61},
                   {Kind::kSidecar, {3}, 500, 0x32}, {Kind::kRollup, {6}, 200, 0x63},
                   {Kind::kWal, {7}, 20480, 0x70},   {Kind::kWal, {10}, 8192, 0xa0}};
  return content;
}

Bytes Resealed(Bytes bytes) {
  const size_t body = bytes.size() - 8;
  StoreFixed<uint64_t>(bytes.data() + body, XXH3_64bits(bytes.data(), body));
  return bytes;
}

TEST(BackupFile, ComesBackAsItWas) {
  const BackupContent content = SmallContent();
  const Bytes bytes = EncodeBackup(content);
  const auto decoded = DecodeBackup(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(decoded->lsn, content.lsn);
  EXPECT_EQ(decoded->created_us, content.created_us);
  EXPECT_EQ(decoded->files, content.files);
  EXPECT_EQ(decoded->manifest.segments, content.manifest.segments);
  EXPECT_EQ(decoded->manifest.wal_files, content.manifest.wal_files);
  EXPECT_EQ(decoded->identity.database_id, content.identity.database_id);
  EXPECT_EQ(EncodeBackup(*decoded), bytes);
}

TEST(BackupFile, PathsAreMadeFromKindAndNumber) {
  const BackupContent content = SmallContent();
  std::vector<std::string> paths;
  for (const BackupFile& file : content.files) paths.push_back(BackupFilePath(content, file));
  EXPECT_EQ(paths, (std::vector<std::string>{"segments/000003.seg", "segments/000006.seg",
                                             "segments/000003.idx", "segments/000006.sum",
                                             "wal/000007-8", "wal/000010-9"}));
}

TEST(BackupFile, EveryFlippedBitAndEveryCutIsNoticed) {
  const Bytes good = EncodeBackup(SmallContent());
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_FALSE(DecodeBackup(bad).ok()) << bit;
    // With a right checksum it may be taken for another backup, never for a contradiction.
    const auto resealed = DecodeBackup(Resealed(bad));
    EXPECT_TRUE(!resealed.ok() || CheckBackup(*resealed).empty()) << bit;
  }
  for (size_t bytes = 0; bytes < good.size(); ++bytes) {
    EXPECT_FALSE(DecodeBackup(ByteSpan(good).first(bytes)).ok()) << bytes;
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(DecodeBackup(longer).ok());
  EXPECT_FALSE(DecodeBackup(Resealed(longer)).ok());
}

TEST(BackupFile, WhatContradictsIsRefused) {
  const auto fault = [](const std::function<void(BackupContent&)>& change) {
    BackupContent content = SmallContent();
    change(content);
    return CheckBackup(content);
  };
  EXPECT_EQ(fault([](BackupContent&) {}), "");
  EXPECT_NE(fault([](BackupContent& c) { c.lsn = {11}; }), "");
  EXPECT_NE(fault([](BackupContent& c) { c.files.erase(c.files.begin() + 1); }), "");
  EXPECT_NE(fault([](BackupContent& c) { c.files.pop_back(); }), "");
  EXPECT_NE(fault([](BackupContent& c) { std::swap(c.files[0], c.files[1]); }), "");
  EXPECT_NE(fault([](BackupContent& c) { c.files[1] = c.files[0]; }), "");
  EXPECT_NE(fault([](BackupContent& c) { c.files[0].bytes = 1; }), "");
  EXPECT_NE(fault([](BackupContent& c) { c.files[2].number = {4}; }), "");
  EXPECT_NE(fault([](BackupContent& c) { c.files[4].number = {6}; }), "");
  EXPECT_NE(fault([](BackupContent& c) { c.files[0].kind = BackupFileKind{9}; }), "");
  EXPECT_NE(fault([](BackupContent& c) { c.manifest.wal_files.back().end.reset(); }), "");
  EXPECT_EQ(fault([](BackupContent& c) { c.files.erase(c.files.begin() + 2); }), "")
      << "a sidecar may be missing";
}

TEST(BackupFile, BytesAndInspection) {
  const Bytes bytes = EncodeBackup(SmallContent());
  EXPECT_EQ(CompareGolden("testdata/v1/backup.golden", HexDump(bytes.data(), bytes.size())), "");
  SimFs fs;
  ASSERT_TRUE(fs.CreateDir("b").ok());
  auto file = fs.Open("b/BACKUP", OpenMode::kCreateNew);
  ASSERT_TRUE(WriteFully(**file, 0, bytes).ok());
  std::string out;
  ASSERT_TRUE(InspectBackup(fs, "b/BACKUP", false, &out).ok());
  ASSERT_TRUE(InspectBackup(fs, "b/BACKUP", true, &out).ok());
  EXPECT_EQ(CompareGolden("testdata/v1/inspect_backup.golden", out), "");
  fs.SetContent("b/BACKUP", AsByteSpan("no"));
  EXPECT_NE(InspectBackup(fs, "b/BACKUP", false, &out).message().find("b/BACKUP"),
            std::string::npos);
}

}  // namespace
}  // namespace tallystick
