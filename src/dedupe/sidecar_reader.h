// Reads a dedupe sidecar, N.idx: is this key in the segment, and in which row?
//
// Opening verifies the footer only, whatever the size. The page directory is read at the first
// need, the filter by LoadFilter (until then every key is a candidate), a page whenever it is
// probed; each is verified before it is believed. A page's checksum is seeded with segment and page
// number, so that a page of another file or place is not taken for this one.
//
// Errors: kNotFound where there is no file; kCorruption and kIoError with file, offset and what is
// wrong. An error never means "not there": unknown is not new.
//
// Thread rule: any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/types.h"
#include "dedupe/sidecar_writer.h"
#include "env/env.h"

namespace tallystick {

class SidecarFile;

class SidecarReader {
 public:
  struct Found {
    uint64_t payload_hash = 0;
    uint32_t row = 0;
  };

  static Result<std::unique_ptr<SidecarReader>> Open(FileSystem& fs, const std::string& path,
                                                     const SidecarBinding& binding);
  // What the file says of itself, believed where its footer verifies (inspect).
  static Result<SidecarBinding> ReadBinding(FileSystem& fs, const std::string& path);
  ~SidecarReader();

  const std::string& path() const;
  const SidecarBinding& binding() const;
  uint64_t bytes() const;         // of the file
  uint64_t filter_bytes() const;  // that LoadFilter would take

  // Reads and verifies the filter, if it is not loaded. On an error the filter stays absent, and
  // probes go to the pages.
  Status LoadFilter(IoGovernor* governor);
  bool filter_loaded() const;
  uint64_t memory_bytes() const;  // resident: filter and directory

  // Appends to `candidates` the indexes of the keys that may be in the segment, ascending. Touches
  // memory only. Source: blocked Bloom filters (Putze, Sanders, Singler 2007), in the form with one
  // bit in each word of a block as in Apache Parquet.
  void Filter(std::span<const EventHash> keys, std::vector<uint32_t>* candidates) const;

  // Looks up keys[i] for every i of `candidates`, many reads in flight: found[k] is for
  // candidates[k]. REQUIRES: found.size() == candidates.size().
  Status Find(std::span<const EventHash> keys, std::span<const uint32_t> candidates,
              std::span<std::optional<Found>> found) const;

  // Every entry, in key order, each page verified.
  Status ForEach(const std::function<void(const SidecarEntry&)>& entry) const;

 private:
  friend class SidecarChecker;
  friend class SidecarCursor;
  const SidecarFile& file() const;

  struct Impl;
  explicit SidecarReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Verifies all of the file: every page, entries = rows, keys ascending and distinct, every row
// number once, every key through the filter and the directory.
Status CheckSidecar(const SidecarReader& reader);

std::string SidecarFileName(FileNumber number);  // "000123.idx"

}  // namespace tallystick
