#include "server/compression.h"

#include <algorithm>

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include "base/text.h"
#include "base/utf8.h"

namespace tallystick {
namespace {

constexpr size_t kFirstCapacity = 256 << 10;
constexpr int kZstdWindowLogMax = 23;  // 8 MiB: what a decoder must accept (RFC 8878, 3.1.1.1.2)
constexpr int kGzipOnly = 15 + 16;     // zlib's windowBits for a gzip header

Status TooLarge(uint64_t bytes_max) {
  return Status::InvalidArgument("body_too_large",
                                 fmt::format("the body expands to more than {} bytes", bytes_max));
}

Status Invalid(std::string_view encoding, std::string_view why) {
  return Status::InvalidArgument("invalid_encoding",
                                 fmt::format("the body is no valid {}: {}", encoding, why));
}

// Room for more output. One byte beyond the bound is allowed for, so that "exactly the bound" and
// "more" can be told apart.
Status Grow(uint64_t bytes_max, BodyBuffer& output) {
  if (output.size() > bytes_max) return TooLarge(bytes_max);
  if (output.room() > 0) return Status::Ok();
  const uint64_t wanted = std::max<uint64_t>(kFirstCapacity, uint64_t{output.capacity()} * 2);
  output.Reserve(std::min(wanted, bytes_max + 1));
  return Status::Ok();
}

Status ExpandGzip(std::string_view input, uint64_t bytes_max, BodyBuffer& output) {
  z_stream stream{};
  if (inflateInit2(&stream, kGzipOnly) != Z_OK) return Status::IoError("zlib has no memory");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> owner(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
  stream.avail_in = static_cast<uInt>(input.size());
  for (;;) {
    if (Status status = Grow(bytes_max, output); !status.ok()) return status;
    const size_t room = output.room();
    stream.next_out = reinterpret_cast<Bytef*>(output.end());
    stream.avail_out = static_cast<uInt>(room);
    const int result = inflate(&stream, Z_NO_FLUSH);
    output.Commit(room - stream.avail_out);
    if (output.size() > bytes_max) return TooLarge(bytes_max);
    if (result == Z_STREAM_END) {
      if (stream.avail_in == 0) return Status::Ok();
      if (inflateReset(&stream) != Z_OK) return Invalid("gzip", "no further member");
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      return Invalid("gzip", stream.msg == nullptr ? "damaged" : stream.msg);
    } else if (stream.avail_in == 0 && stream.avail_out > 0) {
      return Invalid("gzip", "cut short");
    }
  }
}

Status ExpandZstd(std::string_view input, uint64_t bytes_max, BodyBuffer& output) {
  const std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                   ZSTD_freeDCtx);
  if (context == nullptr) return Status::IoError("zstd has no memory");
  if (ZSTD_isError(ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kZstdWindowLogMax))) {
    return Invalid("zstd", "window");
  }
  ZSTD_inBuffer in{input.data(), input.size(), 0};
  for (;;) {
    if (Status status = Grow(bytes_max, output); !status.ok()) return status;
    ZSTD_outBuffer out{output.end(), output.room(), 0};
    const size_t result = ZSTD_decompressStream(context.get(), &out, &in);
    output.Commit(out.pos);
    if (output.size() > bytes_max) return TooLarge(bytes_max);
    if (ZSTD_isError(result)) return Invalid("zstd", ZSTD_getErrorName(result));
    if (in.pos < in.size) continue;
    if (result == 0) return Status::Ok();
    if (out.pos < out.size) return Invalid("zstd", "cut short");
  }
}

}  // namespace

Result<BodyEncoding> ParseBodyEncoding(std::string_view header) {
  if (header.empty() || EqualsIgnoringCase(header, "identity")) return BodyEncoding::kIdentity;
  if (EqualsIgnoringCase(header, "gzip") || EqualsIgnoringCase(header, "x-gzip")) {
    return BodyEncoding::kGzip;
  }
  if (EqualsIgnoringCase(header, "zstd")) return BodyEncoding::kZstd;
  return Status::InvalidArgument("unsupported_encoding",
                                 fmt::format("content-encoding `{}`", Shown(header)));
}

Status Expand(BodyEncoding encoding, std::string_view input, uint64_t expanded_bytes_max,
              BodyBuffer& output) {
  switch (encoding) {
    case BodyEncoding::kGzip:
      if (input.empty()) return Invalid("gzip", "empty");
      return ExpandGzip(input, expanded_bytes_max, output);
    case BodyEncoding::kZstd:
      if (input.empty()) return Invalid("zstd", "empty");
      return ExpandZstd(input, expanded_bytes_max, output);
    case BodyEncoding::kIdentity:
      break;
  }
  return Status::InvalidArgument("unsupported_encoding", "nothing to expand");
}

}  // namespace tallystick
