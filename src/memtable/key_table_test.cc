#include "memtable/key_table.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <thread>
#include <vector>

namespace tallystick {
namespace {

// The low half chooses the slot: equal ones collide.
EventHash Hash(uint64_t low, uint64_t high) {
  EventHash hash;
  std::memcpy(hash.bytes.data(), &low, 8);
  std::memcpy(hash.bytes.data() + 8, &high, 8);
  return hash;
}

TEST(KeyTableTest, FindsNothingWhenEmpty) {
  for (const uint32_t keys_max : {0u, 1u, 100u}) {
    const KeyTable table(keys_max);
    EXPECT_FALSE(table.Find(Hash(0, 0)).has_value());
    EXPECT_FALSE(table.Find(Hash(~0ull, ~0ull)).has_value());
    EXPECT_EQ(table.size(), 0u);
  }
}

TEST(KeyTableTest, TheHashOfAllZerosIsAKeyLikeAnyOther) {
  KeyTable table(2);
  table.Insert(Hash(0, 0), 5, Lsn{9});
  ASSERT_TRUE(table.Find(Hash(0, 0)).has_value());
  EXPECT_EQ(table.Find(Hash(0, 0))->payload_hash, 5u);
  EXPECT_EQ(table.Find(Hash(0, 0))->lsn, Lsn{9});
}

TEST(KeyTableTest, RefusesWhatIsOurMistake) {
  KeyTable table(1);
  EXPECT_DEATH(table.Insert(Hash(1, 1), 0, Lsn{0}), "lsn");
  table.Insert(Hash(1, 1), 0, Lsn{1});
  EXPECT_DEATH(table.Insert(Hash(2, 2), 0, Lsn{2}), "keys_max");
}

// Slots at the table's end wrap around, chains of equal low halves run through each other.
RC_GTEST_PROP(KeyTableTest, HoldsWhatAMapHoldsUpToItsLastKey, ()) {
  const auto keys_max = *rc::gen::inRange<uint32_t>(1, 200);
  KeyTable table(keys_max);
  std::map<EventHash, KeyTable::Found> model;
  while (model.size() < keys_max) {
    const auto low = *rc::gen::element<uint64_t>(0, 1, 7, ~0ull, ~1ull, 1ull << 63);
    const EventHash hash = Hash(low, *rc::gen::inRange<uint64_t>(0, 100));
    const auto known = model.find(hash);
    RC_ASSERT(table.Find(hash).has_value() == (known != model.end()));
    if (known != model.end()) {
      RC_ASSERT(table.Find(hash)->lsn == known->second.lsn);
      RC_ASSERT(table.Find(hash)->payload_hash == known->second.payload_hash);
      continue;
    }
    const KeyTable::Found key{*rc::gen::arbitrary<uint64_t>(), Lsn{model.size() + 1}};
    table.Insert(hash, key.payload_hash, key.lsn);
    model[hash] = key;
    RC_ASSERT(table.size() == model.size());
  }
  size_t seen = 0;
  table.ForEach([&](const EventHash& hash, const KeyTable::Found& found) {
    RC_ASSERT(model.at(hash).lsn == found.lsn);
    RC_ASSERT(model.at(hash).payload_hash == found.payload_hash);
    ++seen;
  });
  RC_ASSERT(seen == model.size());
}

TEST(KeyTableTest, ReadersSeeWholeKeysWhileTheWriterInserts) {
  constexpr uint64_t kKeys = 20'000;
  KeyTable table(kKeys);
  std::atomic<uint64_t> inserted = 0;
  std::atomic<uint64_t> faults = 0;
  auto read = [&](uint64_t seed) {
    while (true) {
      const uint64_t known = inserted.load(std::memory_order_acquire);
      for (int i = 0; i < 64; ++i) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const uint64_t key = (seed >> 33) % kKeys + 1;
        const auto found = table.Find(Hash(key * 3, key));
        // A key that was published must be there; one that was not may be, but then whole.
        if (key <= known && !found.has_value()) ++faults;
        if (found.has_value() && (found->lsn.value != key || found->payload_hash != ~key)) ++faults;
      }
      if (known == kKeys) return;
    }
  };
  std::vector<std::thread> readers;
  for (uint64_t seed = 1; seed <= 2; ++seed) readers.emplace_back(read, seed);
  for (uint64_t key = 1; key <= kKeys; ++key) {
    table.Insert(Hash(key * 3, key), ~key, Lsn{key});
    inserted.store(key, std::memory_order_release);
  }
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(faults.load(), 0u);
}

}  // namespace
}  // namespace tallystick
