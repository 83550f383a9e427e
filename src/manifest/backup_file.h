// BACKUP: what a backup consists of, one file that is replaced by rename. docs/formats/backup.md
// has the byte table.
//
// It holds the database's IDENTITY and a manifest whole, and names every other file of the backup
// with size and checksum. The manifest lists the segments of one version, and log files that all
// have an end: opened by recovery, together they are the database at `lsn`. Names are made from
// kind and number, never read from the file, so no content of it can lead out of the folder.
//
// A log file is copied up to a frame, and that frame is in the copy's name: a later backup into the
// same folder, which needs more of the file, makes another copy, and the earlier one stays whole
// until the new BACKUP counts.
//
// Thread rule: values and free functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "manifest/manifest.h"

namespace tallystick {

inline constexpr char kBackupMagic[8] = {'T', 'A', 'L', 'L', 'Y', 'B', 'A', 'K'};
inline constexpr uint32_t kBackupFormatVersion = 1;
inline constexpr char kBackupFileName[] = "BACKUP";
inline constexpr uint64_t kBackupBytesMax = 2 * kManifestBytesMax;

// On disk: four bytes. Values are never reused.
enum class BackupFileKind : uint32_t { kRows = 1, kSidecar = 2, kRollup = 3, kWal = 4 };

struct BackupFile {
  BackupFileKind kind = BackupFileKind::kRows;
  FileNumber number;
  uint64_t bytes = 0;
  uint64_t checksum = 0;  // XXH3-64 of the whole file
  friend bool operator==(const BackupFile&, const BackupFile&) = default;
};

struct BackupContent {
  Identity identity;
  Manifest manifest;
  Lsn lsn;                 // of the last row
  int64_t created_us = 0;  // wall clock, epoch
  // By kind and number, ascending. Each segment's rows, its sidecar and rollup where they were
  // there, and each log file.
  std::vector<BackupFile> files;
};

// Where a file stands, relative to the backup: "segments/000012.seg", "wal/000007-345". REQUIRES:
// the file is in the content.
std::string BackupFilePath(const BackupContent& content, const BackupFile& file);

// Empty, or what contradicts: the manifest and the files must name the same.
std::string CheckBackup(const BackupContent& content);

Bytes EncodeBackup(const BackupContent& content);
Result<BackupContent> DecodeBackup(ByteSpan bytes);  // total

// The BACKUP of a folder; errors name the file.
Result<BackupContent> LoadBackup(FileSystem& fs, const std::string& directory);

// `tallystick inspect backup`: appends a description (or, with `json`, one JSON object) of a BACKUP
// file.
Status InspectBackup(FileSystem& fs, const std::string& path, bool json, std::string* out);

}  // namespace tallystick
