#include "engine/replay.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/result.h"
#include "model/identity.h"
#include "model/row.h"

namespace tallystick {
namespace {

class Replayer {
 public:
  Replayer(const RecoveryPlan& plan, const OpenOptions& options) : plan_(plan), options_(options) {}

  Status Frame(const FrameView& frame) {
    ++result_.frames;
    if (frame.header.type == FrameType::kMark) return Status::Ok();
    const bool last = frame.header.number.value + 1 == plan_.wal.end.next_frame.value;
    Memtable& memtable = last ? *result_.active : *result_.sealed.back();
    TALLY_RETURN_IF_ERROR(InsertKeys(frame, memtable));
    if (!memtable.AppendFrame(frame.header.first_lsn, frame.header.commit_time_us, frame.payload(),
                              frame.header.rows)) {
      return Status::Corruption("the frame's rows do not decode");
    }
    result_.rows += frame.header.rows;
    return Status::Ok();
  }

  ReplayResult& result() { return result_; }

  void MakeActive() {
    Memtable::Capacity capacity = MemtableCapacity(options_, FirstFileBytes(options_));
    // The log may have been written with larger options than today's.
    capacity.record_bytes = std::max<uint64_t>(capacity.record_bytes, plan_.wal.last_frame.size());
    capacity.rows = std::max<uint32_t>(capacity.rows, LastFrameRows() + 1);
    result_.active = std::make_shared<Memtable>(capacity);
  }

  // A memtable holds whole files, so that its flush covers whole files. Small ones share one.
  void StartFile(const WalFilePlan& file) {
    const bool last_frame_only =
        file.frames == 1 && file.last_frame.value + 1 == plan_.wal.end.next_frame.value;
    if (last_frame_only) return;
    auto& sealed = result_.sealed;
    const uint64_t bytes = file.end_offset - kWalHeaderBytes;
    if (!sealed.empty() && sealed.back()->Fits(bytes, file.rows) &&
        sealed.back()->FitsFrames(file.frames)) {
      return;
    }
    Memtable::Capacity capacity = MemtableCapacity(options_, options_.wal_file_bytes);
    // The log may have been written with larger options than today's.
    capacity.record_bytes = std::max(capacity.record_bytes, bytes);
    capacity.rows = std::max(capacity.rows, static_cast<uint32_t>(file.rows));
    capacity.frames = std::max(capacity.frames, static_cast<uint32_t>(file.frames));
    sealed.push_back(std::make_shared<Memtable>(capacity));
  }

 private:
  uint32_t LastFrameRows() const {
    if (plan_.wal.last_frame.empty()) return 0;
    return LoadFixed<uint32_t>(plan_.wal.last_frame.data() + 44);
  }

  // Hashes all rows first, so that the table's cache misses overlap.
  Status InsertKeys(const FrameView& frame, Memtable& memtable) {
    keys_.clear();
    Decoder decoder(frame.payload());
    for (uint32_t i = 0; i < frame.header.rows; ++i) {
      RecordView record;
      RowView row;
      if (!DecodeRecord(decoder, &record) || !DecodeCanonical(record.canonical, &row)) {
        return Status::Corruption(fmt::format("row {} of the frame does not decode", i));
      }
      keys_.push_back(KeyOfRow(plan_.identity.scope, row, record.disposition, record.canonical));
      memtable.keys().Prefetch(keys_.back().key);
    }
    Lsn lsn = frame.header.first_lsn;
    for (const RowKey& key : keys_) {
      if (memtable.keys().Find(key.key).has_value()) {
        return Status::Corruption(fmt::format("LSN {} repeats a key of the log", lsn.value));
      }
      memtable.keys().Insert(key.key, key.payload_hash, lsn);
      ++lsn.value;
    }
    return Status::Ok();
  }

  const RecoveryPlan& plan_;
  const OpenOptions& options_;
  ReplayResult result_;
  std::vector<RowKey> keys_;
};

}  // namespace

Memtable::Capacity MemtableCapacity(const OpenOptions& options, uint64_t file_bytes) {
  Memtable::Capacity capacity;
  capacity.record_bytes = file_bytes - kWalHeaderBytes;
  // A smaller file has its part of the rows, and a batch always fits.
  const auto share = static_cast<double>(file_bytes) / static_cast<double>(options.wal_file_bytes);
  const auto rows = std::max<uint64_t>(static_cast<uint64_t>(options.memtable_rows_max * share),
                                       options.batch_events_max);
  // Small files get small tables.
  capacity.rows =
      static_cast<uint32_t>(std::min<uint64_t>(rows, capacity.record_bytes / kRecordBytesMin + 1));
  capacity.frames = static_cast<uint32_t>(capacity.record_bytes / kBlockBytes + 1);
  return capacity;
}

uint64_t FirstFileBytes(const OpenOptions& options) {
  return std::min(options.wal_file_bytes,
                  kWalHeaderBytes + FrameBytes(options.batch_bytes_max) + kBlockBytes);
}

Result<ReplayResult> ReplayLog(FileSystem& fs, const Layout& layout, const RecoveryPlan& plan,
                               const OpenOptions& options,
                               const std::function<void(uint64_t, uint64_t)>& progress) {
  uint64_t rows_in_all = 0;
  for (const WalFilePlan& file : plan.wal.files) rows_in_all += file.rows;
  Replayer replayer(plan, options);
  replayer.MakeActive();
  Bytes scratch;
  for (const WalFilePlan& file : plan.wal.files) {
    if (file.frames == 0) continue;
    replayer.StartFile(file);
    TALLY_RETURN_IF_ERROR(
        ReplayWalFile(fs, layout.wal_dir, file, &scratch,
                      [&](const FrameView& frame) { return replayer.Frame(frame); }));
    if (progress) progress(replayer.result().rows, rows_in_all);
  }
  return std::move(replayer.result());
}

}  // namespace tallystick
