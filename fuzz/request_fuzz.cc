// What a socket may bring, on any bytes: the head of a request, a chunked body, a compressed body,
// a body of events, a line of events. The first byte says which; the rest is the input.
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/utf8.h"
#include "model/batch_builder.h"
#include "server/chunk_decoder.h"
#include "server/compression.h"
#include "server/ingest_json.h"
#include "server/request_head.h"

namespace tallystick {
namespace {

void Head(std::string_view input) {
  RequestHead head;
  const size_t end = FindHeadEnd(input, 0);
  TALLY_CHECK(end <= input.size());
  const Status status =
      ParseRequestHead(input.substr(0, end == 0 ? input.size() : end), 100, &head);
  if (status.ok()) TALLY_CHECK(!(head.chunked && head.content_length.has_value()));
}

// However the input is cut, the same comes out.
void Chunks(std::string_view input) {
  std::string decoded[2];
  bool ended[2] = {};
  for (size_t pass = 0; pass < 2; ++pass) {
    const size_t piece = pass == 0 ? input.size() : 1;
    std::string_view rest = input;
    ChunkDecoder decoder;
    while (!rest.empty() && !decoder.done()) {
      const auto step = decoder.Next(rest.substr(0, piece));
      if (!step.ok()) break;
      TALLY_CHECK(step->consumed > 0 && step->consumed <= rest.size());
      decoded[pass] += step->data;
      rest.remove_prefix(step->consumed);
    }
    ended[pass] = decoder.done();
  }
  TALLY_CHECK(decoded[0] == decoded[1] && ended[0] == ended[1]);
}

void Compressed(BodyEncoding encoding, std::string_view input) {
  constexpr uint64_t kBytesMax = 64 << 10;
  BodyBuffer output;
  if (Expand(encoding, input, kBytesMax, output).ok()) TALLY_CHECK(output.size() <= kBytesMax);
  TALLY_CHECK(output.capacity() <= kBytesMax + 1);
}

Batch Events(std::string_view input, UnknownFields unknown, bool* taken) {
  Batch batch = BatchBuilder::Make(IdentityScope::kGlobal, EventLimits{});
  std::string padded(input);
  padded.append(kJsonPaddingBytes, ' ');
  EventParser parser(unknown);
  *taken = parser.ParseBody(std::string_view(padded).substr(0, input.size()), 1000, batch).ok();
  return batch;
}

// Ignoring unknown fields refuses the same bodies, and takes no fewer events.
void Body(std::string_view input) {
  bool taken = false;
  bool taken_too = false;
  const Batch strict = Events(input, UnknownFields::kReject, &taken);
  const Batch lenient = Events(input, UnknownFields::kIgnore, &taken_too);
  TALLY_CHECK(taken == taken_too);
  if (taken) TALLY_CHECK(IsUtf8(input) && strict.size() == lenient.size());
}

void Line(std::string_view input) {
  Batch batch = BatchBuilder::Make(IdentityScope::kGlobal, EventLimits{});
  EventParser parser(UnknownFields::kReject);
  const bool is_json = !parser.ParseEventLine(input, batch).has_value();
  TALLY_CHECK(batch.size() == (is_json ? 1 : 0));
  // As the one event of a body, the same line is JSON or not.
  bool taken = false;
  const Batch body =
      Events("{\"events\":[" + std::string(input) + "]}", UnknownFields::kReject, &taken);
  if (is_json) TALLY_CHECK(taken && body.size() == 1);
}

}  // namespace
}  // namespace tallystick

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tallystick;
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'h':
      Head(input);
      break;
    case 'c':
      Chunks(input);
      break;
    case 'g':
      Compressed(BodyEncoding::kGzip, input);
      break;
    case 'z':
      Compressed(BodyEncoding::kZstd, input);
      break;
    case 'l':
      Line(input);
      break;
    default:
      Body(input);
  }
  return 0;
}
