// Sidecars for tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dedupe/sidecar_reader.h"
#include "dedupe/sidecar_writer.h"
#include "model/identity.h"
#include "testing/sim_fs.h"

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

inline constexpr char kSidecarPath[] = "000007.idx";

class SidecarTest : public testing::Test {
 protected:
  void Write(uint64_t rows) {
    binding_ = BindingOf(rows);
    entries_ = EntriesOf(rows);
    WriteEntries();
  }
  // Entries with these keys, rows in another order.
  void WriteKeys(const std::vector<EventHash>& keys) {
    binding_ = BindingOf(keys.size());
    entries_ = EntriesOf(keys.size());
    for (size_t i = 0; i < keys.size(); ++i) entries_[i].key = keys[i];
    WriteEntries();
  }
  void WriteEntries() {
    const Status status = WriteSidecar(fs_, kSidecarPath, binding_, entries_, nullptr);
    ASSERT_TRUE(status.ok()) << status.ToString();
  }
  std::unique_ptr<SidecarReader> Open() {
    auto reader = SidecarReader::Open(fs_, kSidecarPath, binding_);
    EXPECT_TRUE(reader.ok()) << reader.status().ToString();
    return reader.ok() ? *std::move(reader) : nullptr;
  }
  Bytes Content() { return *fs_.Content(kSidecarPath); }

  // What the engine does with a batch.
  static Result<std::vector<std::optional<SidecarReader::Found>>> Probe(
      const SidecarReader& reader, const std::vector<EventHash>& keys) {
    std::vector<uint32_t> candidates;
    reader.Filter(keys, &candidates);
    std::vector<std::optional<SidecarReader::Found>> found(candidates.size());
    Status status = reader.Find(keys, candidates, found);
    if (!status.ok()) return status;
    std::vector<std::optional<SidecarReader::Found>> by_key(keys.size());
    for (size_t k = 0; k < candidates.size(); ++k) by_key[candidates[k]] = found[k];
    return by_key;
  }

  // Every entry is found, and of as many keys that are not there none.
  void ExpectAnswersAll(const SidecarReader& reader) {
    std::vector<EventHash> keys;
    for (const SidecarEntry& entry : entries_) keys.push_back(entry.key);
    for (size_t i = 0; i < entries_.size(); ++i) keys.push_back(KeyNumber(1'000'000 + i));
    const auto found = Probe(reader, keys);
    ASSERT_TRUE(found.ok()) << found.status().ToString();
    for (size_t i = 0; i < entries_.size(); ++i) {
      ASSERT_TRUE((*found)[i].has_value()) << i;
      EXPECT_EQ((*found)[i]->payload_hash, entries_[i].payload_hash) << i;
      EXPECT_EQ((*found)[i]->row, entries_[i].row) << i;
      EXPECT_FALSE((*found)[entries_.size() + i].has_value()) << i;
    }
  }

  // Open, filter, every page: the first complaint.
  Status VerifyAll() {
    auto reader = SidecarReader::Open(fs_, kSidecarPath, binding_);
    if (!reader.ok()) return reader.status();
    if (Status status = (*reader)->LoadFilter(nullptr); !status.ok()) return status;
    return CheckSidecar(**reader);
  }

  SimFs fs_;
  SidecarBinding binding_;
  std::vector<SidecarEntry> entries_;
};

}  // namespace tallystick
