// Decodes a chunked request body (RFC 9112, section 7.1) piece by piece. Total: any bytes give
// data, an end or an error. Chunk extensions and trailers are read over; each line of them is
// bounded.
//
// (Beast has one, but it needs whole chunk headers at once and asserts on some that are cut.)
//
// Thread rule: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tallystick/status.h"

namespace tallystick {

class ChunkDecoder {
 public:
  static constexpr size_t kLineBytesMax = 4096;      // a chunk's size line, or a trailer
  static constexpr size_t kTrailerBytesMax = 16384;  // all trailers

  struct Step {
    size_t consumed = 0;    // of the input
    std::string_view data;  // body bytes within what was consumed
  };

  // Takes from the front of `input` up to the end of one run of data. consumed == 0: more input is
  // needed, or done(). kInvalidArgument `invalid_request`.
  Result<Step> Next(std::string_view input);
  bool done() const { return state_ == State::kDone; }

 private:
  enum class State : uint8_t { kSize, kExtension, kSizeEnd, kData, kDataEnd, kTrailer, kDone };

  Status Take(char c);
  Status TakeTrailer(char c);

  State state_ = State::kSize;
  uint64_t chunk_bytes_ = 0;  // left of the current chunk
  size_t size_digits_ = 0;
  size_t line_bytes_ = 0;
  size_t trailer_bytes_ = 0;
  bool last_was_return_ = false;
};

}  // namespace tallystick
