#include "segment/block_writer.h"

#include <zstd.h>

#include <string>

#include "base/check.h"
#include "base/mutant.h"
#include "base/result.h"

namespace tallystick {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;
constexpr int kZstdLevel = 1;

}  // namespace

struct BlockWriter::Compressor {
  ZSTD_CCtx* context = ZSTD_createCCtx();
  ~Compressor() { ZSTD_freeCCtx(context); }

  // Appends the packed payload; false, with nothing appended, where that is not worth it.
  bool Append(ByteSpan payload, Bytes& out) const {
    const size_t begin = out.size();
    out.resize(begin + ZSTD_compressBound(payload.size()));
    const size_t bytes = ZSTD_compressCCtx(context, out.data() + begin, out.size() - begin,
                                           payload.data(), payload.size(), kZstdLevel);
    const bool better =
        !ZSTD_isError(bytes) && bytes < payload.size() && payload.size() <= bytes * kZstdRatioMax;
    out.resize(begin + (better ? bytes : 0));
    return better;
  }
};

BlockWriter::BlockWriter(std::unique_ptr<File> file, uint64_t seed, IoGovernor* governor)
    : file_(std::move(file)),
      seed_(seed),
      governor_(governor),
      compressor_(std::make_unique<Compressor>()) {
  TALLY_CHECK(compressor_->context != nullptr);
  buffer_.reserve(2 * kBufferBytes);
}

BlockWriter::~BlockWriter() = default;

Status BlockWriter::Append(ByteSpan payload, Packing packing, BlockRef* ref) {
  if (payload.size() > kBlockPayloadBytesMax) {
    return Status::InvalidArgument(
        "segment_block_too_large",
        file_->path() + ": a block of " + std::to_string(payload.size()) + " bytes is too large");
  }
  ref->offset = offset();
  const size_t begin = buffer_.size();
  auto codec = BlockCodec::kZstd;
  if (packing == Packing::kNone || !compressor_->Append(payload, buffer_)) {
    codec = BlockCodec::kRaw;
    AppendPlain(payload);
  }
  content_checksum_ =
      ChainChecksum(content_checksum_, SealBlock(seed_, ref->offset, codec, begin, buffer_));
  ref->bytes = static_cast<uint32_t>(buffer_.size() - begin);
  if (buffer_.size() < kBufferBytes) return Status::Ok();
  TALLY_RETURN_IF_ERROR(WriteGoverned(*file_, written_, buffer_, governor_));
  written_ += buffer_.size();
  buffer_.clear();
  if (written_ - synced_ < kSyncBytes) return Status::Ok();
  synced_ = written_;
  return file_->Sync();
}

Status BlockWriter::Finish() {
  TALLY_RETURN_IF_ERROR(WriteGoverned(*file_, written_, buffer_, governor_));
  return TALLY_MUTANT("segment_sync_skipped") ? Status::Ok() : file_->Sync();
}

}  // namespace tallystick
