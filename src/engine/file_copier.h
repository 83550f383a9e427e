// FileCopier: copies (or only reads) one file in bounded pieces, and adds up its checksum.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "env/env.h"
#include "env/io_governor.h"

namespace tallystick {

class FileCopier {
 public:
  // Opens `from`; without a path `to` nothing is written. `bytes`: as many from its start as are
  // wanted; all of it where not said. kCorruption where it has less. `governor` may be null.
  static Result<std::unique_ptr<FileCopier>> Start(FileSystem& fs, const std::string& from,
                                                   const std::string& to,
                                                   std::optional<uint64_t> bytes,
                                                   IoGovernor* governor);
  ~FileCopier();

  // Some more, kStepBytes at most. The copy is synced every kSyncBytes, and once all of it
  // is there; then done() holds.
  Status Step();
  static constexpr uint64_t kStepBytes = 4 << 20;
  bool done() const { return done_; }

  uint64_t bytes() const { return bytes_; }    // in all
  uint64_t copied() const { return offset_; }  // so far
  uint64_t checksum() const;                   // XXH3-64 of what was copied

 private:
  FileCopier(std::unique_ptr<File> from, std::unique_ptr<File> to, uint64_t bytes,
             IoGovernor* governor);

  struct Checksum;
  std::unique_ptr<File> from_;
  std::unique_ptr<File> to_;  // may be null
  const uint64_t bytes_;
  IoGovernor* const governor_;
  std::unique_ptr<Checksum> checksum_;
  Bytes buffer_;
  uint64_t offset_ = 0;
  uint64_t synced_ = 0;  // of the copy, up to here
  bool done_ = false;
};

}  // namespace tallystick
