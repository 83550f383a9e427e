// Tallystick in a process of one's own, without a server: usage: embedded DIRECTORY
//
// Opens (or creates) the database in DIRECTORY, ingests a batch, sends it again, and reads: a bill,
// the list of events, one event.
#include <cstdio>
#include <string>

#include "tallystick/db.h"

namespace {

using namespace tallystick;

int Fail(const Status& status) {
  std::fprintf(stderr, "embedded: %s\n", status.ToString().c_str());
  return 1;
}

Result<IngestResult> SendThreeEvents(Db& db) {
  Batch batch = db.NewBatch();
  for (int i = 1; i <= 3; ++i) {
    const std::string id = "call-" + std::to_string(i);
    auto quantity =
        Quantity::Parse("0.1");  // an exact decimal: three of them are 0.3, nothing else
    if (!quantity.ok()) return quantity.status();
    const Dimension region{"region", "eu"};
    batch.Add({.event_id = id,
               .account_id = "acme",
               .product_id = "inference",
               .meter_id = "gpu_hours",
               .timestamp_ms = 1'700'000'000'000 + i,
               .quantity = *quantity,
               .dimensions = {&region, 1}});
  }
  return db.Ingest(std::move(batch));  // returns when the events are on the disk
}

int Run(const std::string& directory) {
  auto db = Db::Open(directory, {});
  if (!db.ok()) return Fail(db.status());

  for (const char* attempt : {"first", "again"}) {
    const auto sent = SendThreeEvents(*db);
    if (!sent.ok()) return Fail(sent.status());
    std::printf("%s: %llu accepted, %llu duplicates\n", attempt,
                static_cast<unsigned long long>(sent->accepted),
                static_cast<unsigned long long>(sent->duplicates));
  }

  UsageQuery bill{.account_id = "acme", .from_ms = 0, .to_ms = 1'800'000'000'000};
  bill.group_by = {Field::Parse("meter_id"), Field::Parse("region")};
  const auto usage = db->Aggregate(bill);
  if (!usage.ok()) return Fail(usage.status());
  for (const UsageLine& line : usage->lines) {
    std::printf("%s %s: %s\n", line.keys[0].c_str(), line.keys[1].c_str(), line.quantity.c_str());
  }

  {
    auto events = db->ListEvents({.account_id = "acme", .from_ms = 0, .to_ms = 1'800'000'000'000});
    if (!events.ok()) return Fail(events.status());
    while (true) {
      const auto event = events->Next();
      if (!event.ok()) return Fail(event.status());
      if (!event->has_value()) break;
      std::printf("%s at %lld\n", (*event)->event_id.c_str(),
                  static_cast<long long>((*event)->timestamp_ms));
    }
  }  // the stream ends before the database closes

  const auto one = db->GetEvent("call-2");
  if (!one.ok()) return Fail(one.status());
  std::printf("call-2 has LSN %llu\n", static_cast<unsigned long long>(one->event_lsn.value));

  const Status closed = db->Close();
  return closed.ok() ? 0 : Fail(closed);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: embedded DIRECTORY\n");
    return 2;
  }
  return Run(argv[1]);
}
