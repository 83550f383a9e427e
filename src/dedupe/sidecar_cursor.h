// SidecarCursor: the entries of a sidecar in key order, each page verified.
//
// Thread rule: one thread; the reader must outlive it.
#pragma once

#include <cstdint>

#include "dedupe/sidecar_file.h"
#include "dedupe/sidecar_reader.h"

namespace tallystick {

class SidecarCursor {
 public:
  explicit SidecarCursor(const SidecarReader& reader);

  // Goes to the first entry, then to the next one; done() behind the last. On an error it stays
  // where it is not to be read.
  Status Next();
  bool done() const { return done_; }
  // REQUIRES: Next was ok, and not done().
  const SidecarEntry& entry() const { return entry_; }

 private:
  Status ReadPages();

  const SidecarFile& file_;
  Bytes buffer_;
  uint64_t next_page_ = 0;  // the first one that is not in the buffer
  uint64_t pages_ = 0;      // in the buffer
  uint64_t page_ = 0;       // the current one, of the buffer
  uint64_t next_in_page_ = 0;
  uint64_t entries_in_page_ = 0;
  SidecarEntry entry_;
  bool done_ = false;
};

}  // namespace tallystick
