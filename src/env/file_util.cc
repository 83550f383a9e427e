#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"
#include "env/env.h"

namespace tallystick {

Status ReadFully(File& file, uint64_t offset, std::span<std::byte> out) {
  size_t done = 0;
  while (done < out.size()) {
    TALLY_ASSIGN_OR_RETURN(const size_t got, file.ReadAt(offset + done, out.subspan(done)));
    if (got == 0) {
      return Status::Corruption(file.path() + " is short: it ends at offset " +
                                std::to_string(offset + done) + ", " +
                                std::to_string(out.size() - done) + " more bytes were expected");
    }
    done += got;
  }
  return Status::Ok();
}

Status WriteFully(File& file, uint64_t offset, ByteSpan data) {
  while (!data.empty()) {
    TALLY_ASSIGN_OR_RETURN(const size_t written, file.WriteAt(offset, data));
    if (TALLY_MUTANT("short_write_ignored")) return Status::Ok();
    if (written == 0) return Status::IoError("write " + file.path() + ": nothing was written");
    offset += written;
    data = data.subspan(written);
  }
  return Status::Ok();
}

Status ReadWholeFileInto(FileSystem& fs, const std::string& path, uint64_t bytes_max, Bytes* out) {
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kRead));
  TALLY_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size > bytes_max) {
    return Status::Corruption(path + ": " + std::to_string(size) +
                              " bytes are more than any such file has (" +
                              std::to_string(bytes_max) + ")");
  }
  out->resize(size);
  return ReadFully(*file, 0, *out);
}

Result<Bytes> ReadWholeFile(FileSystem& fs, const std::string& path, uint64_t bytes_max) {
  Bytes bytes;
  TALLY_RETURN_IF_ERROR(ReadWholeFileInto(fs, path, bytes_max, &bytes));
  return bytes;
}

Status SyncDirectory(FileSystem& fs, const std::string& dir) {
  if (TALLY_MUTANT("dir_sync_dropped")) return Status::Ok();
  return fs.SyncDir(dir);
}

namespace {

Status WriteTemporary(FileSystem& fs, const std::string& path, ByteSpan content) {
  Status removed = fs.Remove(path);  // what a crash left behind
  if (!removed.ok() && removed.code() != StatusCode::kNotFound) return removed;
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kCreateNew));
  TALLY_RETURN_IF_ERROR(WriteFully(*file, 0, content));
  return file->Sync();
}

}  // namespace

Status WriteFileAtomic(FileSystem& fs, const std::string& dir, const std::string& path,
                       ByteSpan content, bool* renamed) {
  *renamed = false;
  const std::string temporary = path + ".tmp";
  Status status = WriteTemporary(fs, temporary, content);
  if (!status.ok()) {
    IgnoreError(fs.Remove(temporary), "a temporary file is an orphan, removed at the next start");
    return status;
  }
  *renamed = true;  // even a rename that fails may be found done later
  TALLY_RETURN_IF_ERROR(fs.Rename(temporary, path));
  return SyncDirectory(fs, dir);
}

std::string JoinPath(std::string_view dir, std::string_view name) {
  std::string path(dir);
  if (!path.empty() && path.back() != '/') path += '/';
  return path.append(name);
}

std::string ParentPath(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(path.substr(0, std::max<size_t>(slash, 1)));
}

AlignedBuffer::AlignedBuffer(size_t bytes) : bytes_(bytes) {
  const size_t rounded = std::max<size_t>((bytes + 4095) / 4096 * 4096, 4096);
  data_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, rounded)));
  TALLY_CHECK(data_ != nullptr);
  std::memset(data_.get(), 0, rounded);
}

void AlignedBuffer::Free::operator()(std::byte* p) const { std::free(p); }

}  // namespace tallystick
