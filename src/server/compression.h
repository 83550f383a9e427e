// Compressed request bodies: gzip and zstd, with a bounded expansion.
//
// Thread rule: pure functions.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "server/body_buffer.h"
#include "tallystick/status.h"

namespace tallystick {

enum class BodyEncoding : uint8_t { kIdentity, kGzip, kZstd };

// The value of a Content-Encoding header (empty: kIdentity), in any case. kInvalidArgument
// `unsupported_encoding`.
Result<BodyEncoding> ParseBodyEncoding(std::string_view header);

// Expands all of `input` to the end of `output` (several gzip members or zstd frames one after
// another are one body). Memory: at most `expanded_bytes_max` and a window of 8 MiB. Errors,
// kInvalidArgument:
//   body_too_large    more than expanded_bytes_max
//   invalid_encoding  not what the encoding says: garbage, cut short, a wrong checksum
Status Expand(BodyEncoding encoding, std::string_view input, uint64_t expanded_bytes_max,
              BodyBuffer& output);

}  // namespace tallystick
