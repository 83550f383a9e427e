// SidecarChecker: CheckSidecar (sidecar_reader.h) in bounded pieces.
//
// Thread rule: one thread; the reader must outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "dedupe/sidecar_reader.h"

namespace tallystick {

class SidecarChecker {
 public:
  using OnEntry = std::function<void(const SidecarEntry&)>;

  // `on_entry` (may be empty) gets every entry that is right in itself, in key order.
  SidecarChecker(const SidecarReader& reader, OnEntry on_entry);
  ~SidecarChecker();

  // Checks the next so many pages; with the first the header and the directory, with each the part
  // of the filter that its keys are in. False: all of the file is as it should be. After an error
  // it must not be called again.
  Result<bool> Step(uint64_t pages);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tallystick
