// What the model costs an event on its way in: check, encode and hash (BatchBuilder::Add), and its
// parts. `model_bench [--smoke] [Google Benchmark's options]`. The time of BM_Batch* is that of one
// event.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/check.h"
#include "base/decimal.h"
#include "model/batch_builder.h"
#include "model/event_check.h"
#include "model/identity.h"

namespace tallystick {
namespace {

constexpr size_t kEvents = 1000;
const std::vector<Dimension> kDimensions = {{"region", "eu-west-1"}, {"cache", "hit"}};

// Eight fields filled, as a gateway reports tokens; ids are UUIDs.
struct Events {
  std::vector<std::string> ids;
  std::vector<std::string> accounts;
  std::vector<EventView> views;

  explicit Events(bool with_dimensions) {
    for (size_t i = 0; i < kEvents; ++i) {
      ids.push_back(fmt::format("{:08x}-3c5e-4e0a-9f57-{:012x}", i * 2654435761u, i));
      accounts.push_back(fmt::format("account-{}", i % 20));
    }
    for (size_t i = 0; i < kEvents; ++i) {
      EventView event;
      event.event_id = ids[i];
      event.account_id = accounts[i];
      event.product_id = "inference";
      event.meter_id = "input_tokens";
      event.unit = "tokens";
      event.source = "gateway";
      event.timestamp_ms = 1'782'000'000'000 + static_cast<int64_t>(i);
      event.quantity = Quantity::FromInteger(static_cast<int128>(i * 7 + 1));
      if (with_dimensions) event.dimensions = kDimensions;
      views.push_back(event);
    }
  }
};

void Batches(benchmark::State& state, bool with_dimensions) {
  const Events events(with_dimensions);
  while (state.KeepRunningBatch(kEvents)) {
    Batch batch = BatchBuilder::Make(IdentityScope::kGlobal, {});
    for (const EventView& event : events.views) batch.Add(event);
    TALLY_CHECK(BatchBuilder::Of(batch).rejections().empty());
    benchmark::DoNotOptimize(batch.encoded_bytes());
  }
}
void BM_Batch(benchmark::State& state) { Batches(state, false); }
void BM_BatchWithDimensions(benchmark::State& state) { Batches(state, true); }
BENCHMARK(BM_Batch);
BENCHMARK(BM_BatchWithDimensions);

void BM_Check(benchmark::State& state) {
  const Events events(false);
  size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(CheckEventShape(events.views[i++ % kEvents]));
}
BENCHMARK(BM_Check);

void BM_Encode(benchmark::State& state) {
  const Events events(false);
  Bytes out;
  size_t i = 0;
  for (auto _ : state) {
    out.clear();
    EncodeCanonical(events.views[i++ % kEvents], out);
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(BM_Encode);

void BM_Decode(benchmark::State& state) {
  const Events events(false);
  Bytes bytes;
  EncodeCanonical(events.views[0], bytes);
  RowView row;
  for (auto _ : state) benchmark::DoNotOptimize(DecodeCanonical(bytes, &row));
}
BENCHMARK(BM_Decode);

void BM_IdHash(benchmark::State& state) {
  const Events events(false);
  size_t i = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(IdHash(IdentityScope::kGlobal, "", events.ids[i++ % kEvents]));
  }
}
BENCHMARK(BM_IdHash);

void BM_PayloadHash(benchmark::State& state) {
  const Events events(false);
  Bytes bytes;
  EncodeCanonical(events.views[0], bytes);
  for (auto _ : state) benchmark::DoNotOptimize(PayloadHash(bytes));
}
BENCHMARK(BM_PayloadHash);

void BM_ParseQuantity(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(Quantity::Parse("1234.5678"));
}
BENCHMARK(BM_ParseQuantity);

void BM_AddToSum(benchmark::State& state) {
  ExactSum sum;
  for (auto _ : state) {
    sum.Add(Quantity{12345, 2});
    benchmark::DoNotOptimize(sum);
  }
}
BENCHMARK(BM_AddToSum);

int Main(int argc, char** argv) {
  static char short_runs[] = "--benchmark_min_time=0.001";
  std::vector<char*> arguments(argv, argv + argc);
  for (char*& argument : arguments) {
    if (std::string_view(argument) == "--smoke") argument = short_runs;
  }
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 1;
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 1;
}

}  // namespace
}  // namespace tallystick

int main(int argc, char** argv) { return tallystick::Main(argc, argv); }
