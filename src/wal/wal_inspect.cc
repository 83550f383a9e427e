#include "wal/wal_inspect.h"

#include <fmt/format.h>

#include <iterator>

#include "base/result.h"
#include "model/row.h"
#include "wal/wal_reader.h"

namespace tallystick {
namespace {

struct FrameLine {
  FrameView frame;
  bool rows_good = true;
};

// Every record of a data frame must decode, and there must be as many as the header says.
bool RowsAreGood(const FrameView& frame) {
  Decoder decoder(frame.payload());
  for (uint32_t i = 0; i < frame.header.rows; ++i) {
    RecordView record;
    RowView row;
    if (!DecodeRecord(decoder, &record) || !DecodeCanonical(record.canonical, &row)) return false;
  }
  return decoder.remaining() == 0;
}

const char* TypeName(FrameType type) {
  switch (type) {
    case FrameType::kData:
      return "data";
    case FrameType::kMark:
      return "mark";
  }
  return "unknown";
}

void PrintText(const WalFileHeader& header, const std::vector<FrameLine>& frames, uint64_t end,
               std::string_view ending, std::string* out) {
  auto to = std::back_inserter(*out);
  fmt::format_to(to, "WAL file {} of database {}, format {}, salt {:016x}\n", header.number.value,
                 header.database_id.ToHex(), kWalFormatVersion, header.salt);
  fmt::format_to(to, "{:>10}  {:>8}  {:<7}  {:>10}  {:>6}  {:>9}  {}\n", "offset", "frame", "type",
                 "first_lsn", "rows", "payload", "commit_time_us");
  for (const auto& [frame, rows_good] : frames) {
    const FrameHeader& h = frame.header;
    fmt::format_to(to, "{:>10}  {:>8}  {:<7}  {:>10}  {:>6}  {:>9}  {}{}\n", frame.offset,
                   h.number.value, TypeName(h.type), h.first_lsn.value, h.rows, h.payload_bytes,
                   h.commit_time_us, rows_good ? "" : "  ROWS DAMAGED");
  }
  fmt::format_to(to, "{:>10}  {}\n", end, ending);
}

void PrintJson(const WalFileHeader& header, const std::vector<FrameLine>& frames, uint64_t end,
               std::string_view ending, std::string* out) {
  auto to = std::back_inserter(*out);
  fmt::format_to(to,
                 R"({{"database_id":"{}","end":{{"offset":{},"what":"{}"}},"format":{},"frames":[)",
                 header.database_id.ToHex(), end, ending, kWalFormatVersion);
  const char* separator = "";
  for (const auto& [frame, rows_good] : frames) {
    const FrameHeader& h = frame.header;
    fmt::format_to(to,
                   R"({}{{"commit_time_us":{},"first_lsn":{},"frame":{},"offset":{},)"
                   R"("payload_bytes":{},"rows":{},"rows_good":{},"type":"{}"}})",
                   separator, h.commit_time_us, h.first_lsn.value, h.number.value, frame.offset,
                   h.payload_bytes, h.rows, rows_good, TypeName(h.type));
    separator = ",";
  }
  fmt::format_to(to,
                 R"(],"number":{},"salt":"{:016x}"}})"
                 "\n",
                 header.number.value, header.salt);
}

}  // namespace

Status InspectWal(FileSystem& fs, const std::string& path, bool json, std::string* out) {
  TALLY_ASSIGN_OR_RETURN(const Bytes bytes, ReadWholeFile(fs, path, kWalFileBytesMax));
  auto header = DecodeWalFileHeader(bytes);
  if (!header.ok()) return header.status().WithContext(path + " at offset 0");
  const WalFileView view(bytes, header->salt);

  std::vector<FrameLine> frames;
  uint64_t at = kWalHeaderBytes;
  Status status;
  for (auto frame = view.FrameAt(at); frame.has_value(); frame = view.FrameAt(at)) {
    FrameLine& line = frames.emplace_back(FrameLine{*frame});
    line.rows_good = IsKnownFrame(frame->header) && RowsAreGood(*frame);
    const bool in_order =
        frames.size() < 2 ||
        frame->header.number.value == frames[frames.size() - 2].frame.header.number.value + 1;
    if ((!line.rows_good || !in_order) && status.ok()) {
      status = Status::Corruption(fmt::format(
          "{} at offset {}: {}", path, at,
          in_order ? "the frame's rows do not decode" : "the frame's number is not the next one"));
    }
    at += frame->bytes;
  }
  const TailVerdict verdict =
      ClassifyTail({.salt = view.SaltAt(at), .valid_behind = view.FindFrame(at).has_value()});
  if (IsCorruption(verdict) && status.ok()) {
    status =
        Status::Corruption(fmt::format("{} at offset {}: {}", path, at, TailVerdictText(verdict)));
  }
  (json ? PrintJson : PrintText)(*header, frames, at, TailVerdictText(verdict), out);
  return status;
}

}  // namespace tallystick
