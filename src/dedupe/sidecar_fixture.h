// Sidecars for tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dedupe/sidecar_writer.h"
#include "model/identity.h"

namespace tallystick {

inline SidecarBinding BindingOf(uint64_t rows, uint64_t number = 7) {
  SidecarBinding binding;
  binding.database_id.bytes.fill(0xab);
  binding.number = {number};
  binding.first_lsn = {1001};
  binding.last_lsn = {1000 + rows};
  binding.rows = rows;
  binding.footer_checksum = 0x1122334455667788;
  return binding;
}

inline EventHash KeyNumber(uint64_t number) {
  return IdHash(IdentityScope::kGlobal, "", "event-" + std::to_string(number));
}

// Entries of keys 0..rows-1, not in order, rows in another order.
inline std::vector<SidecarEntry> EntriesOf(uint64_t rows) {
  std::vector<SidecarEntry> entries(rows);
  for (uint64_t i = 0; i < rows; ++i) {
    entries[i].key = KeyNumber(i);
    entries[i].payload_hash = i * 0x9e3779b97f4a7c15;
    entries[i].row = static_cast<uint32_t>(rows - 1 - i);
  }
  return entries;
}

// A key from its leading and trailing half, in order as numbers.
inline EventHash KeyFrom(uint64_t leading, uint64_t trailing) {
  EventHash key;
  for (int i = 0; i < 8; ++i) {
    key.bytes[i] = static_cast<uint8_t>(leading >> (56 - 8 * i));
    key.bytes[8 + i] = static_cast<uint8_t>(trailing >> (56 - 8 * i));
  }
  return key;
}

}  // namespace tallystick
