// The tests of usageDb's tests/dedupe_index.rs, by their names, for its own layout (UDBIDX01) and
// for Tallystick's (N.idx); then what lies beyond is in sidecar_faults_test.cc and src/dedupe.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "dedupe/sidecar_reader.h"
#include "dedupe/sidecar_writer.h"
#include "testing/machine.h"
#include "testing/pass_through_fs.h"
#include "testing/scenario.h"
#include "testing/sim_fs.h"
#include "usagedb/udbidx01.h"

namespace tallystick {
namespace {

using udbidx01::DedupeEntry;
using udbidx01::IndexPath;
using udbidx01::ReadDedupeIndex;
using udbidx01::WriteDedupeIndex;

constexpr char kSegmentPath[] = "raw_0123.seg";
constexpr char kSidecarPath[] = "000009.idx";

EventHash Hash(uint8_t fill) {
  EventHash hash;
  hash.bytes.fill(fill);
  return hash;
}

// 128-bit and 64-bit boundary values among them.
std::vector<DedupeEntry> Entries() {
  EventHash one;
  one.bytes[0] = 1;
  return {{Hash(0), Hash(0), 0},
          {Hash(0xff), Hash(0xff), INT64_MAX},
          {one, Hash(0x80), INT64_MIN},
          {Hash(0x7f), one, -1}};
}

const SidecarBinding kBinding{
    .number = {9}, .first_lsn = {1}, .last_lsn = {4}, .rows = 4, .footer_checksum = UINT64_MAX};

std::vector<SidecarEntry> OwnEntries() {
  return {{Hash(0), 0, 3}, {Hash(0xff), UINT64_MAX, 0}, {Hash(0x80), 1, 2}, {Hash(0x7f), 2, 1}};
}

class dedupe_index : public testing::Test {
 protected:
  void WriteBoth() {
    ASSERT_TRUE(WriteDedupeIndex(fs_, IndexPath(kSegmentPath), Entries()).ok());
    ASSERT_TRUE(WriteSidecar(fs_, kSidecarPath, kBinding, OwnEntries(), nullptr).ok());
  }
  // What usageDb's reader says, and what ours says after reading all of the file.
  void ExpectBothRejected() {
    EXPECT_EQ(ReadDedupeIndex(fs_, IndexPath(kSegmentPath)).status().code(),
              StatusCode::kCorruption);
    auto own = SidecarReader::Open(fs_, kSidecarPath, kBinding);
    const Status status = own.ok() ? CheckSidecar(**own) : own.status();
    EXPECT_EQ(status.code(), StatusCode::kCorruption);
  }
  void Change(const std::string& path, const std::function<void(Bytes&)>& change) {
    Bytes bytes = *fs_.Content(path);
    change(bytes);
    fs_.SetContent(path, bytes);
  }
  void ChangeBoth(const std::function<void(Bytes&)>& change) {
    Change(IndexPath(kSegmentPath), change);
    Change(kSidecarPath, change);
  }

  SimFs fs_;
};

TEST_F(dedupe_index, write_then_read_round_trips_entries) {
  WriteBoth();
  const auto read = ReadDedupeIndex(fs_, IndexPath(kSegmentPath));
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  ASSERT_TRUE(read->has_value());
  EXPECT_EQ(**read, Entries());

  const auto own = SidecarReader::Open(fs_, kSidecarPath, kBinding);
  ASSERT_TRUE(own.ok()) << own.status().ToString();
  std::map<uint32_t, SidecarEntry> by_row;
  ASSERT_TRUE((*own)->ForEach([&](const SidecarEntry& e) { by_row[e.row] = e; }).ok());
  for (const SidecarEntry& entry : OwnEntries()) EXPECT_EQ(by_row[entry.row], entry);
  EXPECT_TRUE(CheckSidecar(**own).ok());
}

// A signal to fall back, not an error.
TEST_F(dedupe_index, missing_sidecar_returns_ok_none) {
  const auto read = ReadDedupeIndex(fs_, IndexPath(kSegmentPath));
  ASSERT_TRUE(read.ok());
  EXPECT_FALSE(read->has_value());
  EXPECT_EQ(SidecarReader::Open(fs_, kSidecarPath, kBinding).status().code(),
            StatusCode::kNotFound);
}

TEST_F(dedupe_index, corrupt_checksum_is_rejected) {
  WriteBoth();
  ChangeBoth([](Bytes& bytes) { bytes[bytes.size() / 2] ^= std::byte{0xff}; });
  ExpectBothRejected();
}

TEST_F(dedupe_index, truncated_sidecar_is_rejected) {
  WriteBoth();
  ChangeBoth([](Bytes& bytes) { bytes.resize(bytes.size() - 4); });
  ExpectBothRejected();
}

TEST_F(dedupe_index, missing_magic_is_rejected) {
  WriteBoth();
  ChangeBoth([](Bytes& bytes) { std::fill(bytes.begin(), bytes.begin() + 8, std::byte{0}); });
  ExpectBothRejected();
}

TEST_F(dedupe_index, dedupe_entry_uses_event_hash_type) {
  static_assert(std::is_same_v<decltype(DedupeEntry::id_hash), EventHash>);
  static_assert(std::is_same_v<decltype(DedupeEntry::payload_hash), EventHash>);
  static_assert(std::is_same_v<decltype(DedupeEntry::ingested_at_ms), int64_t>);
  static_assert(sizeof(EventHash) == 16);
  static_assert(std::is_same_v<decltype(SidecarEntry::key), EventHash>);
}

// --- the two that need a database: Tallystick's own sidecar ---

// Passes everything through and remembers which bytes of segments were read.
class CountingFs final : public PassThroughFs {
 public:
  explicit CountingFs(FileSystem& inner) : PassThroughFs(inner) {}

  struct Range {
    uint64_t offset = 0;
    uint64_t bytes = 0;
  };
  std::map<std::string, std::vector<Range>> reads;  // by path

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode,
                                     OpenFlags flags) override {
    auto file = PassThroughFs::Open(path, mode, flags);
    if (!file.ok()) return file.status();
    return std::make_unique<CountingFile>(*this, *std::move(file));
  }

 private:
  class CountingFile final : public PassThroughFile {
   public:
    CountingFile(CountingFs& fs, std::unique_ptr<File> inner)
        : PassThroughFile(std::move(inner)), fs_(fs) {}
    Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) override {
      fs_.reads[path()].push_back({offset, out.size()});
      return PassThroughFile::ReadAt(offset, out);
    }

   private:
    CountingFs& fs_;
  };
};

std::vector<Event> SomeEvents() {
  std::vector<Event> events;
  for (int id = 0; id < 10; ++id) events.push_back(SmallEvent(id));
  return events;
}

// One closed database with one segment.
std::string MakeSegment(Machine& machine) {
  EXPECT_TRUE(machine.Open().ok());
  EXPECT_EQ(machine.Ingest(SomeEvents())->accepted, 10u);
  EXPECT_TRUE(machine.Close().ok());
  for (const std::string& path : machine.fs().AllFiles()) {
    if (path.ends_with(".seg")) return path;
  }
  ADD_FAILURE() << "no segment";
  return "";
}

std::string SidecarOf(const std::string& segment) {
  return segment.substr(0, segment.size() - 4) + ".idx";
}

TEST_F(dedupe_index, recovery_uses_sidecar_to_rebuild_dedupe) {
  Machine machine(3, SmallOptions(true));
  const std::string segment = MakeSegment(machine);
  const uint64_t bytes = machine.fs().Content(segment)->size();
  CountingFs counting(machine.fs());
  machine.SetFileSystem(&counting);
  ASSERT_TRUE(machine.Open().ok());
  EXPECT_EQ(machine.db().GetStatus().sidecars_hit, 1u);
  const auto again = machine.Ingest(SomeEvents());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->duplicates, 10u);
  // The originals' LSNs were asked for: of the segment nothing but those and the footer was read.
  machine.Halt();

  machine.Restart(CrashKind::kKill, 1);
  counting.reads.clear();
  ASSERT_TRUE(machine.Open().ok());
  Batch batch = machine.MakeBatch(SomeEvents());
  std::optional<Result<IngestResult>> answer;
  machine.db().IngestAsync(std::move(batch),
                           [&](Result<IngestResult> result) { answer = std::move(result); });
  ASSERT_TRUE(machine.executor().RunUntil([&] { return answer.has_value(); }));
  ASSERT_TRUE(answer->ok());
  EXPECT_EQ((*answer)->duplicates, 10u);
  EXPECT_FALSE(counting.reads[SidecarOf(segment)].empty());
  ASSERT_FALSE(counting.reads[segment].empty());
  for (const CountingFs::Range& read : counting.reads[segment]) {
    EXPECT_GE(read.offset, bytes - 300) << "only the footer; " << read.bytes << " bytes were read";
  }
  machine.Halt();
}

TEST_F(dedupe_index, recovery_falls_back_to_segment_scan_without_sidecar) {
  Machine machine(3, SmallOptions(true));
  const std::string segment = MakeSegment(machine);
  ASSERT_TRUE(machine.fs().Remove(SidecarOf(segment)).ok());
  ASSERT_TRUE(machine.Open().ok());
  EXPECT_EQ(machine.db().GetStatus().sidecars_missing, 1u);
  EXPECT_EQ(machine.db().Ready().reason(), "dedupe_rebuilding");
  EXPECT_TRUE(machine.db().GetEvent("event-3").ok()) << "reads go on";
  machine.RunUntilIdle();
  EXPECT_EQ(machine.db().GetStatus().sidecars_rebuilt, 1u);
  EXPECT_TRUE(machine.db().Ready().ok());
  const auto again = machine.Ingest(SomeEvents());
  ASSERT_TRUE(again.ok()) << again.status().ToString();
  EXPECT_EQ(again->duplicates, 10u);
  EXPECT_TRUE(machine.fs().Content(SidecarOf(segment)).ok()) << "the next start has it";
  machine.Halt();
}

}  // namespace
}  // namespace tallystick
