#include "server/chunk_decoder.h"

#include <algorithm>

namespace tallystick {
namespace {

constexpr size_t kSizeDigitsMax = 15;  // below 2^60: no overflow

Status Bad(std::string_view why) { return Status::InvalidArgument("invalid_request", why); }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

Result<ChunkDecoder::Step> ChunkDecoder::Next(std::string_view input) {
  Step step;
  while (step.consumed < input.size() && state_ != State::kDone) {
    if (state_ == State::kData) {
      const size_t bytes = std::min<uint64_t>(chunk_bytes_, input.size() - step.consumed);
      step.data = input.substr(step.consumed, bytes);
      step.consumed += bytes;
      chunk_bytes_ -= bytes;
      if (chunk_bytes_ == 0) {
        state_ = State::kDataEnd;
        last_was_return_ = false;
      }
      return step;
    }
    const Status status = Take(input[step.consumed]);
    if (!status.ok()) return status;
    ++step.consumed;
  }
  return step;
}

// One byte outside of data.
Status ChunkDecoder::Take(char c) {
  if (++line_bytes_ > kLineBytesMax) return Bad("a chunk's head is too long");
  switch (state_) {
    case State::kSize:
      if (const int digit = HexDigit(c); digit >= 0) {
        if (++size_digits_ > kSizeDigitsMax) return Bad("a chunk's size is too large");
        chunk_bytes_ = chunk_bytes_ * 16 + static_cast<uint64_t>(digit);
        return Status::Ok();
      }
      if (size_digits_ == 0) return Bad("a chunk has no size");
      if (c == '\r') {
        state_ = State::kSizeEnd;
        return Status::Ok();
      }
      if (c != ';' && c != ' ' && c != '\t') return Bad("a chunk's size is no number");
      state_ = State::kExtension;
      return Status::Ok();
    case State::kExtension:
      if (c == '\r') state_ = State::kSizeEnd;
      if (c == '\n') return Bad("a chunk's head has a bare line feed");
      return Status::Ok();
    case State::kSizeEnd:
      if (c != '\n') return Bad("a chunk's head does not end");
      state_ = chunk_bytes_ == 0 ? State::kTrailer : State::kData;
      line_bytes_ = 0;
      size_digits_ = 0;
      last_was_return_ = false;
      return Status::Ok();
    case State::kDataEnd:
      if (c != (last_was_return_ ? '\n' : '\r')) return Bad("a chunk is longer than its size");
      if (last_was_return_) {
        state_ = State::kSize;
        line_bytes_ = 0;
      }
      last_was_return_ = c == '\r';
      return Status::Ok();
    case State::kTrailer:
      return TakeTrailer(c);
    case State::kData:
    case State::kDone:
      break;
  }
  return Bad("text behind the last chunk");
}

Status ChunkDecoder::TakeTrailer(char c) {
  if (++trailer_bytes_ > kTrailerBytesMax) return Bad("the trailers are too long");
  if (c == '\n') {
    if (!last_was_return_) return Bad("a trailer has a bare line feed");
    if (line_bytes_ == 2) state_ = State::kDone;  // an empty line: only its line end
    line_bytes_ = 0;
  } else if (last_was_return_) {
    return Bad("a trailer has a bare carriage return");
  }
  last_was_return_ = c == '\r';
  return Status::Ok();
}

}  // namespace tallystick
