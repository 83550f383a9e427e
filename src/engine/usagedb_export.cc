// Rows come out of the database in the order of their times and go to the bucket of their account.
// When the rows that wait need more memory than they may, the bucket with the most of them becomes
// a segment.
//
// Order of the files: segments and their sidecars, directory sync, log, manifest, CURRENT. The
// database is closed before the log, so that nothing can fail behind CURRENT. What was written is
// removed on an error, the last first, so that a part is not taken for the whole.
#include "tallystick/usagedb.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/result.h"
#include "tallystick/db.h"
#include "usagedb/describe.h"
#include "usagedb/directory.h"
#include "usagedb/manifest.h"
#include "usagedb/segment.h"
#include "usagedb/udbidx01.h"

namespace tallystick {
namespace {

constexpr size_t kListedMax = 1000;
constexpr uint64_t kProgressRows = 1 << 16;
constexpr size_t kConflictsPage = 1000;

size_t BytesOf(const Event& event) {
  size_t bytes = sizeof event + event.event_id.size() + event.account_id.size() +
                 event.product_id.size() + event.meter_id.size() + event.unit.size() +
                 event.source.size();
  if (event.subscription_id.has_value()) bytes += event.subscription_id->size();
  if (event.model_id.has_value()) bytes += event.model_id->size();
  if (event.correction_ref.has_value()) {
    bytes += event.correction_ref->original_event_id.size() + event.correction_ref->reason.size();
  }
  for (const auto& [key, value] : event.dimensions) {
    bytes += sizeof key + sizeof value + key.size() + value.size();
  }
  return bytes;
}

struct Bucket {
  std::vector<Event> events;
  size_t bytes = 0;
};

// Events as rows of usageDb.
class RowsOfEvents {
 public:
  explicit RowsOfEvents(const std::vector<Event>& events) {
    size_t dimensions = 0;
    for (const Event& event : events) dimensions += event.dimensions.size();
    dimensions_.reserve(dimensions);  // so that spans stay where they are
    rows_.reserve(events.size());
    for (const Event& event : events) rows_.push_back(RowOf(event));
    std::ranges::stable_sort(rows_, usagedb::InSegmentOrder);
  }
  std::span<const usagedb::Row> rows() const { return rows_; }

 private:
  usagedb::Row RowOf(const Event& event) {
    const size_t begin = dimensions_.size();
    for (const auto& [key, value] : event.dimensions) dimensions_.push_back({key, value});
    usagedb::Row row;
    row.event = {.event_id = event.event_id,
                 .account_id = event.account_id,
                 .product_id = event.product_id,
                 .meter_id = event.meter_id,
                 .unit = event.unit,
                 .source = event.source,
                 .kind = event.kind,
                 .timestamp_ms = event.timestamp_ms,
                 .quantity = event.quantity,
                 .dimensions = std::span(dimensions_).subspan(begin)};
    if (event.subscription_id.has_value()) row.event.subscription_id = *event.subscription_id;
    if (event.model_id.has_value()) row.event.model_id = *event.model_id;
    if (event.correction_ref.has_value()) {
      row.event.correction_ref = {event.correction_ref->original_event_id,
                                  event.correction_ref->reason};
    }
    row.ingested_at_ms = event.ingested_at_ms;
    return row;
  }

  std::vector<Dimension> dimensions_;
  std::vector<usagedb::Row> rows_;
};

class Exporter {
 public:
  Exporter(Db& db, Env& env, const std::string& target, const UsageDbExportOptions& options)
      : db_(db),
        env_(env),
        fs_(env.fs()),
        target_(target),
        options_(options),
        buckets_(options.bucket_count) {}

  Result<UsageDbExportReport> Run() {
    TALLY_RETURN_IF_ERROR(MakeTarget());
    const Status status = Write();
    if (status.ok()) return report_;
    for (auto path = written_.rbegin(); path != written_.rend(); ++path) {
      IgnoreError(fs_.Remove(*path), "the export's own error says more");
    }
    return status;
  }

 private:
  Status MakeTarget() {
    TALLY_RETURN_IF_ERROR(fs_.CreateDir(target_));
    TALLY_ASSIGN_OR_RETURN(const auto names, fs_.List(target_));
    for (const std::string& name : names) {
      TALLY_ASSIGN_OR_RETURN(const bool known, IsOfUsageDb(name));
      if (!known) continue;
      return Status::FailedPrecondition(
          "target_not_empty", fmt::format("{} is there already", JoinPath(target_, name)));
    }
    manifest_.bucket_count = options_.bucket_count;
    return Status::Ok();
  }

  // Folders without files stay behind when an export fails.
  Result<bool> IsOfUsageDb(const std::string& name) {
    if (name != "wal" && name != "manifest") {
      return name == "LOCK" || name == "manifest.json" || name.ends_with(".seg") ||
             name.ends_with(".idx") || name.ends_with(".rseg");
    }
    TALLY_ASSIGN_OR_RETURN(const auto names, fs_.List(JoinPath(target_, name)));
    return std::ranges::any_of(names, [](const std::string& file) {
      return file == "CURRENT" || file.ends_with(".json") || file.ends_with(".log");
    });
  }

  Status Write() {
    report_.lsn = db_.VisibleLsn();
    TALLY_RETURN_IF_ERROR(WriteEvents());
    TALLY_RETURN_IF_ERROR(CountQuarantined());
    const uint64_t seen = report_.events + report_.left_out + report_.quarantined;
    if (seen != report_.lsn.value) {
      return Status::FailedPrecondition(
          "out_of_reach",
          fmt::format("{} rows are stored, but no range of times reaches {} of them",
                      report_.lsn.value, report_.lsn.value - seen));
    }
    TALLY_RETURN_IF_ERROR(db_.Close());
    return WriteHead();
  }

  Status WriteEvents() {
    EventsQuery query;
    query.from_ms = INT64_MIN;
    query.to_ms = INT64_MAX;
    query.as_of_lsn = report_.lsn;
    TALLY_ASSIGN_OR_RETURN(EventStream events, db_.ListEvents(query));
    for (uint64_t rows = 0;; ++rows) {
      if (options_.progress && rows % kProgressRows == 0) {
        options_.progress({"exporting", rows, report_.lsn.value});
      }
      TALLY_ASSIGN_OR_RETURN(std::optional<Event> event, events.Next());
      if (!event.has_value()) break;
      TALLY_RETURN_IF_ERROR(Take(*std::move(event)));
    }
    for (uint32_t i = 0; i < buckets_.size(); ++i) TALLY_RETURN_IF_ERROR(WriteBucket(i));
    return Status::Ok();
  }

  Status Take(Event event) {
    if (event.quantity.scale != 0) {
      if (!options_.leave_out) {
        return Status::InvalidArgument(
            "quantity_not_whole",
            fmt::format("event {}: its quantity {} is no whole number, which is all that usageDb "
                        "can hold",
                        event.event_id, event.quantity.ToString()));
      }
      ++report_.left_out;
      if (report_.left_out_ids.size() < kListedMax) report_.left_out_ids.push_back(event.event_id);
      return Status::Ok();
    }
    Bucket& bucket = buckets_[usagedb::BucketOf(event.account_id, options_.bucket_count)];
    const size_t bytes = BytesOf(event);
    bucket.bytes += bytes;
    bytes_ += bytes;
    bucket.events.push_back(std::move(event));
    if (bytes_ < options_.memory_bytes_max) return Status::Ok();
    const auto largest = std::ranges::max_element(buckets_, {}, &Bucket::bytes);
    return WriteBucket(static_cast<uint32_t>(largest - buckets_.begin()));
  }

  Status WriteBucket(uint32_t number) {
    Bucket& bucket = buckets_[number];
    if (bucket.events.empty()) return Status::Ok();
    const RowsOfEvents rows(bucket.events);
    usagedb::SegmentMeta meta = usagedb::MetaOf(rows.rows());
    meta.segment_id = fmt::format("raw_{}", NewUuid());
    meta.bucket = number;
    TALLY_ASSIGN_OR_RETURN(const usagedb::EncodedSegment segment,
                           usagedb::EncodeSegment(rows.rows()));
    meta.checksum = segment.checksum;
    const std::string path = usagedb::SegmentPath(target_, meta);
    TALLY_RETURN_IF_ERROR(WriteNew(path, segment.file));
    TALLY_RETURN_IF_ERROR(WriteSidecar(path, rows.rows()));
    report_.events += rows.rows().size();
    report_.bytes += segment.file.size();
    ++report_.segments;
    manifest_.raw_segments.push_back(std::move(meta));
    bytes_ -= bucket.bytes;
    bucket = {};
    return Status::Ok();
  }

  Status WriteSidecar(const std::string& segment_path, std::span<const usagedb::Row> rows) {
    const std::string path = udbidx01::IndexPath(segment_path);
    TALLY_RETURN_IF_ERROR(udbidx01::WriteDedupeIndex(fs_, path, usagedb::KeysOf(rows)));
    written_.push_back(path);
    return Status::Ok();
  }

  // Random, of version 4, as usageDb names its segments.
  std::string NewUuid() {
    uint64_t high = env_.random().Next64();
    uint64_t low = env_.random().Next64();
    high = (high & ~uint64_t{0xf000}) | 0x4000;
    low = (low & ~(uint64_t{3} << 62)) | uint64_t{1} << 63;
    return fmt::format("{:016x}{:016x}", high, low);
  }

  Status CountQuarantined() {
    ConflictsQuery query;
    query.limit = kConflictsPage;
    query.as_of_lsn = report_.lsn;
    do {
      TALLY_ASSIGN_OR_RETURN(const ConflictsPage page, db_.ListConflicts(query));
      report_.quarantined += page.conflicts.size();
      query.cursor = page.next_cursor;
    } while (!query.cursor.empty());
    return Status::Ok();
  }

  // An empty log, the manifest, and last what makes it a database.
  Status WriteHead() {
    const std::string wal_dir = JoinPath(target_, "wal");
    const std::string manifest_dir = JoinPath(target_, "manifest");
    TALLY_RETURN_IF_ERROR(fs_.CreateDir(wal_dir));
    TALLY_RETURN_IF_ERROR(fs_.CreateDir(manifest_dir));
    TALLY_RETURN_IF_ERROR(WriteNew(usagedb::LogPath(target_, 1), {}));
    TALLY_RETURN_IF_ERROR(SyncDirectory(fs_, wal_dir));
    const std::string manifest = usagedb::PrintManifest(manifest_);
    TALLY_RETURN_IF_ERROR(
        WriteNew(JoinPath(manifest_dir, "manifest-000001.json"), AsByteSpan(manifest)));
    TALLY_RETURN_IF_ERROR(SyncDirectory(fs_, manifest_dir));
    TALLY_RETURN_IF_ERROR(SyncDirectory(fs_, target_));
    TALLY_RETURN_IF_ERROR(SyncDirectory(fs_, ParentPath(target_)));
    const std::string current = JoinPath(manifest_dir, "CURRENT");
    bool renamed = false;
    const Status status =
        WriteFileAtomic(fs_, manifest_dir, current, AsByteSpan(std::string_view("1")), &renamed);
    if (renamed) written_.push_back(current);
    return status;
  }

  Status WriteNew(const std::string& path, ByteSpan content) {
    TALLY_ASSIGN_OR_RETURN(const auto file, fs_.Open(path, OpenMode::kCreateNew));
    written_.push_back(path);
    TALLY_RETURN_IF_ERROR(WriteFully(*file, 0, content));
    return file->Sync();
  }

  Db& db_;
  Env& env_;
  FileSystem& fs_;
  const std::string& target_;
  const UsageDbExportOptions& options_;
  std::vector<Bucket> buckets_;
  size_t bytes_ = 0;  // of all buckets
  usagedb::UsageDbManifest manifest_;
  std::vector<std::string> written_;
  UsageDbExportReport report_;
};

}  // namespace

Result<UsageDbExportReport> ExportUsageDb(const std::string& directory, const std::string& target,
                                          const UsageDbExportOptions& options) {
  Env& env = options.open.env != nullptr ? *options.open.env : Env::Real();
  if (options.bucket_count == 0) {
    return Status::InvalidArgument("invalid_options", "bucket_count is 0");
  }
  OpenOptions open = options.open;
  open.create_if_missing = false;
  open.scrub_bytes_per_second = 0;
  open.query_ms_max = 0;
  open.query_memory_bytes_max = 0;
  TALLY_ASSIGN_OR_RETURN(Db db, Db::Open(directory, open));
  if (db.GetStatus().identity_scope != IdentityScope::kGlobal) {
    return Status::FailedPrecondition(
        "identity_scope", directory +
                              " identifies events by account and id; usageDb knows the id alone, "
                              "and would drop what two accounts call alike");
  }
  return Exporter(db, env, target, options).Run();
}

}  // namespace tallystick
