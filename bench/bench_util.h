// What the benchmarks share: made-up events, figures of the machine, percentiles, the
// report.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tallystick/event.h"

namespace tallystick::bench {

// Spreads neighbours: ids come in no order, as UUIDs do.
uint64_t Mix(uint64_t x);

// Deterministic events of the shape that the published figures use: UUID-like ids, 500 accounts,
// two meters, four models, one dimension. `Json(i)` is about 321 bytes.
class EventSource {
 public:
  static constexpr size_t kIdBytes = 36;
  // Writes the id of event i: 36 characters.
  static void WriteId(uint64_t i, char* out);
  // Event i as JSON; its id stands at *id_at.
  static std::string Json(uint64_t i, size_t* id_at);
  // Event i as a view; strings live until the next call on this object.
  const EventView& View(uint64_t i);

 private:
  std::string id_, account_;
  std::vector<Dimension> dimensions_;
  EventView view_;
};

// Time that the hypervisor took away, in seconds summed over all processors.
double StealSeconds();
double NowSeconds();  // monotonic
double CpuSecondsOfProcess(int pid);
uint64_t ResidentBytesOfProcess(int pid);

struct Percentiles {
  double p50 = 0, p99 = 0, p999 = 0, max = 0;
};
Percentiles PercentilesOf(std::vector<double>& values);  // sorts

// One figure: printed as a line at once, and as JSON at the end.
class Report {
 public:
  void Add(const std::string& name, double value, const std::string& unit,
           const std::string& note = "");
  // With commit (from the environment variable TALLY_COMMIT), machine, date and all figures.
  std::string Json() const;

 private:
  struct Figure {
    std::string name;
    double value;
    std::string unit;
    std::string note;
  };
  std::vector<Figure> figures_;
};

}  // namespace tallystick::bench
