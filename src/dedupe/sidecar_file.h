// An open sidecar file: reads its parts and verifies each before giving it out. What the parts are
// for is SidecarReader's business.
//
// Errors: kCorruption and kIoError with file, offset and what is wrong.
// Thread rule: any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dedupe/sidecar_format.h"
#include "env/env.h"

namespace tallystick {

class SidecarFile {
 public:
  // Reads and verifies the footer, nothing else. kNotFound where there is no file.
  static Result<SidecarFile> Open(FileSystem& fs, const std::string& path);

  const std::string& path() const { return file_->path(); }
  const SidecarBinding& binding() const { return footer_.binding; }
  const SidecarLayout& layout() const { return layout_; }
  uint64_t filter_checksum() const { return footer_.filter_checksum; }

  Status CheckHeader() const;
  // REQUIRES: first < layout().pages, and `out` has room for whole pages of the file.
  Status ReadPages(uint64_t first, std::span<std::byte> out) const;
  void PrefetchPages(uint64_t first, uint64_t count) const;
  // Leading 8 bytes of each page's first key, as big-endian numbers.
  Result<std::vector<uint64_t>> ReadDirectory() const;
  // A piece of the filter, not verified: its checksum is over all of it.
  Status ReadFilter(uint64_t at, std::span<std::byte> out) const;

  // kCorruption with file, offset and `what`.
  Status Corrupt(uint64_t offset, std::string_view what) const;

 private:
  SidecarFile(std::unique_ptr<File> file, const SidecarFooter& footer);

  std::unique_ptr<File> file_;
  SidecarFooter footer_;
  SidecarLayout layout_;
  uint64_t seed_ = 0;
};

}  // namespace tallystick
