// PassThroughFs: a file system in front of another one, which does all the work. A double overrides
// what it is about.
//
// Thread rule: that of the inner one.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "env/env.h"

namespace tallystick {

class PassThroughFile : public File {
 public:
  explicit PassThroughFile(std::unique_ptr<File> inner) : inner_(std::move(inner)) {}

  Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) override {
    return inner_->ReadAt(offset, out);
  }
  Result<size_t> WriteAt(uint64_t offset, ByteSpan data) override {
    return inner_->WriteAt(offset, data);
  }
  Status Sync() override { return inner_->Sync(); }
  Result<uint64_t> Size() override { return inner_->Size(); }
  Status Truncate(uint64_t bytes) override { return inner_->Truncate(bytes); }
  const std::string& path() const override { return inner_->path(); }

 private:
  const std::unique_ptr<File> inner_;
};

class PassThroughFs : public FileSystem {
 public:
  explicit PassThroughFs(FileSystem& inner) : inner_(inner) {}

  using FileSystem::Open;
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode,
                                     OpenFlags flags) override {
    return inner_.Open(path, mode, flags);
  }
  Status CreateDir(const std::string& path) override { return inner_.CreateDir(path); }
  Status Remove(const std::string& path) override { return inner_.Remove(path); }
  Status Rename(const std::string& from, const std::string& to) override {
    return inner_.Rename(from, to);
  }
  Status Link(const std::string& from, const std::string& to) override {
    return inner_.Link(from, to);
  }
  Status SyncDir(const std::string& path) override { return inner_.SyncDir(path); }
  Result<std::vector<std::string>> List(const std::string& path) override {
    return inner_.List(path);
  }
  Result<bool> Exists(const std::string& path) override { return inner_.Exists(path); }
  Result<std::string> RealPath(const std::string& path) override { return inner_.RealPath(path); }
  Result<uint64_t> FreeBytes(const std::string& directory) override {
    return inner_.FreeBytes(directory);
  }
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    return inner_.Lock(path);
  }

 protected:
  FileSystem& inner() { return inner_; }

 private:
  FileSystem& inner_;
};

}  // namespace tallystick
