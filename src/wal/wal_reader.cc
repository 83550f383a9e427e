#include "wal/wal_reader.h"

#include <algorithm>

#include "base/check.h"
#include "base/result.h"
#include "wal/wal_writer.h"

namespace tallystick {
namespace {

std::string At(const std::string& path, uint64_t offset) {
  return path + " at offset " + std::to_string(offset);
}

bool IsNext(const FrameHeader& header, const WalPosition& position) {
  return header.number == position.next_frame && header.first_lsn == position.next_lsn &&
         header.commit_time_us > position.commit_time_after_us;
}

WalPosition After(const FrameHeader& header) {
  return {{header.number.value + 1}, {header.first_lsn.value + header.rows}, header.commit_time_us};
}

// Reads a listed file into `bytes`, and gives its salt.
Result<uint64_t> Load(FileSystem& fs, const std::string& path, const DatabaseId& database_id,
                      FileNumber number, Bytes* bytes) {
  const Status read = ReadWholeFileInto(fs, path, kWalFileBytesMax, bytes);
  if (read.code() == StatusCode::kNotFound) {
    return Status::Corruption(path + ": the manifest lists this file, and it is absent");
  }
  TALLY_RETURN_IF_ERROR(read);
  auto header = DecodeWalFileHeader(*bytes);
  if (!header.ok()) return header.status().WithContext(At(path, 0));
  if (header->database_id != database_id) {
    return Status::Corruption(At(path, 32 - 16) + ": the file belongs to database " +
                              header->database_id.ToHex());
  }
  if (header->number != number) {
    return Status::Corruption(At(path, 32) + ": the file says that its number is " +
                              std::to_string(header->number.value));
  }
  return header->salt;
}

// One pass over the listed files. The run of good frames goes from file to file; where it stops in
// an open file, the later files are evidence.
class Planner {
 public:
  Planner(FileSystem& fs, const std::string& dir, const DatabaseId& database_id,
          std::span<const ListedWalFile> list)
      : fs_(fs), dir_(dir), database_id_(database_id), list_(list) {}

  Result<WalPlan> Run(const WalPosition& start) {
    plan_.end = start;
    for (size_t i = 0; i < list_.size(); ++i) TALLY_RETURN_IF_ERROR(ReadFile(i));
    return std::move(plan_);
  }

 private:
  std::string Path(size_t index) const { return JoinPath(dir_, WalFileName(list_[index].number)); }

  Status ReadFile(size_t index) {
    TALLY_ASSIGN_OR_RETURN(const uint64_t salt,
                           Load(fs_, Path(index), database_id_, list_[index].number, &file_bytes_));
    const WalFileView view(file_bytes_, salt);
    WalFilePlan& out = plan_.files.emplace_back();
    out.listed = list_[index];
    out.salt = salt;
    TakeFrames(view, index, out);

    TALLY_ASSIGN_OR_RETURN(const TailEvidence evidence, Evidence(view, index, out));
    out.verdict = ClassifyTail(evidence);
    if (IsCorruption(out.verdict)) {
      return Status::Corruption(At(Path(index), out.end_offset) + " (frame " +
                                std::to_string(plan_.end.next_frame.value) +
                                " was due): " + std::string(TailVerdictText(out.verdict)));
    }
    if (out.verdict == TailVerdict::kTornTail) KeepTorn(file_bytes_, index, out.end_offset);
    return Status::Ok();
  }

  bool EndReached(const WalFilePlan& file) const {
    return file.listed.end.has_value() && plan_.end.next_frame > *file.listed.end;
  }

  void TakeFrames(const WalFileView& view, size_t index, WalFilePlan& out) {
    while (!EndReached(out)) {
      const auto frame = view.FrameAt(out.end_offset);
      if (!frame.has_value() || !IsKnownFrame(frame->header) || !IsNext(frame->header, plan_.end)) {
        return;
      }
      if (out.frames == 0) out.first_frame = frame->header.number;
      ++out.frames;
      out.rows += frame->header.rows;
      out.last_frame = frame->header.number;
      out.last_frame_offset = frame->offset;
      out.end_offset += frame->bytes;
      plan_.end = After(frame->header);
      plan_.last_frame_file = index;
      last_ = *frame;
    }
  }

  Result<TailEvidence> Evidence(const WalFileView& view, size_t index, const WalFilePlan& out) {
    // The bytes of the last frame outlive the file's buffer.
    if (out.frames > 0) plan_.last_frame.assign(last_->whole.begin(), last_->whole.end());
    TailEvidence evidence;
    evidence.end_listed = out.listed.end.has_value();
    evidence.end_reached = EndReached(out);
    if (evidence.end_listed) return evidence;
    evidence.valid_frame = view.FrameAt(out.end_offset).has_value();
    evidence.salt = view.SaltAt(out.end_offset);
    evidence.valid_behind = view.FindFrame(out.end_offset + kBlockBytes).has_value();
    TALLY_ASSIGN_OR_RETURN(evidence.later, Later(index));
    return evidence;
  }

  Result<LaterFiles> Later(size_t index) {
    for (size_t i = index + 1; i < list_.size(); ++i) {
      TALLY_ASSIGN_OR_RETURN(const uint64_t salt,
                             Load(fs_, Path(i), database_id_, list_[i].number, &later_bytes_));
      const WalFileView view(later_bytes_, salt);
      const auto first = view.FrameAt(kWalHeaderBytes);
      if (first.has_value()) {
        return IsNext(first->header, plan_.end) ? LaterFiles::kContinue : LaterFiles::kBreak;
      }
      if (view.FindFrame(kWalHeaderBytes).has_value()) return LaterFiles::kBreak;
    }
    return LaterFiles::kNoFrames;
  }

  void KeepTorn(const Bytes& file, size_t index, uint64_t offset) {
    plan_.torn_file = index;
    const size_t end = std::min<uint64_t>(file.size(), offset + kTornCopyBytesMax);
    size_t used = end;
    while (used > offset && file[used - 1] == std::byte{0}) --used;
    plan_.torn_bytes.assign(file.begin() + static_cast<ptrdiff_t>(offset),
                            file.begin() + static_cast<ptrdiff_t>(used));
  }

  FileSystem& fs_;
  const std::string& dir_;
  const DatabaseId& database_id_;
  std::span<const ListedWalFile> list_;
  WalPlan plan_;
  Bytes file_bytes_;               // of the file being read
  Bytes later_bytes_;              // of a file behind it that is looked at as evidence
  std::optional<FrameView> last_;  // into the buffer of the file being read
};

}  // namespace

Result<WalPlan> PlanWal(FileSystem& fs, const std::string& dir, const DatabaseId& database_id,
                        std::span<const ListedWalFile> list, const WalPosition& start) {
  return Planner(fs, dir, database_id, list).Run(start);
}

Status ReplayWalFile(FileSystem& fs, const std::string& dir, const WalFilePlan& plan,
                     Bytes* scratch, const std::function<Status(const FrameView&)>& frame) {
  if (plan.frames == 0) return Status::Ok();
  const std::string path = JoinPath(dir, WalFileName(plan.listed.number));
  TALLY_RETURN_IF_ERROR(ReadWholeFileInto(fs, path, kWalFileBytesMax, scratch));
  const WalFileView view(*scratch, plan.salt);
  uint64_t offset = kWalHeaderBytes;
  for (uint64_t i = 0; i < plan.frames; ++i) {
    const auto found = view.FrameAt(offset);
    if (!found.has_value() || found->header.number.value != plan.first_frame.value + i) {
      return Status::Corruption(At(path, offset) +
                                ": a frame that was good when planned is not now");
    }
    Status status = frame(*found);
    if (!status.ok()) return status.WithContext(At(path, offset));
    offset += found->bytes;
  }
  return Status::Ok();
}

}  // namespace tallystick
