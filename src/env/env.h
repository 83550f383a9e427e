// Env: everything that the outside world decides (files, time, randomness, scheduling). The engine
// makes no operating system call but through it, so a test can put a whole engine on a simulated
// machine (testing/sim_fs.h, fault_fs.h, trace_fs.h, sim_env.h), cut the power after any operation
// and replay it.
//
// Thread rule: all methods may be called from any thread, except where a class says otherwise.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/coding.h"
#include "tallystick/status.h"

namespace tallystick {

enum class OpenMode : uint8_t {
  kRead,       // must exist
  kReadWrite,  // must exist
  kCreateNew,  // must not exist; read and write
};

struct OpenFlags {
  // O_DIRECT|O_DSYNC: offsets, sizes and addresses are multiples of kBlockBytes, and a write that
  // returns is durable (the file's size and blocks too, not its name). A file system that refuses
  // answers kInvalidArgument with reason "direct_refused".
  bool direct_dsync = false;
};

// An open file. Not thread-safe, except that ReadAt may run in several threads.
class File {
 public:
  virtual ~File() = default;  // closes

  // One pread: may give fewer bytes than asked for, 0 at the end of the file.
  virtual Result<size_t> ReadAt(uint64_t offset, std::span<std::byte> out) = 0;
  // A hint that these bytes will be read soon, so that many reads are in flight at once; returns at
  // once.
  virtual void Prefetch([[maybe_unused]] uint64_t offset, [[maybe_unused]] uint64_t bytes) {}
  // One pwrite: may write fewer bytes than asked for.
  virtual Result<size_t> WriteAt(uint64_t offset, ByteSpan data) = 0;
  // fdatasync. After an error nothing may be assumed about any byte written since the last success,
  // and it must not be called again on this file (the kernel may have dropped the pages).
  virtual Status Sync() = 0;
  virtual Result<uint64_t> Size() = 0;
  virtual Status Truncate(uint64_t bytes) = 0;
  virtual const std::string& path() const = 0;
};

// Held until destroyed.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

// Paths are as the caller wrote them, with '/'. Errors: kNotFound for a missing name, kNoSpace for
// ENOSPC and EDQUOT, kFailedPrecondition `exists` for a name that is there and must not be,
// kIoError for the rest; each message has the call, the path and the errno's text. EINTR is retried
// inside.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  virtual Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode,
                                             OpenFlags flags) = 0;
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) {
    return Open(path, mode, OpenFlags{});
  }
  virtual Status CreateDir(const std::string& path) = 0;  // ok if it is there already
  virtual Status Remove(const std::string& path) = 0;
  virtual Status Rename(const std::string& from, const std::string& to) = 0;  // replaces `to`
  // Another name for a file that is there: one content, removed with its last name. `to` must not
  // exist (kFailedPrecondition `exists`). Where that cannot be done between the two places (another
  // file system, or one without links): kInvalidArgument `link_refused`.
  virtual Status Link(const std::string& from, const std::string& to) = 0;
  virtual Status SyncDir(const std::string& path) = 0;
  // Names in the directory, in any order, without "." and "..".
  virtual Result<std::vector<std::string>> List(const std::string& path) = 0;
  virtual Result<bool> Exists(const std::string& path) = 0;
  // The absolute path of something that is there, without links, "." and "..".
  virtual Result<std::string> RealPath(const std::string& path) = 0;
  // How many bytes this process may still write where the directory is. Others write there too.
  virtual Result<uint64_t> FreeBytes(const std::string& directory) = 0;
  // flock on the file, created if need be. Held by another: kFailedPrecondition `locked`, the
  // message with the holder's process id as far as known. The file then holds this process's id.
  virtual Result<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
  // The same of another program's lock file, which must exist: nothing is written to it.
  virtual Result<std::unique_ptr<FileLock>> LockForeign(const std::string& path) {
    return Lock(path);
  }
};

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t WallMicros() = 0;       // since the epoch, UTC; may jump either way
  virtual int64_t MonotonicMicros() = 0;  // never goes back within one run
  // Only background work may sleep: see IoGovernor. Simulated time moves on at once.
  virtual void SleepMicros(int64_t micros) = 0;
};

class Random {
 public:
  virtual ~Random() = default;
  virtual uint64_t Next64() = 0;  // production: from the kernel
};

// What a step asks for when it returns.
struct StepResult {
  enum class Kind : uint8_t {
    kAgain,  // there is more to do now
    kWait,   // nothing to do until woken, or until `at_micros` (MonotonicMicros) if that is > 0
    kDone,   // never run again
  };
  Kind kind = Kind::kWait;
  int64_t at_micros = 0;

  static StepResult Again() { return {Kind::kAgain, 0}; }
  static StepResult Wait() { return {Kind::kWait, 0}; }
  static StepResult WaitUntil(int64_t micros) { return {Kind::kWait, micros}; }
  static StepResult Done() { return {Kind::kDone, 0}; }
};

// Runs components. A component is a step: a function that does one bounded piece of work. No
// component owns a thread or a loop; production gives each step a thread of its own, a test runs
// all steps of an engine in one thread in a seeded order.
class Executor {
 public:
  using TaskId = uint64_t;  // > 0
  // kLow: nobody waits for it. Threads of normal priority get ten times the processor time; it is
  // never starved by them (docs/adr/0010-background-threads-are-nice.md).
  enum class Priority : uint8_t { kNormal, kLow };

  virtual ~Executor() = default;
  // The step is called soon, never by two threads at once.
  virtual TaskId Add(std::string_view name, Priority priority,
                     std::function<StepResult()> step) = 0;
  // The task's step will be called at least once after this call began. Cheap; never blocks on a
  // step.
  virtual void Wake(TaskId task) = 0;
  // Returns when the step is not running and never will again. Not from within a step.
  virtual void Remove(TaskId task) = 0;
};

class Env {
 public:
  virtual ~Env() = default;
  virtual FileSystem& fs() = 0;
  virtual Clock& clock() = 0;
  virtual Random& random() = 0;
  virtual Executor& executor() = 0;

  // The real machine; lives for ever.
  static Env& Real();
};

// --- helpers over the seam (src/env/file_util.cc) ---

// Reads exactly out.size() bytes, or kCorruption "... is short" with path and offset.
Status ReadFully(File& file, uint64_t offset, std::span<std::byte> out);
// Continues short writes until all is written.
Status WriteFully(File& file, uint64_t offset, ByteSpan data);
// The whole file; kCorruption if it is larger than `bytes_max`.
Result<Bytes> ReadWholeFile(FileSystem& fs, const std::string& path, uint64_t bytes_max);
// The same into a buffer that is kept from file to file: fresh memory costs more than the reading.
Status ReadWholeFileInto(FileSystem& fs, const std::string& path, uint64_t bytes_max, Bytes* out);
// Writes `path`.tmp, syncs it, renames it to `path`, syncs `dir` (which holds it). On failure
// before the rename the temporary file is removed and *renamed is false; from the rename on,
// *renamed is true and on an error the outcome is unknown: either the old or the new content may be
// found later.
Status WriteFileAtomic(FileSystem& fs, const std::string& dir, const std::string& path,
                       ByteSpan content, bool* renamed);
// fs.SyncDir: makes the names in `dir` durable. All of the engine goes through here.
Status SyncDirectory(FileSystem& fs, const std::string& dir);
// "dir/name"
std::string JoinPath(std::string_view dir, std::string_view name);
// "a/b" -> "a", "a" -> ".", "/a" -> "/"
std::string ParentPath(std::string_view path);

// A page-aligned buffer, zeroed, for direct I/O.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes);
  std::span<std::byte> span() { return {data_.get(), bytes_}; }
  std::byte* data() { return data_.get(); }
  size_t size() const { return bytes_; }

 private:
  struct Free {
    void operator()(std::byte* p) const;
  };
  std::unique_ptr<std::byte[], Free> data_;
  size_t bytes_ = 0;
};

}  // namespace tallystick
