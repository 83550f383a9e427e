// Survey: what stands in a directory of usageDb, judged row by row before anything is imported.
//
// The order of the rows is that of the manifest's segments, then the logs by id; of one event id
// the first copy counts. Ids are compared by usageDb's own hash (128 bits), payloads by the first
// 64 bits of its payload hash. A source with more ids than may be in memory is read several times,
// each time for a share of the ids.
//
// Thread rule: one thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/usagedb_totals.h"
#include "tallystick/usagedb.h"
#include "usagedb/directory.h"

namespace tallystick {

enum class RowFate : uint8_t {
  kFirst,      // counts
  kDuplicate,  // of a first one
  kConflict,   // with a first one
  kRefused,    // cannot be held
};

// Where a row stands.
struct SourcePlace {
  std::string file;
  uint64_t place = 0;  // row from 0, or line from 1
  bool in_log = false;
};

// Reads a source again and again, in one order.
class UsageDbSource {
 public:
  // Locks the directory, where it has a LOCK.
  static Result<std::unique_ptr<UsageDbSource>> Open(FileSystem& fs, const std::string& root);

  struct Visitor {
    // Begins a file, by its index: the segments, then the live logs. False: it is left out. May be
    // empty.
    std::function<bool(size_t)> file;
    std::function<Status(const usagedb::Row&)> row;
    std::function<void(const usagedb::SegmentMeta&)> segment_end;  // may be empty
    // May be empty: then damage is an error. With it, what is damaged is left out.
    std::function<void(UsageDbDamage)> damage;
  };
  // About how many rows Walk will visit, from headers and sizes. A segment that cannot be read is
  // damaged.
  Result<uint64_t> RowsAbout(const std::function<void(UsageDbDamage)>& damage);
  // The segments and live logs that are not known to be damaged.
  Status Walk(const Visitor& visitor);
  // The logs whose events should be in segments; lines that do not parse are left out.
  Status WalkSealed(const Visitor& visitor);

  // A segment that no manifest names. kCorruption where it is none.
  Status WalkLeftover(const std::string& name,
                      const std::function<void(const usagedb::Row&)>& on_row);

  const usagedb::Directory& directory() const { return directory_; }
  FileSystem& fs() { return fs_; }
  const SourcePlace& place() const { return place_; }  // of the row that is visited

 private:
  explicit UsageDbSource(FileSystem& fs) : fs_(fs) {}
  Status WalkSegment(size_t index, const Visitor& visitor);
  Status WalkLog(uint64_t id, bool skip_bad_lines, const Visitor& visitor);

  FileSystem& fs_;
  std::unique_ptr<FileLock> lock_;
  usagedb::Directory directory_;
  std::vector<bool> segment_damaged_;
  bool damage_known_ = false;  // after the first walk
  SourcePlace place_;
  Bytes buffer_;
};

// The rows of a file that Walk visits, as positions among all of them.
struct SurveyedFile {
  uint64_t begin = 0;
  uint64_t end = 0;
  bool has_copies = false;  // further ones, of any event
};

struct UsageDbSurvey {
  std::vector<RowFate> fates;  // of the rows that Walk visits, in its order
  std::vector<SurveyedFile> files;
  UsageTotals totals;          // of the first copies
  UsageDbImportReport report;  // its part about the source
};

// Reads everything and judges it. Damage is in the report, not an error.
Result<UsageDbSurvey> SurveyUsageDb(UsageDbSource& source, const UsageDbImportOptions& options);

}  // namespace tallystick
