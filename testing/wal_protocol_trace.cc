// The model's order of steps, held against the operations that the real engine made. The lines do
// not say what was written, so a manifest is taken to list every file that was whole when its
// writing began: what can be checked is the order, and the order is what durability is about.
//
// Of a flush: a log file with frames goes only when a manifest is durable that was begun after the
// file's last frame, while every segment file of this process was whole (rows, size and name).
#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "testing/wal_protocol.h"

namespace tallystick {
namespace {

struct Name {
  std::string dir;  // "wal", "manifest", "" for the root
  std::string base;
  std::optional<uint64_t> number;  // of the whole base name
};

Name ParseName(const std::string& path) {
  Name name;
  const size_t slash = path.rfind('/');
  name.dir = slash == std::string::npos ? "" : path.substr(0, slash);
  name.base = slash == std::string::npos ? path : path.substr(slash + 1);
  uint64_t number = 0;
  const char* end = name.base.data() + name.base.size();
  const auto [stopped, error] = std::from_chars(name.base.data(), end, number);
  if (error == std::errc() && stopped == end) name.number = number;
  return name;
}

// A log file that this process made.
struct LogFile {
  bool direct = false;  // a write that returned is durable
  bool header = false;  // its block 0 was written
  bool dirty = false;   // written and not synced
  bool name_durable = false;
  bool listed = false;       // in a durable manifest
  uint64_t end = 0;          // where the next append must go; 0: none yet
  uint64_t appended_at = 0;  // the step of its last append; 0: none yet

  bool Whole() const { return header && !dirty && name_durable; }
};

// A segment's rows or keys that this process made under their own name.
struct SegmentFile {
  bool dirty = true;
  bool name_durable = false;
};

struct Temporary {
  bool written = false;
  bool dirty = false;
};

class TraceChecker {
 public:
  // The broken rule; empty: the line is a step of the model.
  std::string Take(const std::string& line) {
    ++step_;
    std::istringstream in(line);
    std::string verb, first, second;
    in >> verb >> first >> second;
    if (line.find(" !") != std::string::npos) return "";  // it failed, and had no effect
    if (verb == "create") return Create(first, second == "direct");
    if (verb == "open") return OpenDirect(first);
    if (verb == "write") return Write(first, second);
    if (verb == "sync") return Sync(first);
    if (verb == "rename") return Rename(first, second);
    if (verb == "syncdir") return SyncDir(first);
    if (verb == "remove") return Remove(first);
    if (verb == "truncate") return Truncate(first);
    return "";  // reads, locks, folders
  }

 private:
  static bool IsLog(const Name& name) { return name.dir == "wal" && name.number.has_value(); }
  static bool IsManifest(const Name& name) {
    return name.dir == "manifest" && name.number.has_value();
  }

  std::string UseNumber(const Name& name) {
    if (*name.number <= highest_number_) return "a file number is used again";
    highest_number_ = *name.number;
    return "";
  }

  std::string Create(const std::string& path, bool direct) {
    if (path.ends_with(".tmp")) {
      temporaries_[path] = {};
      if (path.starts_with("manifest/")) return BeginManifest();
    }
    const Name name = ParseName(path);
    if (name.dir == "segments" && !path.ends_with(".tmp")) segments_[path] = {};
    if (!IsLog(name)) return "";
    logs_[path] = LogFile{.direct = direct};
    return UseNumber(name);
  }

  std::string OpenDirect(const std::string& path) {
    const auto log = logs_.find(path);
    if (log == logs_.end() || log->second.listed) return "a log file in use is opened for writing";
    log->second.direct = true;
    return "";
  }

  std::string BeginManifest() {
    manifest_began_at_ = step_;
    quiet_ = std::ranges::all_of(segments_, [](const auto& entry) {
      return !entry.second.dirty && entry.second.name_durable;
    });
    whole_at_manifest_.clear();
    for (const auto& [path, file] : logs_) {
      if (!file.listed && !file.Whole())
        return "a manifest is written while a log file is half prepared";
      whole_at_manifest_.push_back(path);
    }
    return "";
  }

  // `range` is "offset+bytes".
  std::string Write(const std::string& path, const std::string& range) {
    if (auto temporary = temporaries_.find(path); temporary != temporaries_.end()) {
      temporary->second = {.written = true, .dirty = true};
      return "";
    }
    const Name name = ParseName(path);
    if (name.dir == "segments") {
      const auto segment = segments_.find(path);
      if (segment == segments_.end()) return "a segment is written that this process did not make";
      if (!segment->second.dirty) return "a segment is written after its sync";
      return "";
    }
    if (IsManifest(name)) return "a manifest is written in place";
    if (!IsLog(name)) return "";
    auto found = logs_.find(path);
    if (found == logs_.end()) return "a log file that this process did not prepare is written";
    LogFile& file = found->second;
    uint64_t offset = 0, bytes = 0;
    char plus = 0;
    std::istringstream in(range);
    if (!(in >> offset >> plus >> bytes) || plus != '+') return "the line does not parse";
    if (file.listed) return Append(path, file, offset, bytes);
    if (manifest_renamed_)
      return "a log file is written while a manifest that may list it is not durable";
    file.header = file.header || offset == 0;
    file.dirty = !file.direct;
    return "";
  }

  std::string Append(const std::string& path, LogFile& file, uint64_t offset, uint64_t bytes) {
    if (offset == 0) return "the header of a listed log file is written";
    if (path < active_) return "a frame goes to a log file that was left before";
    if (path > active_ && !active_.empty() && logs_[active_].dirty) {
      return "the log rolls over before the last frame is synced";
    }
    if (file.dirty) return "a frame is written before the one before it is synced";
    if (file.end != 0 && offset < file.end) return "a synced block is written again";
    if (file.end != 0 && offset > file.end) return "a frame leaves a gap behind the one before it";
    active_ = path;
    file.appended_at = step_;
    file.end = offset + bytes;
    file.dirty = !file.direct;
    return "";
  }

  std::string Sync(const std::string& path) {
    if (auto temporary = temporaries_.find(path); temporary != temporaries_.end()) {
      temporary->second.dirty = false;
    }
    if (auto log = logs_.find(path); log != logs_.end()) log->second.dirty = false;
    if (auto segment = segments_.find(path); segment != segments_.end()) {
      segment->second.dirty = false;
    }
    return "";
  }

  std::string SyncDir(const std::string& path) {
    if (path == "wal") {
      for (auto& [name, file] : logs_) file.name_durable = true;
    }
    if (path == "segments") {
      for (auto& [name, segment] : segments_) segment.name_durable = true;
    }
    if (path == "manifest" && manifest_renamed_) {
      manifest_renamed_ = false;
      manifest_durable_ = true;
      if (quiet_) quiet_manifest_began_at_ = manifest_began_at_;
      for (const std::string& name : whole_at_manifest_) {
        if (auto file = logs_.find(name); file != logs_.end()) file->second.listed = true;
      }
    }
    return "";
  }

  std::string Rename(const std::string& from, const std::string& to) {
    if (auto temporary = temporaries_.find(from); temporary != temporaries_.end()) {
      if (!temporary->second.written) return "an empty file is renamed into place";
      if (temporary->second.dirty) return "a file is renamed into place before it is synced";
      temporaries_.erase(temporary);
    }
    const Name target = ParseName(to);
    if (IsManifest(target)) {
      if (manifest_renamed_)
        return "a manifest is written while the outcome of the last one is unknown";
      manifest_renamed_ = true;
      return UseNumber(target);
    }
    if (!IsLog(target)) return "";
    if (auto why = MayGo(from); !why.empty()) return why;
    logs_.erase(from);
    logs_[to] = LogFile{};
    return UseNumber(target);
  }

  // Whether nothing durable, or possibly durable, still needs the file.
  std::string MayGo(const std::string& path) {
    const auto log = logs_.find(path);
    if (log != logs_.end() && !log->second.listed) return "";
    if (manifest_renamed_) return "a log file goes while the outcome of a manifest is unknown";
    if (!manifest_durable_) return "a log file goes before this process's manifest is durable";
    if (log != logs_.end() && log->second.appended_at > quiet_manifest_began_at_) {
      return "a log file goes before a manifest that can do without its last frame";
    }
    return "";
  }

  std::string Remove(const std::string& path) {
    temporaries_.erase(path);
    segments_.erase(path);
    const Name name = ParseName(path);
    if (IsManifest(name) && !manifest_durable_)
      return "a manifest goes before its successor is durable";
    if (IsManifest(name) && manifest_renamed_)
      return "a manifest goes while a later one is not durable";
    if (!IsLog(name)) return "";
    if (auto why = MayGo(path); !why.empty()) return why;
    logs_.erase(path);
    return "";
  }

  std::string Truncate(const std::string& path) {
    return IsLog(ParseName(path)) ? MayGo(path) : "";
  }

  std::map<std::string, LogFile> logs_;
  std::map<std::string, Temporary> temporaries_;
  std::map<std::string, SegmentFile> segments_;
  std::vector<std::string> whole_at_manifest_;
  std::string active_;
  uint64_t highest_number_ = 0;
  uint64_t step_ = 0;
  uint64_t manifest_began_at_ = 0;
  bool quiet_ = false;                    // no segment file was half done when it began
  uint64_t quiet_manifest_began_at_ = 0;  // of the newest durable one of that kind
  bool manifest_renamed_ = false;
  bool manifest_durable_ = false;
};

}  // namespace

bool TraceIsPathOfModel(const std::vector<std::string>& trace_lines, std::string* why) {
  TraceChecker checker;
  for (size_t i = 0; i < trace_lines.size(); ++i) {
    const std::string broken = checker.Take(trace_lines[i]);
    if (broken.empty()) continue;
    *why = "line " + std::to_string(i + 1) + ": " + trace_lines[i] + ": " + broken;
    return false;
  }
  return true;
}

}  // namespace tallystick
