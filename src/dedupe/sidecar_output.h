// SidecarOutput: writes a sidecar from entries that come in key order, in constant memory but for
// the page directory (8 bytes a page). Where everything stands follows from the number of rows, so
// that pages and filter are written side by side.
//
// Thread rule: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dedupe/sidecar_filter.h"
#include "dedupe/sidecar_format.h"
#include "env/env.h"
#include "env/io_governor.h"

namespace tallystick {

class SidecarOutput {
 public:
  // Creates `path`, which must not exist. `governor` may be null.
  static Result<std::unique_ptr<SidecarOutput>> Create(FileSystem& fs, const std::string& path,
                                                       const SidecarBinding& binding,
                                                       IoGovernor* governor);
  ~SidecarOutput();

  // kCorruption where the key is not above the one before, the row is beyond the segment's, or
  // there are more entries than rows.
  Status Add(const SidecarEntry& entry);
  // kCorruption where entries are missing. Writes the footer last and syncs the file.
  Status Finish();

 private:
  // A part of the file that is written from its beginning to its end.
  struct Part {
    uint64_t offset = 0;
    Bytes buffer;
  };

  SidecarOutput(std::unique_ptr<File> file, const SidecarBinding& binding, IoGovernor* governor);
  Status Write(Part& part);
  Status WriteFilter();
  Status EndPage();
  Status AddToFilter(const EventHash& key);
  Status EndFilterBlock();
  Status Refuse(std::string_view why) const;

  const std::unique_ptr<File> file_;
  const SidecarBinding binding_;
  IoGovernor* const governor_;
  const SidecarLayout layout_;
  const uint64_t seed_;
  const uint64_t filter_blocks_;

  uint64_t unsynced_ = 0;  // bytes written
  uint64_t entries_ = 0;
  SidecarEntry last_;
  Part pages_;
  Bytes page_;  // the one being filled
  Bytes directory_;
  Part filter_;
  uint64_t filter_at_ = 0;  // the block being made
  FilterBlock filter_block_;
  struct Checksum;
  std::unique_ptr<Checksum> filter_checksum_;
};

}  // namespace tallystick
