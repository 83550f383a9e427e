// The manifest: a whole snapshot of what the database is made of, one file a change; the highest
// number counts. docs/formats/manifest.md has the byte table.
//
// If the highest-numbered manifest does not verify, that is corruption: nothing ever steps back to
// an older one, because the log that the older one needs may be gone. The last ten are kept for
// people and for repair; they pin no file.
//
// Thread rule: values and free functions; one writer at a time (the log keeper).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/types.h"
#include "env/env.h"
#include "tallystick/event.h"
#include "tallystick/options.h"

namespace tallystick {

inline constexpr char kManifestMagic[8] = {'T', 'A', 'L', 'L', 'Y', 'M', 'A', 'N'};
inline constexpr char kIdentityMagic[8] = {'T', 'A', 'L', 'L', 'Y', 'I', 'D', 'N'};
inline constexpr uint32_t kManifestFormatVersion = 1;
inline constexpr uint32_t kIdentityFormatVersion = 1;
inline constexpr size_t kManifestsKept = 10;
inline constexpr uint64_t kManifestBytesMax = 64ull << 20;

// Fixed at creation.
struct Identity {
  DatabaseId database_id;
  IdentityScope scope = IdentityScope::kGlobal;
};

// A live segment: rows first_lsn..last_lsn. (Nothing writes segments yet; format 1 has their
// place.)
struct ListedSegment {
  FileNumber number;
  Lsn first_lsn;
  Lsn last_lsn;
  uint64_t rows = 0;
  uint64_t bytes = 0;
  uint64_t footer_checksum = 0;
  friend bool operator==(const ListedSegment&, const ListedSegment&) = default;
};

// A file of a kind that this version does not interpret, kept alive by being named.
struct ListedOther {
  uint32_t kind = 0;
  FileNumber number;
  friend bool operator==(const ListedOther&, const ListedOther&) = default;
};

struct Manifest {
  FileNumber number;         // its own
  uint64_t incarnation = 0;  // 64 random bits, drawn at creation, restore and repair
  Lsn flushed_lsn;           // segments hold exactly the rows 1..flushed_lsn
  uint64_t next_number = 1;  // above every file number ever given out
  int64_t last_commit_time_us = 0;
  FrameNumber first_frame{1};            // the first frame of the listed WAL files
  std::vector<ListedSegment> segments;   // in LSN order
  std::vector<ListedWalFile> wal_files;  // in frame order
  std::vector<ListedOther> others;
  Bytes control_effects;  // of dropped WAL files' control records; empty, there are none yet
};

// Checked at every install and at open: numbers distinct and below next_number, segments tile
// (0, flushed_lsn], only the last WAL files are open, ends ascend. Empty text = holds.
std::string CheckManifest(const Manifest& manifest);

Bytes EncodeManifest(const Manifest& manifest, const DatabaseId& database_id);
Result<Manifest> DecodeManifest(ByteSpan bytes, DatabaseId* database_id);  // total

Bytes EncodeIdentity(const Identity& identity);
Result<Identity> DecodeIdentity(ByteSpan bytes);  // total

std::string ManifestFileName(FileNumber number);  // "000007"

// The manifest that counts. kNotFound where the folder holds none.
Result<Manifest> LoadManifest(FileSystem& fs, const std::string& dir,
                              const DatabaseId& database_id);

// Makes manifest.number the one that counts: temporary file, sync, rename, directory sync. On a
// failure before the rename nothing has changed (*renamed false). From the rename on the outcome is
// unknown
// (*renamed true): no file that it or its predecessor names may be deleted or recycled until a
// manifest with a higher number is durable.
Status WriteManifest(FileSystem& fs, const std::string& dir, const DatabaseId& database_id,
                     const Manifest& manifest, bool* renamed);

}  // namespace tallystick
