// TraceFs: passes everything through, and writes down what changes something, in order. The
// durability protocol of a scenario becomes a text, and a missing sync a one-line diff.
//
//   mkdir wal                       create wal/000003 direct        write wal/000003 0+4096
//   sync wal/000003                 truncate wal/000003 8192        rename manifest/000002.tmp
//   manifest/000002 syncdir manifest                remove wal/000002               lock LOCK
//
//   link segments/000004.seg backup/segments/000004.seg
//
// Paths are relative to the root that it is given; the root itself is ".", its parent "..".
// A failed operation ends in " !REASON".
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "testing/pass_through_fs.h"

namespace tallystick {

class TraceFs final : public PassThroughFs {
 public:
  TraceFs(FileSystem& inner, std::string root) : PassThroughFs(inner), root_(std::move(root)) {}

  using PassThroughFs::Open;
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode,
                                     OpenFlags flags) override;
  Status CreateDir(const std::string& path) override;
  Status Remove(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status Link(const std::string& from, const std::string& to) override;
  Status SyncDir(const std::string& path) override;
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override;

  const std::vector<std::string>& lines() const { return lines_; }
  std::string Text() const;  // lines, each with a line end
  // A line of the test's own between the operations.
  void Note(const std::string& text) { lines_.push_back("# " + text); }

 private:
  friend class TraceFile;
  std::string Relative(const std::string& path) const;
  void Add(const std::string& line, const Status& status);

  std::string root_;
  std::vector<std::string> lines_;
};

}  // namespace tallystick
