// The WAL reader on any bytes: a file header or not, then frames that are or are not. Nothing may
// be read outside the input, and what is accepted must be what the format says.
#include <cstdint>
#include <cstdlib>

#include "base/check.h"
#include "model/row.h"
#include "wal/wal_format.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  const ByteSpan file = std::as_bytes(std::span(data, size));
  const auto header = DecodeWalFileHeader(file);
  // Without a good header the frames are walked all the same, under whatever salt stands there.
  uint64_t salt = 1;
  if (header.ok()) {
    salt = header->salt;
  } else if (size >= 48) {
    salt = LoadFixed<uint64_t>(file.data() + 40);
  }
  const WalFileView view(file, salt);
  uint64_t at = 0;
  while (const auto found = view.FindFrame(at)) {
    const auto frame = view.FrameAt(*found);
    TALLY_CHECK(frame.has_value() && frame->bytes % kBlockBytes == 0 && frame->bytes > 0);
    TALLY_CHECK(frame->offset + frame->bytes <= size);
    Decoder decoder(frame->payload());
    RecordView record;
    RowView row;
    while (decoder.remaining() > 0 && DecodeRecord(decoder, &record)) {
      if (!DecodeCanonical(record.canonical, &row)) break;
    }
    at = frame->offset + frame->bytes;
  }
  return 0;
}
