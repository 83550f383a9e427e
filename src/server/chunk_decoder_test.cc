#include "server/chunk_decoder.h"

#include <string>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace tallystick {
namespace {

struct Decoded {
  std::string data;
  std::string rest;  // behind the end
  bool done = false;
  bool ok = true;
};

// Feeds `input` in pieces of `piece_bytes`, as a socket might.
Decoded Decode(std::string_view input, size_t piece_bytes) {
  ChunkDecoder decoder;
  Decoded decoded;
  while (!input.empty() && !decoder.done()) {
    const auto step = decoder.Next(input.substr(0, piece_bytes));
    if (!step.ok()) {
      EXPECT_EQ(step.status().reason(), "invalid_request");
      decoded.ok = false;
      return decoded;
    }
    decoded.data += step->data;
    if (step->consumed == 0) break;
    input.remove_prefix(step->consumed);
  }
  decoded.rest = input;
  decoded.done = decoder.done();
  return decoded;
}

TEST(ChunkDecoder, AnyCutOfTheInputGivesTheSame) {
  const std::string input =
      "5\r\nhello\r\n6;name=\"v\"\r\n world\r\n000a\r\n0123456789\r\n0\r\nx: y\r\nz: w\r\n\r\nGET "
      "/";
  for (size_t piece = 1; piece <= input.size(); ++piece) {
    const Decoded decoded = Decode(input, piece);
    EXPECT_TRUE(decoded.done) << piece;
    EXPECT_EQ(decoded.data, "hello world0123456789") << piece;
    EXPECT_EQ(decoded.rest, "GET /") << piece;
  }
}

TEST(ChunkDecoder, NothingButTheEnd) {
  EXPECT_TRUE(Decode("0\r\n\r\n", 1).done);
  EXPECT_TRUE(Decode("0000\r\n\r\n", 99).done);
}

TEST(ChunkDecoder, ACutInputIsNotDone) {
  const std::string input = "3\r\nabc\r\n0\r\na: b\r\n\r\n";
  for (size_t bytes = 0; bytes < input.size(); ++bytes) {
    const Decoded decoded = Decode(input.substr(0, bytes), 99);
    EXPECT_TRUE(decoded.ok) << bytes;
    EXPECT_FALSE(decoded.done) << bytes;
  }
}

TEST(ChunkDecoder, BrokenFramingIsRefused) {
  for (const char* input :
       {"\r\n", "x\r\n", "-1\r\n", "3\nabc", "3\r\nabcd\r\n", "3\r\nabc\n", "3\r\nabc0\r\n",
        "ffffffffffffffff\r\n", "3 ;\n", "0\r\na\n", "0\r\n\rx", "3\rx", "3;a\nb\r\n"}) {
    EXPECT_FALSE(Decode(input, 99).ok) << input;
    EXPECT_FALSE(Decode(input, 1).ok) << input;
  }
}

TEST(ChunkDecoder, LinesAndTrailersAreBounded) {
  EXPECT_FALSE(Decode("1;" + std::string(ChunkDecoder::kLineBytesMax, 'x'), 1000).ok);
  std::string trailers = "0\r\n";
  while (trailers.size() < ChunkDecoder::kTrailerBytesMax + 1000) trailers += "a: b\r\n";
  EXPECT_FALSE(Decode(trailers, 1000).ok);
}

RC_GTEST_PROP(ChunkDecoder, AnyBytesEnd, (const std::string& input)) { Decode(input, 7); }

}  // namespace
}  // namespace tallystick
