#include "segment/chunk.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/decimal.h"
#include "segment/dictionary.h"
#include "segment/uuid.h"

namespace tallystick {
namespace {

constexpr int128 kMax = ~(int128{1} << 127);
constexpr int128 kMin = int128{1} << 127;

std::vector<uint64_t> RoundTrip(const std::vector<uint64_t>& values, size_t* bytes) {
  Bytes out;
  AppendIntChunk(values, out);
  *bytes = out.size();
  Decoder decoder(out);
  IntChunk chunk;
  EXPECT_TRUE(IntChunk::Parse(decoder, static_cast<uint32_t>(values.size()), &chunk));
  EXPECT_EQ(decoder.remaining(), 0u);
  std::vector<uint64_t> unpacked(values.size());
  chunk.Unpack(0, unpacked);
  for (uint32_t i = 0; i < values.size(); ++i) EXPECT_EQ(chunk.Get(i), unpacked[i]) << i;
  for (const size_t begin : {1, 7, 8, 9, 64}) {  // parts, too
    for (const size_t size : {0, 1, 8, 23}) {
      if (begin + size > values.size()) continue;
      std::vector<uint64_t> part(size);
      chunk.Unpack(static_cast<uint32_t>(begin), part);
      EXPECT_TRUE(
          std::equal(part.begin(), part.end(), values.begin() + static_cast<ptrdiff_t>(begin)))
          << begin << ", " << size;
    }
  }
  return unpacked;
}

TEST(IntChunk, EveryWidthRoundTripsAndCostsItsBits) {
  std::mt19937_64 random(3);
  for (unsigned bits = 0; bits <= 64; ++bits) {
    const uint64_t mask = bits == 0 ? 0 : ~uint64_t{0} >> (64 - bits);
    const uint64_t base = random() & ~mask;
    std::vector<uint64_t> values = {base, base + mask};
    while (values.size() < 131) values.push_back(base + (random() & mask));
    size_t bytes = 0;
    EXPECT_EQ(RoundTrip(values, &bytes), values) << bits;
    EXPECT_EQ(bytes, bits == 0 ? 9 : 9 + (131 * bits + 7) / 8 + 8) << bits;
  }
}

TEST(IntChunk, EveryCutOrWrongWidthIsRefused) {
  Bytes out;
  AppendIntChunk(std::vector<uint64_t>{1, 5, 1000, 77}, out);
  IntChunk chunk;
  for (size_t bytes = 0; bytes < out.size(); ++bytes) {
    Decoder decoder(ByteSpan(out).first(bytes));
    EXPECT_FALSE(IntChunk::Parse(decoder, 4, &chunk)) << bytes;
  }
  out[0] = std::byte{65};
  out.resize(1000);
  Decoder decoder(out);
  EXPECT_FALSE(IntChunk::Parse(decoder, 4, &chunk));
}

TEST(IntChunk, BiasKeepsTheOrder) {
  constexpr int64_t kEdges[] = {INT64_MIN, -1, 0, 1, INT64_MAX};
  for (size_t i = 0; i < std::size(kEdges); ++i) {
    EXPECT_EQ(Unbiased(Biased(kEdges[i])), kEdges[i]);
    if (i > 0) {
      EXPECT_LT(Biased(kEdges[i - 1]), Biased(kEdges[i]));
    }
  }
}

RC_GTEST_PROP(TextChunkProperty, RoundTrips, (const std::vector<std::string>& texts)) {
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  Bytes out;
  RC_ASSERT(AppendTextChunk(views, out));
  Decoder decoder(out);
  TextChunk chunk;
  RC_ASSERT(TextChunk::Parse(decoder, static_cast<uint32_t>(texts.size()), &chunk));
  RC_ASSERT(decoder.remaining() == 0u);
  RC_ASSERT(chunk.IsWhole());
  for (uint32_t i = 0; i < texts.size(); ++i) {
    std::string_view text;
    RC_ASSERT(chunk.Get(i, &text));
    RC_ASSERT(text == texts[i]);
  }
}

TEST(TextChunk, AStartThatLeadsElsewhereIsNoticed) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < 200; ++i) texts.emplace_back(i % 7, 'x');
  Bytes out;
  ASSERT_TRUE(AppendTextChunk(std::vector<std::string_view>(texts.begin(), texts.end()), out));
  const size_t starts_at = 9 + (200 * 3 + 7) / 8 + 8;
  for (size_t start = 0; start < 4; ++start) {
    Bytes bad = out;
    bad[starts_at + 4 * start] ^= std::byte{1};
    Decoder decoder(bad);
    TextChunk chunk;
    ASSERT_TRUE(TextChunk::Parse(decoder, 200, &chunk));
    EXPECT_FALSE(chunk.IsWhole()) << start;
    bad[starts_at + 4 * start + 3] = std::byte{0xff};
    Decoder far(bad);
    std::string_view text;
    ASSERT_TRUE(TextChunk::Parse(far, 200, &chunk));
    EXPECT_FALSE(chunk.Get(static_cast<uint32_t>(start * 64 + 1), &text));
  }
}

std::string SumOf(const QuantityChunk& chunk) {
  ExactSum sum;
  chunk.ForSum([](uint32_t) { return true; }, [&](const Quantity& q) { sum.Add(q); });
  return sum.ToString();
}

// The chunk's first byte, after all quantities came out again with their sum.
int FormOf(const std::vector<Quantity>& quantities) {
  Bytes out;
  AppendQuantityChunk(quantities, out);
  QuantityChunk chunk;
  const auto count = static_cast<uint32_t>(quantities.size());
  EXPECT_TRUE(QuantityChunk::Parse(out, count, &chunk));
  ExactSum sum;
  for (uint32_t i = 0; i < count; ++i) {
    EXPECT_EQ(chunk.Get(i), quantities[i]) << i;
    sum.Add(quantities[i]);
  }
  EXPECT_EQ(SumOf(chunk), sum.ToString());
  for (size_t bytes = 0; bytes < out.size(); ++bytes) {
    EXPECT_FALSE(QuantityChunk::Parse(ByteSpan(out).first(bytes), count, &chunk)) << bytes;
  }
  return std::to_integer<int>(out[0]);
}

TEST(QuantityChunk, IsAsNarrowAsTheMantissasAtTheirCommonScaleFit) {
  EXPECT_EQ(FormOf({{5, 0}}), 0);
  EXPECT_EQ(FormOf({{0, 0}, {-7, 0}, {125, 2}, {1, 12}}), 0);
  EXPECT_EQ(FormOf({{INT64_MIN, 0}, {INT64_MAX, 0}}), 0);
  EXPECT_EQ(FormOf({{3, 0}, {int128{INT64_MAX} + 1, 0}}), 1);
  EXPECT_EQ(FormOf({{INT64_MAX, 0}, {1, 1}}), 1);  // at scale 1 it no longer fits 64 bits
  EXPECT_EQ(FormOf({{kMax, 0}, {kMin, 0}}), 1);
  EXPECT_EQ(FormOf({{kMax, 0}, {1, 12}}), 2);
  EXPECT_EQ(FormOf({{1, 12}, {kMin, 0}, {25, 1}}), 2);
}

TEST(QuantityChunk, AScaleAboveTwelveIsRefused) {
  QuantityChunk chunk;
  for (const std::vector<Quantity>& quantities :
       {std::vector<Quantity>{{5, 0}, {6, 1}}, std::vector<Quantity>{{1, 12}, {kMax, 0}}}) {
    Bytes out;
    AppendQuantityChunk(quantities, out);
    out[1] = std::byte{13};
    EXPECT_FALSE(QuantityChunk::Parse(out, 2, &chunk));
  }
}

// What comes out of a chunk of these ids; sets whether they were kept as UUIDs.
std::vector<std::string> IdsThroughChunk(const std::vector<std::string>& ids, bool* uuids) {
  EventIdBuilder builder;
  for (const std::string& id : ids) builder.Add(id);
  Bytes out;
  EXPECT_TRUE(builder.Append(out));
  EventIdChunk chunk;
  EXPECT_TRUE(EventIdChunk::Parse(out, static_cast<uint32_t>(ids.size()), &chunk));
  EXPECT_TRUE(chunk.IsWhole());
  EXPECT_EQ(chunk.uuids(), builder.uuids());
  *uuids = chunk.uuids();
  std::vector<std::string> back;
  for (uint32_t i = 0; i < ids.size(); ++i) {
    char buffer[kUuidTextBytes];
    std::string_view id;
    EXPECT_TRUE(chunk.Get(i, buffer, &id));
    back.emplace_back(id);
  }
  return back;
}

TEST(EventIdChunk, OneStrangerMakesTextsOfAll) {
  std::vector<std::string> ids(70, "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9");
  bool uuids = false;
  EXPECT_EQ(IdsThroughChunk(ids, &uuids), ids);
  EXPECT_TRUE(uuids);
  for (const size_t stranger : {0u, 35u, 69u}) {
    std::vector<std::string> mixed = ids;
    mixed[stranger] = "0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9";
    EXPECT_EQ(IdsThroughChunk(mixed, &uuids), mixed);
    EXPECT_FALSE(uuids);
  }
}

TEST(Uuid, ExactlyTheCanonicalFormIsPacked) {
  const std::string good = "01234567-89ab-cdef-0123-456789abcdef";
  std::byte packed[kUuidBytes];
  ASSERT_TRUE(PackUuid(good, packed));
  EXPECT_EQ(packed[0], std::byte{0x01});
  EXPECT_EQ(packed[7], std::byte{0xef});
  EXPECT_EQ(packed[15], std::byte{0xef});
  EXPECT_FALSE(PackUuid(good + "0", packed));
  EXPECT_FALSE(PackUuid(good.substr(1), packed));
  // Whatever byte stands anywhere: taken only if the text comes back the same.
  for (size_t at = 0; at < good.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string text = good;
      text[at] = static_cast<char>(byte);
      const bool dash = at == 8 || at == 13 || at == 18 || at == 23;
      const bool digit = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');
      const bool right = dash ? byte == '-' : digit;
      ASSERT_EQ(PackUuid(text, packed), right) << at << " " << byte;
      if (!right) continue;
      char back[kUuidTextBytes];
      UnpackUuid(packed, back);
      ASSERT_EQ(std::string_view(back, sizeof back), text);
    }
  }
}

RC_GTEST_PROP(DictionaryProperty, CodesOrderAsTextsDo, (const std::vector<std::string>& texts)) {
  DictionaryBuilder builder;
  std::vector<uint32_t> codes;
  for (const std::string& text : texts) codes.push_back(builder.Add(text));
  Bytes out;
  const auto ranks = builder.Finish(out);
  RC_ASSERT(ranks.has_value());
  DictionaryView view;
  RC_ASSERT(DictionaryView::Parse(out, &view));
  RC_ASSERT(view.IsWhole());
  RC_ASSERT(view.size() == builder.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const uint32_t rank = (*ranks)[codes[i]];
    std::string_view text;
    RC_ASSERT(view.Get(rank, &text));
    RC_ASSERT(text == texts[i]);
    RC_ASSERT(view.Find(texts[i]) == rank);
    for (size_t k = 0; k < i; ++k) {
      RC_ASSERT((texts[k] < texts[i]) == ((*ranks)[codes[k]] < rank));
    }
  }
}

}  // namespace
}  // namespace tallystick
