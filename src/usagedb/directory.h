// A data directory of usageDb 0.4.0: which of its files count, and their content.
//
//   root/LOCK  root/manifest/CURRENT  root/manifest/manifest-%06d.json  root/wal/wal-%06d.log
//   root/raw_X.seg, compacted_X.seg, each with an .idx; root/rollup_X.rseg; root/manifest.json
//   (old)
//
// Only what the current manifest names counts, and the logs above its last_sealed_wal_id.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "env/env.h"
#include "usagedb/manifest.h"
#include "usagedb/segment.h"

namespace tallystick::usagedb {

struct Directory {
  // A log that should be there and is not, or one by a name that usageDb does not give.
  struct Fault {
    std::string file;
    std::string what;
  };

  std::string root;
  std::string manifest_file;  // empty: nothing was ever flushed, there are only logs
  UsageDbManifest manifest;
  std::vector<uint64_t> live_logs;    // ids, ascending
  std::vector<uint64_t> sealed_logs;  // left behind; their events are in segments
  // Of later generations than CURRENT says: a save that did not finish, or a CURRENT gone wrong.
  std::vector<std::string> newer_manifests;
  std::vector<std::string> leftovers;  // paths of files that do not count, sorted
  std::vector<Fault> log_faults;
};

// kNotFound `usagedb_not_found`; kCorruption, naming the file, where CURRENT is missing beside
// manifests or cannot be read, or the manifest that it names is missing or damaged.
Result<Directory> ReadDirectory(FileSystem& fs, const std::string& root);

bool IsSegmentName(std::string_view name);  // of a raw one
std::string SegmentPath(const std::string& root, const SegmentMeta& meta);
std::string LogPath(const std::string& root, uint64_t id);
inline std::string LockPath(const std::string& root) { return JoinPath(root, "LOCK"); }

// Reads and decodes a raw segment and compares it with what the manifest says of it: checksum,
// rows, times and sum. Errors name the file and, of damage, the offset. `buffer` is kept from file
// to file.
Result<SegmentRows> ReadSegment(FileSystem& fs, const std::string& root, const SegmentMeta& meta,
                                Bytes* buffer);

// About how many rows a segment has, without reading it: what its header says, but no more than it
// has bytes, so that one wrong number cannot claim much.
Result<uint64_t> RowsAbout(FileSystem& fs, const std::string& path);

// A log, line by line. Blank lines are left out.
class LogReader {
 public:
  static constexpr size_t kLineBytesMax = 256 << 20;

  static Result<LogReader> Open(FileSystem& fs, const std::string& path);

  struct Line {
    uint64_t number = 0;  // from 1
    uint64_t offset = 0;
    std::string_view text;  // until the next call
    bool ended = true;      // by a line feed
  };
  // None: the end. kCorruption for a line above kLineBytesMax.
  Result<std::optional<Line>> Next();
  uint64_t bytes() const { return bytes_; }  // of the file

 private:
  LogReader(std::unique_ptr<File> file, uint64_t bytes) : file_(std::move(file)), bytes_(bytes) {}
  Status Fill();

  std::unique_ptr<File> file_;
  uint64_t bytes_;
  uint64_t read_ = 0;  // of the file
  std::string buffer_;
  size_t at_ = 0;  // in buffer_, the next line's begin
  uint64_t offset_ = 0;
  uint64_t number_ = 0;
};

}  // namespace tallystick::usagedb
