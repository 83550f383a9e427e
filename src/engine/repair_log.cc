// The log, as far as it can be read. With a manifest a log that a start would accept is taken as it
// stands. Else every valid frame counts that fits into the history:
//
//   by a manifest    frames of listed files, from its first frame to the files' ends; of other
//                    files only rows that segments had, to fill what those lost
//   without one      frames of all files. The same frame may stand in two: recovery copies the last
//                    one to a new file. The file with the higher number is the later one; and since
//                    the log only ever moves on to higher numbers, a frame in a lower-numbered file
//                    than the frame before it was superseded. Only a number that a header says
//                    counts for that: a file is recycled under a new name, and where its header
//                    does not verify, the frames may be those of its life before. Rows of
//                    superseded frames that nothing else has are lost, and said to be.
#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "engine/repair_facts.h"
#include "env/number_name.h"
#include "model/row.h"
#include "wal/wal_format.h"
#include "wal/wal_writer.h"

namespace tallystick {
namespace {

// Whether the frame has as many rows as it says, all of which decode.
bool RowsDecode(const FrameView& frame) {
  Decoder decoder(frame.payload());
  for (uint32_t i = 0; i < frame.header.rows; ++i) {
    RecordView record;
    RowView row;
    if (!DecodeRecord(decoder, &record) || !DecodeCanonical(record.canonical, &row)) return false;
  }
  return decoder.ok() && decoder.remaining() == 0;
}

class LogInspector {
 public:
  LogInspector(FileSystem& fs, const Layout& layout, RepairFacts* facts)
      : fs_(fs), layout_(layout), facts_(*facts) {}

  Status Run(const std::set<uint64_t>& candidates);

 private:
  const ListedWalFile* Listed(FileNumber number) const;
  bool Judge();
  Status ReadFile(uint64_t number);
  bool ReadBytes(const std::string& path);
  bool ReadSalt(FoundLog* log);
  Status TakeFrames(const WalFileView& view);
  bool Belongs(const FoundFrame& frame) const;
  void Choose();
  void NoteDropped(const FoundFrame& frame);
  bool HasPlace(const FoundLog& log) const;
  void NoteMissing(const std::set<uint64_t>& numbers);
  FileNumber LastFile() const;
  void ReportHoles();
  void ReportLogEnd();
  void AddDamage(std::string_view code, const std::string& path, const std::string& what) {
    if (damage_ == Damage::kNone || (damage_ == Damage::kUnreadable && code != "unreadable"))
      return;
    facts_.findings.push_back(FindingOf(code, path, what));
  }
  void Count();

  FileSystem& fs_;
  const Layout& layout_;
  RepairFacts& facts_;
  // What is damage in the file at hand: nothing, where a start would not read it; where a start
  // takes the log as it is, only that it cannot be read a second time.
  enum class Damage : uint8_t { kNone, kUnreadable, kAny };
  Damage damage_ = Damage::kAny;
  Status planned_;  // what a start says of the log
  Bytes bytes_;
  // Numbers of files that may have had frames of which nothing can be read.
  std::vector<uint64_t> unusable_;
};

const ListedWalFile* LogInspector::Listed(FileNumber number) const {
  if (!facts_.manifest.has_value()) return nullptr;
  const auto& files = facts_.manifest->wal_files;
  const auto entry = std::ranges::find(files, number, &ListedWalFile::number);
  return entry == files.end() ? nullptr : &*entry;
}

// Whether a start would take the log as it is.
bool LogInspector::Judge() {
  const Manifest& manifest = *facts_.manifest;
  WalPosition start;
  start.next_frame = manifest.first_frame;
  start.next_lsn = {manifest.flushed_lsn.value + 1};
  const auto plan =
      PlanWal(fs_, layout_.wal_dir, facts_.identity.database_id, manifest.wal_files, start);
  planned_ = plan.status();
  if (!plan.ok()) return false;
  facts_.last_lsn = std::max(facts_.last_lsn, Lsn{plan->end.next_lsn.value - 1});
  facts_.next_frame = std::max(facts_.next_frame, plan->end.next_frame);
  if (!plan->torn_file.has_value()) return true;
  const WalFilePlan& torn = plan->files[*plan->torn_file];
  const std::string path = JoinPath(layout_.wal_dir, WalFileName(torn.listed.number));
  facts_.findings.push_back(
      FindingOf("log_hole", path,
                fmt::format("{} at offset {}: a torn write, never acknowledged, is dropped", path,
                            torn.end_offset)));
  facts_.findings.back().kind = RepairFinding::Kind::kNote;
  return true;
}

// Block by block; what cannot be read counts as zeros. Of a file that is longer than any log file,
// as much as one may have.
bool LogInspector::ReadBytes(const std::string& path) {
  auto file = fs_.Open(path, OpenMode::kRead);
  Result<uint64_t> size = file.ok() ? (*file)->Size() : file.status();
  if (!size.ok()) {
    AddDamage(size.status().code() == StatusCode::kNotFound ? "log_file_missing" : "unreadable",
              path, size.status().message());
    return false;
  }
  if (*size > kWalFileBytesMax) {
    AddDamage("unreadable", path,
              fmt::format("{} at offset {}: larger than any log file; the rest is not read", path,
                          kWalFileBytesMax));
    *size = kWalFileBytesMax;
  }
  bytes_.assign(*size, std::byte{0});
  for (uint64_t at = 0; at < *size; at += kBlockBytes) {
    const auto block = std::span(bytes_).subspan(at, std::min(kBlockBytes, *size - at));
    const Status read = ReadFully(**file, at, block);
    if (read.ok()) continue;
    std::ranges::fill(block, std::byte{0});
    AddDamage("unreadable", path, fmt::format("{} at offset {}: {}", path, at, read.message()));
  }
  return true;
}

// By the header; without one, what the first valid frame says. False: there is none.
bool LogInspector::ReadSalt(FoundLog* log) {
  const std::string& path = log->path;
  const ByteSpan block = ByteSpan(bytes_).first(std::min<size_t>(bytes_.size(), kWalHeaderBytes));
  const auto header = DecodeWalFileHeader(block);
  if (header.ok()) {
    if (header->database_id != facts_.identity.database_id) {
      AddDamage("log_header", path,
                fmt::format("{} at offset 0: the file belongs to database {}", path,
                            header->database_id.ToHex()));
      return false;
    }
    if (header->number != log->number) {
      AddDamage("log_header", path,
                fmt::format("{} at offset 0: the file says that its number is {}", path,
                            header->number.value));
      log->number = header->number;
    }
    log->header_good = true;
    log->salt = header->salt;
    return true;
  }
  AddDamage("log_header", path, fmt::format("{} at offset 0: {}", path, header.status().message()));
  for (uint64_t at = kWalHeaderBytes; at + kBlockBytes <= bytes_.size(); at += kBlockBytes) {
    log->salt = LoadFixed<uint64_t>(bytes_.data() + at + 8);
    if (log->salt != 0 && WalFileView(bytes_, log->salt).FrameAt(at).has_value()) return true;
  }
  return false;
}

Status LogInspector::TakeFrames(const WalFileView& view) {
  const FoundLog& log = facts_.logs.back();
  for (uint64_t at = kWalHeaderBytes; at < view.bytes();) {
    const auto frame = view.FrameAt(at);
    if (!frame.has_value()) {
      at += kBlockBytes;
      continue;
    }
    const FrameHeader& header = frame->header;
    if (!IsKnownFrame(header)) {
      return Status::FailedPrecondition(
          "written_by_newer_version",
          fmt::format("{} at offset {}: a frame of a kind that this version does not know",
                      log.path, at));
    }
    const bool fits = header.number.value != 0 && header.first_lsn.value != 0 &&
                      header.number.value < UINT64_MAX / 2 &&
                      header.first_lsn.value < UINT64_MAX / 2;
    const FoundFrame found{.log = facts_.logs.size() - 1,
                           .offset = at,
                           .bytes = frame->bytes,
                           .number = header.number,
                           .first_lsn = header.first_lsn,
                           .rows = header.rows,
                           .commit_time_us = header.commit_time_us};
    if (fits && RowsDecode(*frame) && Belongs(found)) facts_.frames.push_back(found);
    at += frame->bytes;
  }
  return Status::Ok();
}

bool LogInspector::Belongs(const FoundFrame& frame) const {
  if (!facts_.manifest.has_value()) return true;
  const Lsn flushed = facts_.manifest->flushed_lsn;
  const ListedWalFile* listed = Listed(facts_.logs[frame.log].number);
  if (listed == nullptr) return frame.rows > 0 && frame.range().last <= flushed;
  return frame.first_lsn > flushed && frame.number >= facts_.manifest->first_frame &&
         (!listed->end.has_value() || frame.number <= *listed->end);
}

Status LogInspector::ReadFile(uint64_t number) {
  FoundLog log{.path = JoinPath(layout_.wal_dir, WalFileName({number})), .number = {number}};
  damage_ = facts_.log_good ? Damage::kUnreadable : Damage::kAny;
  if (facts_.manifest.has_value() && Listed({number}) == nullptr) damage_ = Damage::kNone;
  const size_t frames = facts_.frames.size();
  TALLY_RETURN_IF_ERROR(CheckThatItOpens(fs_, log.path));
  if (!ReadBytes(log.path) || !ReadSalt(&log)) {
    unusable_.push_back(number);
    return Status::Ok();
  }
  facts_.logs.push_back(log);
  const WalFileView view(bytes_, log.salt);
  TALLY_RETURN_IF_ERROR(TakeFrames(view));
  const bool found = facts_.frames.size() > frames;
  // Without a header the salt may be that of frames of the file's life before, and tell nothing.
  if (!found && (!log.header_good || view.SaltAt(kWalHeaderBytes))) unusable_.push_back(number);
  // What begins behind damage may be left from the file's life before, and its new frames gone.
  const bool old = !HasPlace(log) && !view.FrameAt(kWalHeaderBytes).has_value();
  if (found && old) unusable_.push_back(number);
  return Status::Ok();
}

// Whether it is known where in the log the file belongs.
bool LogInspector::HasPlace(const FoundLog& log) const {
  return facts_.manifest.has_value() || log.header_good;
}

// Without a manifest no log may mean that all of it was flushed, or that all of it is lost. So may
// a file that is gone: it is harmless only if a later one has frames.
void LogInspector::NoteMissing(const std::set<uint64_t>& numbers) {
  if (numbers.empty()) facts_.more_lost = true;
  for (const FileNumber file : facts_.older_logs) {
    if (!numbers.contains(file.value)) unusable_.push_back(file.value);
  }
}

// Without a manifest there is nothing but the frame itself that says that its rows were there.
void LogInspector::NoteDropped(const FoundFrame& frame) {
  if (facts_.manifest.has_value()) return;
  facts_.next_frame = std::max(facts_.next_frame, FrameNumber{frame.number.value + 1});
  if (frame.rows > 0) facts_.last_lsn = std::max(facts_.last_lsn, frame.range().last);
}

void LogInspector::Choose() {
  std::vector<FoundFrame>& frames = facts_.frames;
  const auto file_of = [this](const FoundFrame& frame) { return facts_.logs[frame.log].number; };
  std::ranges::sort(frames, [&](const FoundFrame& a, const FoundFrame& b) {
    return std::pair(a.number, file_of(b)) < std::pair(b.number, file_of(a));
  });
  std::vector<FoundFrame> chosen;
  Lsn next{1};
  FileNumber file;
  for (const FoundFrame& frame : frames) {
    if (!chosen.empty() && frame.number == chosen.back().number) continue;
    const bool placed = HasPlace(facts_.logs[frame.log]);
    const bool superseded = !facts_.manifest.has_value() && placed && file_of(frame) < file;
    if (frame.first_lsn < next || superseded) {
      NoteDropped(frame);
      continue;
    }
    next = {frame.first_lsn.value + frame.rows};
    if (placed) file = file_of(frame);
    chosen.push_back(frame);
  }
  frames = std::move(chosen);
}

// Between frames of the log that are there: those that are not.
void LogInspector::ReportHoles() {
  const Manifest& manifest = *facts_.manifest;
  FrameNumber due = manifest.first_frame;
  Lsn next{manifest.flushed_lsn.value + 1};
  std::string path = layout_.wal_dir;
  uint64_t offset = kWalHeaderBytes;
  if (!manifest.wal_files.empty()) {
    path = JoinPath(layout_.wal_dir, WalFileName(manifest.wal_files.front().number));
  }
  const auto report = [&](FrameNumber last, const std::string& rows) {
    AddDamage("log_hole", path,
              fmt::format("{} at offset {}: frames {} to {} cannot be read: {}", path, offset,
                          due.value, last.value, rows));
  };
  for (const FoundFrame& frame : facts_.frames) {
    if (frame.first_lsn <= manifest.flushed_lsn) continue;
    if (frame.number != due) {
      report({frame.number.value - 1},
             frame.first_lsn == next
                 ? "no rows were in them"
                 : fmt::format("the rows {} to {}", next.value, frame.first_lsn.value - 1));
    }
    due = {frame.number.value + 1};
    next = {frame.first_lsn.value + frame.rows};
    path = facts_.logs[frame.log].path;
    offset = frame.offset + frame.bytes;
  }
  FrameNumber end{0};
  for (const ListedWalFile& file : manifest.wal_files) end = file.end.value_or(end);
  if (end >= due) {
    report(end, "nothing says how many rows were in them");
    facts_.more_lost = true;
  }
}

// The last file with frames of which it is known where it belongs.
FileNumber LogInspector::LastFile() const {
  for (auto frame = facts_.frames.rbegin(); frame != facts_.frames.rend(); ++frame) {
    const FoundLog& log = facts_.logs[frame->log];
    if (HasPlace(log)) return log.number;
  }
  return FileNumber{0};
}

// What may have stood behind the last frame.
void LogInspector::ReportLogEnd() {
  const FileNumber last = LastFile();
  for (const uint64_t number : unusable_) {
    if (number > last.value) facts_.more_lost = true;
  }
  if (facts_.frames.empty()) return;
  const FoundFrame& frame = facts_.frames.back();
  const FoundLog& log = facts_.logs[frame.log];
  damage_ = Damage::kNone;
  if (!ReadBytes(log.path)) return;
  const uint64_t end = frame.offset + frame.bytes;
  if (!WalFileView(bytes_, log.salt).SaltAt(end)) return;
  facts_.more_lost = true;
  facts_.findings.push_back(FindingOf(
      "log_hole", log.path,
      fmt::format(
          "{} at offset {}: a frame that does not verify, the last one: a torn write, never "
          "acknowledged, or damage",
          log.path, end)));
  facts_.findings.back().kind = RepairFinding::Kind::kNote;
}

void LogInspector::Count() {
  for (const FoundFrame& frame : facts_.frames) {
    facts_.next_frame = std::max(facts_.next_frame, FrameNumber{frame.number.value + 1});
    facts_.last_lsn = std::max(facts_.last_lsn, Lsn{frame.first_lsn.value + frame.rows - 1});
    facts_.last_commit_time_us = std::max(facts_.last_commit_time_us, frame.commit_time_us);
  }
  std::erase_if(facts_.frames, [](const FoundFrame& frame) { return frame.rows == 0; });
}

Status LogInspector::Run(const std::set<uint64_t>& candidates) {
  facts_.log_good = facts_.manifest.has_value() && Judge();
  std::set<uint64_t> numbers = candidates;
  if (facts_.manifest.has_value()) {
    for (const ListedWalFile& file : facts_.manifest->wal_files) numbers.insert(file.number.value);
  }
  const size_t findings = facts_.findings.size();
  for (const uint64_t number : numbers) TALLY_RETURN_IF_ERROR(ReadFile(number));
  if (!facts_.manifest.has_value()) NoteMissing(numbers);
  Choose();
  damage_ = Damage::kAny;
  if (facts_.manifest.has_value()) {
    if (!facts_.log_good) ReportHoles();
    if (!facts_.log_good && facts_.findings.size() == findings) {
      facts_.findings.push_back(FindingOf("log_hole", layout_.wal_dir, planned_));
    }
  }
  if (!facts_.log_good) ReportLogEnd();
  Count();
  return Status::Ok();
}

}  // namespace

Status InspectLog(FileSystem& fs, const Layout& layout, const std::set<uint64_t>& candidates,
                  RepairFacts* facts) {
  return LogInspector(fs, layout, facts).Run(candidates);
}

}  // namespace tallystick
