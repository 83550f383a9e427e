// DIR/REPAIR: a repair is under way. While it is there nobody opens the database but a repair.
// docs/formats/manifest.md has the byte table.
//
// All files that the repair makes have numbers from first_number on. So if a manifest has such a
// number, the repair counts, and what is left to do is to move what that manifest does not name;
// else it does not, and files with such numbers are nothing.
//
// Thread rule: values and free functions.
#pragma once

#include <cstdint>
#include <string>

#include "base/types.h"
#include "engine/layout.h"
#include "tallystick/status.h"

namespace tallystick {

struct RepairJournal {
  DatabaseId database_id;
  uint64_t first_number = 0;
  uint32_t date = 0;  // 20261128

  std::string folder() const;  // "damaged/000042-20261128"
};

Bytes EncodeRepairJournal(const RepairJournal& journal);
Result<RepairJournal> DecodeRepairJournal(ByteSpan bytes);  // total
// kNotFound where no repair is under way.
Result<RepairJournal> LoadRepairJournal(FileSystem& fs, const Layout& layout);

}  // namespace tallystick
