#include "manifest/manifest.h"

#include <gtest/gtest.h>

namespace tallystick {
namespace {

DatabaseId TestId() {
  DatabaseId id;
  id.bytes.fill(0xab);
  return id;
}

Manifest Sample() {
  Manifest m;
  m.number = {9};
  m.incarnation = 0x1122334455667788;
  m.flushed_lsn = {50};
  m.next_number = 20;
  m.last_commit_time_us = 1'700'000'000'000'000;
  m.first_frame = {5};
  m.segments = {{{1}, {1}, {30}, 30, 1000, 77}, {{2}, {31}, {50}, 20, 900, 78}};
  m.wal_files = {{{3}, FrameNumber{8}}, {{4}, std::nullopt}, {{5}, std::nullopt}};
  m.others = {{1, {6}}};
  m.control_effects = {std::byte{1}, std::byte{2}};
  return m;
}

void ExpectSame(const Manifest& a, const Manifest& b) {
  EXPECT_EQ(a.number, b.number);
  EXPECT_EQ(a.incarnation, b.incarnation);
  EXPECT_EQ(a.flushed_lsn, b.flushed_lsn);
  EXPECT_EQ(a.next_number, b.next_number);
  EXPECT_EQ(a.last_commit_time_us, b.last_commit_time_us);
  EXPECT_EQ(a.first_frame, b.first_frame);
  EXPECT_EQ(a.segments, b.segments);
  EXPECT_EQ(a.wal_files, b.wal_files);
  EXPECT_EQ(a.others, b.others);
  EXPECT_EQ(a.control_effects, b.control_effects);
}

TEST(Manifest, RoundTrips) {
  DatabaseId id;
  auto decoded = DecodeManifest(EncodeManifest(Sample(), TestId()), &id);
  ASSERT_TRUE(decoded.ok()) << decoded.status().ToString();
  EXPECT_EQ(id, TestId());
  ExpectSame(*decoded, Sample());
}

TEST(Manifest, EveryFlippedByteAndEveryCutIsRefused) {
  Bytes bytes = EncodeManifest(Sample(), TestId());
  DatabaseId id;
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= std::byte{0x40};
    EXPECT_EQ(DecodeManifest(bytes, &id).status().code(), StatusCode::kCorruption) << i;
    bytes[i] ^= std::byte{0x40};
    EXPECT_FALSE(DecodeManifest(ByteSpan(bytes).first(i), &id).ok()) << i;
  }
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(DecodeManifest(bytes, &id).ok());
}

TEST(Manifest, ContradictionsAreNamed) {
  auto fault = [](auto change) {
    Manifest m = Sample();
    change(m);
    return CheckManifest(m);
  };
  EXPECT_EQ(CheckManifest(Sample()), "");
  EXPECT_NE(fault([](Manifest& m) { m.next_number = 9; }), "");
  EXPECT_NE(fault([](Manifest& m) { m.flushed_lsn = {51}; }), "");
  EXPECT_NE(fault([](Manifest& m) { m.segments[1].first_lsn = {32}; }), "");
  EXPECT_NE(fault([](Manifest& m) { m.segments[1].rows = 19; }), "");
  EXPECT_NE(fault([](Manifest& m) { m.wal_files[1].number = {3}; }), "");
  EXPECT_NE(fault([](Manifest& m) { m.wal_files[0].end = FrameNumber{4}; }), "");
  EXPECT_NE(fault([](Manifest& m) { m.wal_files[2].end = FrameNumber{9}; }), "");
  EXPECT_NE(fault([](Manifest& m) { m.others[0].number = {0}; }), "");
}

TEST(Identity, RoundTripsAndRefusesEveryFlippedByte) {
  Bytes bytes = EncodeIdentity({TestId(), IdentityScope::kAccount});
  auto identity = DecodeIdentity(bytes);
  ASSERT_TRUE(identity.ok());
  EXPECT_EQ(identity->database_id, TestId());
  EXPECT_EQ(identity->scope, IdentityScope::kAccount);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= std::byte{0x40};
    EXPECT_FALSE(DecodeIdentity(bytes).ok()) << i;
    bytes[i] ^= std::byte{0x40};
  }
}

}  // namespace
}  // namespace tallystick
