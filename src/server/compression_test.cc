#include "server/compression.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

namespace tallystick {
namespace {

std::string Gzip(std::string_view text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()) + 64, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string Zstd(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  const size_t bytes = ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3);
  EXPECT_FALSE(ZSTD_isError(bytes));
  out.resize(bytes);
  return out;
}

struct Coding {
  BodyEncoding encoding;
  std::string (*compress)(std::string_view);
};

class Compression : public testing::TestWithParam<Coding> {
 protected:
  Status TryExpand(std::string_view input, uint64_t max) {
    output_ = BodyBuffer();
    return Expand(GetParam().encoding, input, max, output_);
  }
  std::string Compress(std::string_view text) { return GetParam().compress(text); }
  BodyBuffer output_;
};

INSTANTIATE_TEST_SUITE_P(Codings, Compression,
                         testing::Values(Coding{BodyEncoding::kGzip, Gzip},
                                         Coding{BodyEncoding::kZstd, Zstd}));

TEST_P(Compression, GivesBackWhatWasCompressed) {
  std::string text;
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i * 7919);
  ASSERT_TRUE(TryExpand(Compress(text), text.size()).ok()) << "exactly the bound is allowed";
  EXPECT_EQ(output_.text(), text);
  EXPECT_EQ(TryExpand(Compress(text), text.size() - 1).reason(), "body_too_large");
}

TEST_P(Compression, ABombIsCutAtTheBound) {
  const std::string bomb = Compress(std::string(200 << 20, ' '));
  ASSERT_LT(bomb.size(), 300'000u);
  EXPECT_EQ(TryExpand(bomb, 1 << 20).reason(), "body_too_large");
  EXPECT_LE(output_.capacity(), (1u << 20) + 1);
}

TEST_P(Compression, SeveralPartsAreOneBody) {
  ASSERT_TRUE(TryExpand(Compress("one ") + Compress("two"), 100).ok());
  EXPECT_EQ(output_.text(), "one two");
}

TEST_P(Compression, AnEmptyTextIsFine) {
  ASSERT_TRUE(TryExpand(Compress(""), 100).ok());
  EXPECT_EQ(output_.size(), 0u);
}

TEST_P(Compression, EveryCutIsNoticed) {
  const std::string whole = Compress("{\"events\":[]} and some more of it");
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    EXPECT_EQ(TryExpand(whole.substr(0, bytes), 1000).reason(), "invalid_encoding") << bytes;
  }
}

TEST_P(Compression, GarbageIsRefused) {
  EXPECT_EQ(TryExpand("{\"events\":[]}", 1000).reason(), "invalid_encoding");
  EXPECT_EQ(TryExpand(Compress("x") + "garbage", 1000).reason(), "invalid_encoding");
}

TEST(BodyEncoding, HeaderValues) {
  EXPECT_EQ(ParseBodyEncoding("").value(), BodyEncoding::kIdentity);
  EXPECT_EQ(ParseBodyEncoding("identity").value(), BodyEncoding::kIdentity);
  EXPECT_EQ(ParseBodyEncoding("GZip").value(), BodyEncoding::kGzip);
  EXPECT_EQ(ParseBodyEncoding("zstd").value(), BodyEncoding::kZstd);
  for (const char* header : {"br", "gzip, gzip", "deflate", "*"}) {
    EXPECT_EQ(ParseBodyEncoding(header).status().reason(), "unsupported_encoding") << header;
  }
}

}  // namespace
}  // namespace tallystick
