// Invariants:
//   1. Every column has exactly as many values as the header says rows, and every byte of its
//   payload
//      is part of one. Codes of dictionaries are below the dictionary's size.
//   2. What is allocated is bounded by bytes that are there: the columns unpack to
//      kUnpackedBytesMax at most, each is known and there once, and only values that the payload
//      holds are counted. Runs are expanded up to the row count, which event_id's payload has
//      proved.
#include "usagedb/segment.h"

#include <fmt/format.h>
#include <simdjson.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <limits>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/mutant.h"
#include "base/result.h"
#include "usagedb/bincode.h"
#include "usagedb/event_hash.h"

namespace tallystick::usagedb {
namespace {

constexpr size_t kFooterBytes = sizeof(uint64_t) + sizeof kSegmentEndMagic;
constexpr uint8_t kCodecNone = 0;
constexpr uint8_t kCodecZstd = 1;
constexpr uint8_t kCodecLz4 = 2;
constexpr int kZstdLevel = 3;
constexpr size_t kVarintBytesMax = 19;  // of 128 bits

enum Column : size_t {
  kEventId,
  kKind,
  kCorrectionRef,
  kAccountId,
  kSubscriptionId,
  kProductId,
  kMeterId,
  kTimestampMs,
  kQuantity,
  kUnit,
  kSource,
  kModelId,
  kDimensions,
  kIngestedAtMs,
  kColumns,
};
constexpr std::array<std::string_view, kColumns> kColumnNames = {
    "event_id",   "kind",     "correction_ref", "account_id",    "subscription_id",
    "product_id", "meter_id", "timestamp_ms",   "quantity",      "unit",
    "source",     "model_id", "dimensions",     "ingested_at_ms"};

bool HasMagic(ByteSpan at, const char (&magic)[8]) {
  return at.size() >= sizeof magic && std::memcmp(at.data(), magic, sizeof magic) == 0;
}

bool IsAscii(std::string_view text) {
  constexpr uint64_t kHighBits = 0x8080808080808080;
  uint64_t bits = 0;
  size_t at = 0;
  for (; at + sizeof bits <= text.size(); at += sizeof bits) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + at, sizeof word);
    bits |= word;
  }
  for (; at < text.size(); ++at) bits |= static_cast<uint8_t>(text[at]);
  return (bits & kHighBits) == 0;
}

// Most texts are short and ASCII: they are not worth the call.
bool IsUtf8Text(std::string_view text) {
  return IsAscii(text) || simdjson::validate_utf8(text.data(), text.size());
}

// --- codecs ---

struct FreeStream {
  void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
};
using Stream = std::unique_ptr<ZSTD_DStream, FreeStream>;

// The frame does not say how much it holds, so it is unpacked piece by piece. `stream` is kept from
// one column to the next: it has megabytes of its own.
Status UnpackZstd(ZSTD_DStream* stream, ByteSpan packed, uint64_t bytes_max, Bytes* out) {
  ZSTD_initDStream(stream);
  ZSTD_inBuffer in{packed.data(), packed.size(), 0};
  size_t filled = 0;
  size_t left = 1;  // of the frame; 0 at its end
  out->resize(std::min<uint64_t>(uint64_t{packed.size()} * 4, bytes_max) + 1);
  while (true) {
    if (filled == out->size())
      out->resize(std::min<uint64_t>(uint64_t{out->size()} * 2, bytes_max + 1));
    ZSTD_outBuffer piece{out->data() + filled, out->size() - filled, 0};
    left = ZSTD_decompressStream(stream, &piece, &in);
    if (ZSTD_isError(left)) {
      return Status::Corruption(fmt::format("does not unpack: {}", ZSTD_getErrorName(left)));
    }
    filled += piece.pos;
    if (filled > bytes_max) {
      return Status::Corruption(fmt::format("unpacks to more than {} bytes", bytes_max));
    }
    if (left == 0) break;
    if (in.pos == in.size && piece.pos < piece.size) {
      return Status::Corruption("does not unpack: its end is missing");
    }
  }
  if (in.pos != in.size) return Status::Corruption("has bytes behind its end");
  out->resize(filled);
  return Status::Ok();
}

struct FreeContext {
  void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
};

Bytes PackZstd(ByteSpan data) {
  const std::unique_ptr<ZSTD_CCtx, FreeContext> context(ZSTD_createCCtx());
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_compressionLevel, kZstdLevel);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
  Bytes out(ZSTD_compressBound(data.size()));
  out.resize(ZSTD_compress2(context.get(), out.data(), out.size(), data.data(), data.size()));
  return out;
}

// --- 128-bit numbers ---

void PutZigzag(Bytes& out, int128 value) {
  uint128 rest = (static_cast<uint128>(value) << 1) ^ static_cast<uint128>(value >> 127);
  while (rest >= 0x80) {
    out.push_back(static_cast<std::byte>((rest & 0x7f) | 0x80));
    rest >>= 7;
  }
  out.push_back(static_cast<std::byte>(rest));
}

bool TakeZigzag(BincodeReader& reader, int128* value) {
  uint128 bits = 0;
  for (size_t i = 0; i < kVarintBytesMax; ++i) {
    const auto byte = reader.Fixed<uint8_t>();
    if (!reader.ok() || (i + 1 == kVarintBytesMax && byte > 3)) return false;
    bits |= static_cast<uint128>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) {
      *value = static_cast<int128>(bits >> 1) ^ -static_cast<int128>(bits & 1);
      return true;
    }
  }
  return false;
}

// --- columns ---

Status ColumnFault(std::string_view name, std::string_view what) {
  return Status::Corruption(fmt::format("column {}: {}", name, what));
}

Status EncodingFault(const ColumnPayload& column) {
  return ColumnFault(column.name, fmt::format("encoding {} is not one of its kind",
                                              static_cast<int>(column.encoding)));
}

Status BytesFault(const ColumnPayload& column) {
  return ColumnFault(column.name, "its values and its bytes do not agree");
}

// To be asked before values are kept: they are as many as rows.
Status CheckCount(const ColumnPayload& column, const BincodeReader& reader, uint64_t values,
                  uint32_t rows) {
  if (!reader.ok()) return BytesFault(column);
  if (values != rows) {
    return ColumnFault(column.name, fmt::format("{} values for {} rows", values, rows));
  }
  return Status::Ok();
}

// Nothing is cut and nothing is left over.
Status Finish(const ColumnPayload& column, const BincodeReader& reader) {
  return reader.done() ? Status::Ok() : BytesFault(column);
}

template <typename T>
Status DecodeFixed(const ColumnPayload& column, uint32_t rows, std::vector<T>* out) {
  BincodeReader reader(column.data);
  const uint64_t count = reader.Count(sizeof(T));
  TALLY_RETURN_IF_ERROR(CheckCount(column, reader, count, rows));
  const ByteSpan values = reader.Raw(count * sizeof(T));
  TALLY_RETURN_IF_ERROR(Finish(column, reader));
  out->resize(count);
  if (count > 0) std::memcpy(out->data(), values.data(), values.size());
  return Status::Ok();
}

Status DecodeTimes(const ColumnPayload& column, uint32_t rows, std::vector<int64_t>* out) {
  if (column.encoding != ColumnEncoding::kDelta && column.encoding != ColumnEncoding::kPlain) {
    return EncodingFault(column);
  }
  TALLY_RETURN_IF_ERROR(DecodeFixed(column, rows, out));
  if (column.encoding == ColumnEncoding::kPlain) return Status::Ok();
  uint64_t sum = 0;  // wraps, as it was written
  for (int64_t& value : *out) {
    sum += static_cast<uint64_t>(value);
    value = static_cast<int64_t>(sum);
  }
  return Status::Ok();
}

Status DecodeQuantities(const ColumnPayload& column, uint32_t rows, std::vector<int128>* out) {
  if (column.encoding == ColumnEncoding::kPlain) return DecodeFixed(column, rows, out);
  if (column.encoding != ColumnEncoding::kZigzag) return EncodingFault(column);
  BincodeReader reader(column.data);
  const auto count = reader.Fixed<uint32_t>();
  TALLY_RETURN_IF_ERROR(CheckCount(column, reader, count, rows));
  out->resize(count);
  for (int128& value : *out) {
    if (!TakeZigzag(reader, &value)) return ColumnFault(column.name, "a number is cut or too long");
  }
  return Finish(column, reader);
}

Status DecodeKinds(const ColumnPayload& column, uint32_t rows, std::vector<uint8_t>* out) {
  if (column.encoding == ColumnEncoding::kPlain) {
    TALLY_RETURN_IF_ERROR(DecodeFixed(column, rows, out));
  } else if (column.encoding == ColumnEncoding::kRle) {
    BincodeReader reader(column.data);
    const uint64_t runs = reader.Count(sizeof(uint8_t) + sizeof(uint32_t));
    for (uint64_t i = 0; i < runs; ++i) {
      const auto kind = reader.Fixed<uint8_t>();
      const auto run = reader.Fixed<uint32_t>();
      if (run > rows - out->size()) return ColumnFault(column.name, "more values than rows");
      out->insert(out->end(), run, kind);
    }
    TALLY_RETURN_IF_ERROR(CheckCount(column, reader, out->size(), rows));
    TALLY_RETURN_IF_ERROR(Finish(column, reader));
  } else {
    return EncodingFault(column);
  }
  for (const uint8_t kind : *out) {
    if (kind > static_cast<uint8_t>(EventKind::kRetraction)) {
      return ColumnFault(column.name, fmt::format("kind {} is not known", kind));
    }
  }
  return Status::Ok();
}

Status TakeText(const ColumnPayload& column, BincodeReader& reader, std::string_view* out) {
  *out = reader.Text();
  if (!reader.ok()) return ColumnFault(column.name, "a text is cut");
  if (!IsUtf8Text(*out)) return ColumnFault(column.name, "a text is no UTF-8");
  return Status::Ok();
}

Status DecodeDimensionMaps(const ColumnPayload& column, uint32_t rows, std::vector<uint32_t>* ends,
                           std::vector<Dimension>* out) {
  if (column.encoding != ColumnEncoding::kPlain) return EncodingFault(column);
  BincodeReader reader(column.data);
  const uint64_t count = reader.Count(sizeof(uint64_t));
  TALLY_RETURN_IF_ERROR(CheckCount(column, reader, count, rows));
  ends->reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t pairs = reader.Count(2 * sizeof(uint64_t));
    for (uint64_t j = 0; j < pairs; ++j) {
      Dimension dimension;
      TALLY_RETURN_IF_ERROR(TakeText(column, reader, &dimension.key));
      TALLY_RETURN_IF_ERROR(TakeText(column, reader, &dimension.value));
      if (j > 0 && dimension.key <= out->back().key) {
        return ColumnFault(column.name, fmt::format("row {}: keys do not ascend", i));
      }
      out->push_back(dimension);
    }
    if (out->size() > std::numeric_limits<uint32_t>::max()) {
      return ColumnFault(column.name, "more than 2^32 dimensions");
    }
    ends->push_back(static_cast<uint32_t>(out->size()));
  }
  return Finish(column, reader);
}

Status DecodeCorrectionRefs(const ColumnPayload& column, uint32_t rows,
                            std::vector<std::optional<CorrectionRefView>>* out) {
  if (column.encoding != ColumnEncoding::kPlain) return EncodingFault(column);
  BincodeReader reader(column.data);
  const uint64_t count = reader.Count(1);
  TALLY_RETURN_IF_ERROR(CheckCount(column, reader, count, rows));
  out->reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    std::optional<CorrectionRefView>& ref = out->emplace_back();
    if (!reader.Option()) continue;
    ref.emplace();
    TALLY_RETURN_IF_ERROR(TakeText(column, reader, &ref->original_event_id));
    TALLY_RETURN_IF_ERROR(TakeText(column, reader, &ref->reason));
  }
  return Finish(column, reader);
}

Status TakeTexts(const ColumnPayload& column, BincodeReader& reader,
                 std::vector<std::string_view>* out) {
  const uint64_t count = reader.Count(sizeof(uint64_t));
  out->resize(count);
  for (std::string_view& text : *out) TALLY_RETURN_IF_ERROR(TakeText(column, reader, &text));
  return Status::Ok();
}

Status CodeFault(const ColumnPayload& column, uint32_t code, size_t values) {
  return ColumnFault(column.name, fmt::format("code {} of a dictionary of {}", code, values));
}

}  // namespace

// Reads columns into rows.
class SegmentDecoder {
 public:
  static Result<SegmentRows> Decode(std::vector<ColumnPayload> payloads, uint32_t row_count) {
    SegmentRows rows;
    rows.rows_ = row_count;
    rows.payloads_ = std::move(payloads);
    std::array<const ColumnPayload*, kColumns> columns{};
    Arrange(rows.payloads_, &columns);
    // First the one that cannot claim rows without bytes for them.
    TALLY_RETURN_IF_ERROR(DecodeTexts(*columns[kEventId], row_count, &rows.event_id_));
    TALLY_RETURN_IF_ERROR(DecodeTexts(*columns[kAccountId], row_count, &rows.account_id_));
    TALLY_RETURN_IF_ERROR(DecodeTexts(*columns[kProductId], row_count, &rows.product_id_));
    TALLY_RETURN_IF_ERROR(DecodeTexts(*columns[kMeterId], row_count, &rows.meter_id_));
    TALLY_RETURN_IF_ERROR(DecodeTexts(*columns[kUnit], row_count, &rows.unit_));
    TALLY_RETURN_IF_ERROR(DecodeTexts(*columns[kSource], row_count, &rows.source_));
    TALLY_RETURN_IF_ERROR(
        DecodeOptionalTexts(*columns[kSubscriptionId], row_count, &rows.subscription_id_));
    TALLY_RETURN_IF_ERROR(DecodeOptionalTexts(*columns[kModelId], row_count, &rows.model_id_));
    TALLY_RETURN_IF_ERROR(DecodeKinds(*columns[kKind], row_count, &rows.kinds_));
    TALLY_RETURN_IF_ERROR(DecodeTimes(*columns[kTimestampMs], row_count, &rows.timestamps_));
    TALLY_RETURN_IF_ERROR(DecodeTimes(*columns[kIngestedAtMs], row_count, &rows.ingested_at_));
    TALLY_RETURN_IF_ERROR(DecodeQuantities(*columns[kQuantity], row_count, &rows.quantities_));
    TALLY_RETURN_IF_ERROR(
        DecodeCorrectionRefs(*columns[kCorrectionRef], row_count, &rows.correction_refs_));
    TALLY_RETURN_IF_ERROR(DecodeDimensionMaps(*columns[kDimensions], row_count,
                                              &rows.dimension_ends_, &rows.dimensions_));
    return rows;
  }

 private:
  using Texts = SegmentRows::Texts;

  // Each is there once: UnpackSegment has seen to it.
  static void Arrange(const std::vector<ColumnPayload>& payloads,
                      std::array<const ColumnPayload*, kColumns>* columns) {
    for (const ColumnPayload& payload : payloads) {
      const auto name = std::ranges::find(kColumnNames, payload.name);
      (*columns)[static_cast<size_t>(name - kColumnNames.begin())] = &payload;
    }
  }

  static Status DecodeTexts(const ColumnPayload& column, uint32_t rows, Texts* out) {
    BincodeReader reader(column.data);
    TALLY_RETURN_IF_ERROR(TakeTexts(column, reader, &out->values));
    if (column.encoding == ColumnEncoding::kPlain) {
      TALLY_RETURN_IF_ERROR(CheckCount(column, reader, out->values.size(), rows));
      return Finish(column, reader);
    }
    if (column.encoding != ColumnEncoding::kDictionary) return EncodingFault(column);
    const uint64_t count = reader.Count(sizeof(uint32_t));
    TALLY_RETURN_IF_ERROR(CheckCount(column, reader, count, rows));
    out->codes.resize(count);
    for (uint32_t& code : out->codes) {
      code = reader.Fixed<uint32_t>();
      if (code >= out->values.size()) return CodeFault(column, code, out->values.size());
    }
    return Finish(column, reader);
  }

  static Status DecodeOptionalTexts(const ColumnPayload& column, uint32_t rows, Texts* out) {
    BincodeReader reader(column.data);
    if (column.encoding == ColumnEncoding::kPlain) {
      const uint64_t count = reader.Count(1);
      TALLY_RETURN_IF_ERROR(CheckCount(column, reader, count, rows));
      out->codes.reserve(count);
      for (uint64_t i = 0; i < count; ++i) {
        if (!reader.Option()) {
          out->codes.push_back(Texts::kNone);
          continue;
        }
        out->codes.push_back(static_cast<uint32_t>(out->values.size()));
        TALLY_RETURN_IF_ERROR(TakeText(column, reader, &out->values.emplace_back()));
      }
      return Finish(column, reader);
    }
    if (column.encoding != ColumnEncoding::kDictionary) return EncodingFault(column);
    TALLY_RETURN_IF_ERROR(TakeTexts(column, reader, &out->values));
    const uint64_t count = reader.Count(1);
    TALLY_RETURN_IF_ERROR(CheckCount(column, reader, count, rows));
    out->codes.resize(count);
    for (uint32_t& code : out->codes) {
      code = reader.Option() ? reader.Fixed<uint32_t>() : Texts::kNone;
      if (code != Texts::kNone && code >= out->values.size()) {
        return CodeFault(column, code, out->values.size());
      }
    }
    return Finish(column, reader);
  }
};

Row SegmentRows::Get(uint32_t row) const {
  const uint32_t begin = row == 0 ? 0 : dimension_ends_[row - 1];
  return {{.event_id = event_id_.Get(row),
           .account_id = account_id_.Get(row),
           .product_id = product_id_.Get(row),
           .meter_id = meter_id_.Get(row),
           .subscription_id = subscription_id_.GetOptional(row),
           .model_id = model_id_.GetOptional(row),
           .unit = unit_.Get(row),
           .source = source_.Get(row),
           .kind = static_cast<EventKind>(kinds_[row]),
           .correction_ref = correction_refs_[row],
           .timestamp_ms = timestamps_[row],
           .quantity = Quantity::FromInteger(quantities_[row]),
           .dimensions = {dimensions_.data() + begin, dimension_ends_[row] - begin}},
          ingested_at_[row]};
}

// --- the file ---

uint32_t RowsInHeader(ByteSpan header) {
  if (header.size() < kSegmentHeaderBytes || !HasMagic(header, kSegmentMagic)) return 0;
  return LoadFixed<uint32_t>(header.data() + sizeof kSegmentMagic + 1);
}

namespace {

Status Unpack(uint8_t codec, ZSTD_DStream* stream, ByteSpan packed, uint64_t bytes_max,
              Bytes* out) {
  switch (codec) {
    case kCodecNone:
      if (packed.size() > bytes_max) {
        return Status::Corruption(fmt::format("has more than {} bytes", bytes_max));
      }
      out->assign(packed.begin(), packed.end());
      return Status::Ok();
    case kCodecZstd:
      return UnpackZstd(stream, packed, bytes_max, out);
    case kCodecLz4:
      return Status::Corruption("codec 2 (lz4) is not supported: usageDb never writes it");
    default:
      return Status::Corruption(fmt::format("codec {} is not known", codec));
  }
}

// The columns one by one. A name is looked at before its bytes are unpacked.
class ColumnReader {
 public:
  ColumnReader(ByteSpan body, size_t begin, uint64_t bytes_max)
      : decoder_(body.subspan(begin)), begin_(begin), left_(bytes_max) {}

  Status Next(ColumnPayload* out) {
    const size_t begin = at();
    out->name = AsText(decoder_.Raw(decoder_.Fixed<uint16_t>()));
    out->encoding = static_cast<ColumnEncoding>(decoder_.Fixed<uint8_t>());
    const auto codec = decoder_.Fixed<uint8_t>();
    const ByteSpan packed = decoder_.Raw(decoder_.Fixed<uint32_t>());
    if (!decoder_.ok()) {
      return Status::Corruption(fmt::format("at offset {}: a column is cut", begin));
    }
    Status status = Know(out->name);
    if (status.ok()) status = Unpack(codec, stream_.get(), packed, left_, &out->data);
    if (!status.ok()) {
      return status.WithContext(fmt::format("at offset {}: column {}", begin, out->name));
    }
    left_ -= out->data.size();
    return status;
  }
  size_t at() const { return begin_ + decoder_.position(); }
  bool done() const { return decoder_.remaining() == 0; }

 private:
  Status Know(std::string_view name) {
    const auto found = std::ranges::find(kColumnNames, name);
    if (found == kColumnNames.end()) return Status::Corruption("is not known");
    bool& seen = seen_[static_cast<size_t>(found - kColumnNames.begin())];
    if (std::exchange(seen, true)) return Status::Corruption("is there twice");
    return Status::Ok();
  }

  Decoder decoder_;
  const Stream stream_{ZSTD_createDStream()};
  size_t begin_;
  uint64_t left_;  // that the columns to come may unpack to
  std::array<bool, kColumns> seen_{};
};

Result<uint64_t> CheckFrame(ByteSpan file) {
  if (file.size() < kSegmentHeaderBytes + kFooterBytes) {
    return Status::Corruption(fmt::format("{} bytes are less than an empty segment", file.size()));
  }
  const size_t covered = file.size() - kFooterBytes;
  if (!HasMagic(file, kSegmentMagic)) return Status::Corruption("at offset 0: no UDBRAW1 segment");
  if (!HasMagic(file.subspan(covered + sizeof(uint64_t)), kSegmentEndMagic)) {
    return Status::Corruption(
        fmt::format("at offset {}: the end mark is missing", covered + sizeof(uint64_t)));
  }
  const auto checksum = LoadFixed<uint64_t>(file.data() + covered);
  if (Checksum(file.first(covered)) != checksum && !TALLY_MUTANT("usagedb_checksum_trusted")) {
    return Status::Corruption(
        fmt::format("at offset {}: the checksum in the footer does not match", covered));
  }
  return checksum;
}

}  // namespace

Result<std::vector<ColumnPayload>> UnpackSegment(ByteSpan file, uint64_t* checksum, uint32_t* rows,
                                                 uint64_t unpacked_bytes_max) {
  TALLY_ASSIGN_OR_RETURN(*checksum, CheckFrame(file));
  Decoder header(file.subspan(sizeof kSegmentMagic, kSegmentHeaderBytes - sizeof kSegmentMagic));
  const auto version = header.Fixed<uint8_t>();
  if (version != kSegmentVersion) {
    return Status::Corruption(fmt::format("version {} is not known", version));
  }
  *rows = header.Fixed<uint32_t>();
  const auto count = header.Fixed<uint16_t>();
  if (count != kColumns) {
    return Status::Corruption(fmt::format("it has {} columns, not {}", count, size_t{kColumns}));
  }
  ColumnReader reader(file.first(file.size() - kFooterBytes), kSegmentHeaderBytes,
                      unpacked_bytes_max);
  std::vector<ColumnPayload> columns(count);
  for (ColumnPayload& column : columns) TALLY_RETURN_IF_ERROR(reader.Next(&column));
  if (!reader.done()) {
    return Status::Corruption(
        fmt::format("at offset {}: bytes behind the last column", reader.at()));
  }
  return columns;
}

Result<DecodedSegment> DecodeSegment(ByteSpan file, uint64_t unpacked_bytes_max) {
  DecodedSegment segment;
  uint32_t rows = 0;
  TALLY_ASSIGN_OR_RETURN(auto columns,
                         UnpackSegment(file, &segment.checksum, &rows, unpacked_bytes_max));
  TALLY_ASSIGN_OR_RETURN(segment.rows, SegmentDecoder::Decode(std::move(columns), rows));
  return segment;
}

// --- writing ---

namespace {

// A dictionary in the order of first sight.
class DictionaryBuilder {
 public:
  uint32_t CodeOf(std::string_view text) {
    const auto [it, is_new] = codes_.try_emplace(text, static_cast<uint32_t>(values_.size()));
    if (is_new) values_.push_back(text);
    return it->second;
  }
  void Put(Bytes& out) const {
    PutFixed<uint64_t>(out, values_.size());
    for (const std::string_view value : values_) PutText(out, value);
  }

 private:
  std::unordered_map<std::string_view, uint32_t> codes_;
  std::vector<std::string_view> values_;
};

using TextOf = std::string_view EventView::*;
using OptionalTextOf = std::optional<std::string_view> EventView::*;

Bytes EncodeTexts(std::span<const Row> rows, TextOf field) {
  DictionaryBuilder dictionary;
  Bytes codes;
  PutFixed<uint64_t>(codes, rows.size());
  for (const Row& row : rows) PutFixed<uint32_t>(codes, dictionary.CodeOf(row.event.*field));
  Bytes out;
  dictionary.Put(out);
  PutRaw(out, codes);
  return out;
}

Bytes EncodeOptionalTexts(std::span<const Row> rows, OptionalTextOf field) {
  DictionaryBuilder dictionary;
  Bytes codes;
  PutFixed<uint64_t>(codes, rows.size());
  for (const Row& row : rows) {
    const auto& text = row.event.*field;
    PutFixed<uint8_t>(codes, text.has_value() ? 1 : 0);
    if (text.has_value()) PutFixed<uint32_t>(codes, dictionary.CodeOf(*text));
  }
  Bytes out;
  dictionary.Put(out);
  PutRaw(out, codes);
  return out;
}

Bytes EncodeIds(std::span<const Row> rows) {
  Bytes out;
  PutFixed<uint64_t>(out, rows.size());
  for (const Row& row : rows) PutText(out, row.event.event_id);
  return out;
}

Bytes EncodeKinds(std::span<const Row> rows) {
  Bytes runs;
  uint64_t count = 0;
  for (size_t begin = 0; begin < rows.size();) {
    size_t end = begin;
    while (end < rows.size() && rows[end].event.kind == rows[begin].event.kind) ++end;
    PutFixed<uint8_t>(runs, static_cast<uint8_t>(rows[begin].event.kind));
    PutFixed<uint32_t>(runs, static_cast<uint32_t>(end - begin));
    ++count;
    begin = end;
  }
  Bytes out;
  PutFixed<uint64_t>(out, count);
  PutRaw(out, runs);
  return out;
}

Bytes EncodeCorrectionRefs(std::span<const Row> rows) {
  Bytes out;
  PutFixed<uint64_t>(out, rows.size());
  for (const Row& row : rows) {
    const auto& ref = row.event.correction_ref;
    PutFixed<uint8_t>(out, ref.has_value() ? 1 : 0);
    if (!ref.has_value()) continue;
    PutText(out, ref->original_event_id);
    PutText(out, ref->reason);
  }
  return out;
}

Bytes EncodeTimes(std::span<const Row> rows, const std::function<int64_t(const Row&)>& time) {
  Bytes out;
  PutFixed<uint64_t>(out, rows.size());
  uint64_t previous = 0;
  for (const Row& row : rows) {
    const auto value = static_cast<uint64_t>(time(row));
    PutFixed<uint64_t>(out, value - previous);  // wraps
    previous = value;
  }
  return out;
}

Bytes EncodeQuantities(std::span<const Row> rows) {
  Bytes out;
  PutFixed<uint32_t>(out, static_cast<uint32_t>(rows.size()));
  for (const Row& row : rows) PutZigzag(out, row.event.quantity.mantissa);
  return out;
}

Bytes EncodeDimensions(std::span<const Row> rows) {
  Bytes out;
  PutFixed<uint64_t>(out, rows.size());
  for (const Row& row : rows) {
    PutFixed<uint64_t>(out, row.event.dimensions.size());
    for (const Dimension& dimension : row.event.dimensions) {
      PutText(out, dimension.key);
      PutText(out, dimension.value);
    }
  }
  return out;
}

}  // namespace

std::vector<ColumnPayload> EncodeColumns(std::span<const Row> rows) {
  std::vector<ColumnPayload> columns;
  const auto add = [&](Column column, ColumnEncoding encoding, Bytes data) {
    columns.push_back({std::string(kColumnNames[column]), encoding, std::move(data)});
  };
  const auto add_texts = [&](Column column, TextOf field) {
    add(column, ColumnEncoding::kDictionary, EncodeTexts(rows, field));
  };
  const auto add_optional = [&](Column column, OptionalTextOf field) {
    add(column, ColumnEncoding::kDictionary, EncodeOptionalTexts(rows, field));
  };
  add(kEventId, ColumnEncoding::kPlain, EncodeIds(rows));
  add(kKind, ColumnEncoding::kRle, EncodeKinds(rows));
  add(kCorrectionRef, ColumnEncoding::kPlain, EncodeCorrectionRefs(rows));
  add_texts(kAccountId, &EventView::account_id);
  add_optional(kSubscriptionId, &EventView::subscription_id);
  add_texts(kProductId, &EventView::product_id);
  add_texts(kMeterId, &EventView::meter_id);
  add(kTimestampMs, ColumnEncoding::kDelta,
      EncodeTimes(rows, [](const Row& row) { return row.event.timestamp_ms; }));
  add(kQuantity, ColumnEncoding::kZigzag, EncodeQuantities(rows));
  add_texts(kUnit, &EventView::unit);
  add_texts(kSource, &EventView::source);
  add_optional(kModelId, &EventView::model_id);
  add(kDimensions, ColumnEncoding::kPlain, EncodeDimensions(rows));
  add(kIngestedAtMs, ColumnEncoding::kDelta,
      EncodeTimes(rows, [](const Row& row) { return row.ingested_at_ms; }));
  return columns;
}

Result<EncodedSegment> EncodeSegment(std::span<const Row> rows) {
  const std::vector<ColumnPayload> columns = EncodeColumns(rows);
  EncodedSegment segment;
  Bytes& out = segment.file;
  for (const char c : kSegmentMagic) PutFixed(out, c);
  PutFixed<uint8_t>(out, kSegmentVersion);
  PutFixed<uint32_t>(out, static_cast<uint32_t>(rows.size()));
  PutFixed<uint16_t>(out, static_cast<uint16_t>(columns.size()));
  for (const ColumnPayload& column : columns) {
    const Bytes packed = PackZstd(column.data);
    if (packed.size() > std::numeric_limits<uint32_t>::max()) {
      return Status::InvalidArgument(
          "segment_too_large",
          fmt::format("column {} has {} bytes, more than 2^32", column.name, packed.size()));
    }
    PutFixed<uint16_t>(out, static_cast<uint16_t>(column.name.size()));
    PutRaw(out, AsByteSpan(column.name));
    PutFixed<uint8_t>(out, static_cast<uint8_t>(column.encoding));
    PutFixed<uint8_t>(out, kCodecZstd);
    PutFixed<uint32_t>(out, static_cast<uint32_t>(packed.size()));
    PutRaw(out, packed);
  }
  segment.checksum = Checksum(out);
  PutFixed<uint64_t>(out, segment.checksum);
  for (const char c : kSegmentEndMagic) PutFixed(out, c);
  return segment;
}

bool InSegmentOrder(const Row& a, const Row& b) {
  const auto key = [](const Row& row) {
    return std::tuple(row.event.account_id, row.event.product_id, row.event.meter_id,
                      row.event.model_id.value_or(""), row.event.timestamp_ms);
  };
  return key(a) < key(b);
}

}  // namespace tallystick::usagedb
