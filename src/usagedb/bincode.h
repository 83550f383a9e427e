// bincode 1.3 as usageDb writes it: fixed-width little-endian integers, u64 lengths in front of
// texts and vectors, an option is a byte, structs and tuples are their fields.
//
// Thread rule: values.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/coding.h"
#include "tallystick/event.h"

namespace tallystick::usagedb {

inline void PutRaw(Bytes& out, ByteSpan data) { out.insert(out.end(), data.begin(), data.end()); }

inline void PutText(Bytes& out, std::string_view text) {
  PutFixed<uint64_t>(out, text.size());
  PutRaw(out, AsByteSpan(text));
}

// Appends the event as usageDb's struct, its fields in the order of the log's keys. The server's
// stamp, the last field, is 0: so it is hashed. REQUIRES: dimensions ascending by key, a whole
// quantity.
void EncodeEvent(const EventView& event, Bytes& out);

// Reads such bytes; total, as Decoder is.
class BincodeReader {
 public:
  explicit BincodeReader(ByteSpan data) : decoder_(data) {}

  bool ok() const { return decoder_.ok(); }
  // All was read, and nothing is left.
  bool done() const { return decoder_.ok() && decoder_.remaining() == 0; }
  void Fail() { decoder_.Fail(); }

  template <typename T>
  T Fixed() {
    return decoder_.Fixed<T>();
  }
  std::string_view Text() { return AsText(decoder_.Raw(decoder_.Fixed<uint64_t>())); }
  // The byte in front of an option: whether there is a value.
  bool Option() {
    const auto tag = decoder_.Fixed<uint8_t>();
    if (tag > 1) decoder_.Fail();
    return tag == 1;
  }
  // The length of a vector whose elements need `bytes_min` each at least: more than can be there is
  // a failure, so that nothing is allocated for it.
  uint64_t Count(size_t bytes_min) {
    const auto count = decoder_.Fixed<uint64_t>();
    if (count > decoder_.remaining() / bytes_min) return decoder_.Fail();
    return count;
  }
  ByteSpan Raw(uint64_t bytes) { return decoder_.Raw(bytes); }

 private:
  Decoder decoder_;
};

}  // namespace tallystick::usagedb
