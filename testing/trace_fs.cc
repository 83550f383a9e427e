#include "testing/trace_fs.h"

namespace tallystick {

class TraceFile final : public PassThroughFile {
 public:
  TraceFile(TraceFs& fs, std::unique_ptr<File> inner)
      : PassThroughFile(std::move(inner)), fs_(fs) {}

  Result<size_t> WriteAt(uint64_t offset, ByteSpan data) override {
    auto written = PassThroughFile::WriteAt(offset, data);
    fs_.Add("write " + fs_.Relative(path()) + " " + std::to_string(offset) + "+" +
                std::to_string(data.size()),
            written.status());
    return written;
  }
  Status Sync() override {
    Status status = PassThroughFile::Sync();
    fs_.Add("sync " + fs_.Relative(path()), status);
    return status;
  }
  Status Truncate(uint64_t bytes) override {
    Status status = PassThroughFile::Truncate(bytes);
    fs_.Add("truncate " + fs_.Relative(path()) + " " + std::to_string(bytes), status);
    return status;
  }

 private:
  TraceFs& fs_;
};

std::string TraceFs::Relative(const std::string& path) const {
  if (path == root_) return ".";
  if (path == ParentPath(root_)) return "..";
  if (path.starts_with(root_ + "/")) return path.substr(root_.size() + 1);
  return path;
}

void TraceFs::Add(const std::string& line, const Status& status) {
  lines_.push_back(status.ok() ? line : line + " !" + std::string(status.reason()));
}

std::string TraceFs::Text() const {
  std::string text;
  for (const std::string& line : lines_) text += line + "\n";
  return text;
}

Result<std::unique_ptr<File>> TraceFs::Open(const std::string& path, OpenMode mode,
                                            OpenFlags flags) {
  auto file = PassThroughFs::Open(path, mode, flags);
  if (mode == OpenMode::kCreateNew) {
    Add("create " + Relative(path) + (flags.direct_dsync ? " direct" : ""), file.status());
  } else if (flags.direct_dsync && mode != OpenMode::kRead) {
    Add("open " + Relative(path) + " direct", file.status());  // its writes need no sync
  }
  if (!file.ok()) return file.status();
  return std::make_unique<TraceFile>(*this, std::move(file).value());
}

Status TraceFs::CreateDir(const std::string& path) {
  Status status = PassThroughFs::CreateDir(path);
  Add("mkdir " + Relative(path), status);
  return status;
}

Status TraceFs::Remove(const std::string& path) {
  Status status = PassThroughFs::Remove(path);
  // Nothing was there: nothing changed.
  if (status.code() != StatusCode::kNotFound) Add("remove " + Relative(path), status);
  return status;
}

Status TraceFs::Rename(const std::string& from, const std::string& to) {
  Status status = PassThroughFs::Rename(from, to);
  Add("rename " + Relative(from) + " " + Relative(to), status);
  return status;
}

Status TraceFs::Link(const std::string& from, const std::string& to) {
  Status status = PassThroughFs::Link(from, to);
  Add("link " + Relative(from) + " " + Relative(to), status);
  return status;
}

Status TraceFs::SyncDir(const std::string& path) {
  Status status = PassThroughFs::SyncDir(path);
  Add("syncdir " + Relative(path), status);
  return status;
}

Result<std::unique_ptr<FileLock>> TraceFs::Lock(const std::string& path) {
  auto lock = PassThroughFs::Lock(path);
  Add("lock " + Relative(path), lock.status());
  return lock;
}

}  // namespace tallystick
