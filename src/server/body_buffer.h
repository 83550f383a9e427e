// BodyBuffer: a request's body in one piece, grown as it arrives, followed by the padding that the
// JSON reader needs. Growing leaves bytes uninitialised, since fresh memory is what costs.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

#include "server/ingest_json.h"

namespace tallystick {

class BodyBuffer {
 public:
  std::string_view text() const { return {data_.get(), size_}; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  char* end() { return data_.get() + size_; }
  size_t room() const { return capacity_ - size_; }

  // At least `capacity` bytes can stand in it from now on.
  void Reserve(size_t capacity) {
    if (capacity <= capacity_) return;
    auto grown = std::make_unique_for_overwrite<char[]>(capacity + kJsonPaddingBytes);
    if (size_ > 0) std::memcpy(grown.get(), data_.get(), size_);
    data_ = std::move(grown);
    capacity_ = capacity;
  }
  // `bytes` more were written behind end(). REQUIRES: bytes <= room().
  void Commit(size_t bytes) { size_ += bytes; }
  void Clear() { size_ = 0; }

  // Padding of blanks, so that what an earlier body left there is never read as JSON.
  void Pad() {
    Reserve(1);
    std::memset(end(), ' ', kJsonPaddingBytes);
  }

 private:
  std::unique_ptr<char[]> data_;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace tallystick
