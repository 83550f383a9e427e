#include "wal/wal_format.h"

#include <gtest/gtest.h>

#include "wal/wal_writer.h"

namespace tallystick {
namespace {

constexpr uint64_t kSalt = 0x0123456789abcdef;

DatabaseId TestId() {
  DatabaseId id;
  for (size_t i = 0; i < id.bytes.size(); ++i) id.bytes[i] = static_cast<uint8_t>(i);
  return id;
}

Bytes FrameOf(size_t payload_bytes, uint32_t rows = 1) {
  FrameHeader header;
  header.salt = kSalt;
  header.number = {7};
  header.first_lsn = {100};
  header.commit_time_us = 1'700'000'000'000'000;
  header.payload_bytes = static_cast<uint32_t>(payload_bytes);
  header.rows = rows;
  Bytes frame(FrameBytes(payload_bytes), std::byte{0xee});
  for (size_t i = 0; i < payload_bytes; ++i)
    frame[kFrameHeaderBytes + i] = static_cast<std::byte>(i);
  SealFrame(header, frame);
  return frame;
}

TEST(WalFormat, HeaderRoundTrips) {
  Bytes block(kBlockBytes);
  EncodeWalFileHeader({TestId(), {42}, kSalt}, block);
  auto header = DecodeWalFileHeader(block);
  ASSERT_TRUE(header.ok()) << header.status().ToString();
  EXPECT_EQ(header->database_id, TestId());
  EXPECT_EQ(header->number, FileNumber{42});
  EXPECT_EQ(header->salt, kSalt);
}

TEST(WalFormat, EveryFlippedByteOfAHeaderIsRefused) {
  Bytes block(kBlockBytes);
  EncodeWalFileHeader({TestId(), {42}, kSalt}, block);
  for (size_t i = 0; i < block.size(); ++i) {
    block[i] ^= std::byte{0x10};
    EXPECT_EQ(DecodeWalFileHeader(block).status().code(), StatusCode::kCorruption) << i;
    block[i] ^= std::byte{0x10};
  }
  EXPECT_FALSE(DecodeWalFileHeader(ByteSpan(block).first(kBlockBytes - 1)).ok());
}

TEST(WalFormat, FrameRoundTripsAtEveryPaddingEdge) {
  for (size_t payload : {1u, 4031u, 4032u, 4033u, 8128u, 8129u, 100'000u}) {
    const Bytes frame = FrameOf(payload);
    EXPECT_EQ(frame.size() % kBlockBytes, 0u);
    const auto view = WalFileView(frame, kSalt).FrameAt(0);
    ASSERT_TRUE(view.has_value()) << payload;
    EXPECT_EQ(view->header.number, FrameNumber{7});
    EXPECT_EQ(view->header.first_lsn, Lsn{100});
    EXPECT_EQ(view->header.payload_bytes, payload);
    EXPECT_EQ(view->payload().size(), payload);
    EXPECT_EQ(view->bytes, frame.size());
  }
}

TEST(WalFormat, EveryFlippedByteOfAFrameIsNoticedPaddingIncluded) {
  Bytes frame = FrameOf(300);
  for (size_t i = 0; i < frame.size(); ++i) {
    frame[i] ^= std::byte{0x01};
    EXPECT_FALSE(WalFileView(frame, kSalt).FrameAt(0).has_value()) << i;
    frame[i] ^= std::byte{0x01};
  }
}

TEST(WalFormat, AFrameUnderAnotherSaltIsNoFrame) {
  const Bytes frame = FrameOf(300);
  EXPECT_FALSE(WalFileView(frame, kSalt + 1).FrameAt(0).has_value());
  EXPECT_FALSE(WalFileView(frame, kSalt + 1).SaltAt(0));
}

TEST(WalFormat, ALengthBeyondTheFileIsRefusedBeforeItIsRead) {
  Bytes frame = FrameOf(300);
  StoreFixed<uint32_t>(frame.data() + 40, 0xffffffff);
  EXPECT_FALSE(WalFileView(frame, kSalt).FrameAt(0).has_value());
  const Bytes large = FrameOf(9000);
  EXPECT_FALSE(WalFileView(ByteSpan(large).first(kBlockBytes), kSalt).FrameAt(0).has_value());
}

TEST(WalFormat, FindFrameLooksAtEveryBlock) {
  Bytes file(10 * kBlockBytes);
  const Bytes frame = FrameOf(300);
  std::copy(frame.begin(), frame.end(), file.begin() + 7 * kBlockBytes);
  const WalFileView view(file, kSalt);
  EXPECT_EQ(view.FindFrame(0), 7 * kBlockBytes);
  EXPECT_EQ(view.FindFrame(7 * kBlockBytes), 7 * kBlockBytes);
  EXPECT_EQ(view.FindFrame(7 * kBlockBytes + 1), std::nullopt);
}

TEST(WalFormat, AFrameBufferGrowsAndKeepsItsBytes) {
  FrameBuffer buffer(10);
  Bytes expected;
  for (int i = 0; i < 3000; ++i) {
    const std::byte piece[3] = {static_cast<std::byte>(i), static_cast<std::byte>(i >> 8), {}};
    buffer.Append(piece);
    expected.insert(expected.end(), piece, piece + 3);
  }
  EXPECT_TRUE(std::ranges::equal(buffer.payload(), expected));
  buffer.Clear();
  buffer.Append(ByteSpan(expected).first(5));
  FrameHeader header;
  header.salt = kSalt;
  header.rows = 1;
  const ByteSpan sealed = buffer.Seal(header);
  EXPECT_EQ(sealed.size(), kBlockBytes);  // what stood behind the short payload is zero again
  EXPECT_TRUE(WalFileView(sealed, kSalt).FrameAt(0).has_value());
  EXPECT_EQ(sealed.back(), std::byte{0});
}

}  // namespace
}  // namespace tallystick
