// Invariants:
//  1. Nothing is believed before it verified: the footer at Open, directory and filter before they
//     are published, a page before an entry of it is looked at.
//  2. A published filter or directory never changes; probes read it without a lock.
//  3. An absent filter lets every key through; a failed read is an error, never "not there".
#include "dedupe/sidecar_reader.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "base/mutant.h"
#include "base/mutex.h"
#include "base/result.h"
#include "dedupe/sidecar_cursor.h"
#include "dedupe/sidecar_file.h"
#include "dedupe/sidecar_filter.h"
#include "env/io_governor.h"
#include "env/number_name.h"

namespace tallystick {
namespace {

constexpr size_t kFilterPieceBytes = 256 << 10;
// Wanted pages this near to one another are asked for together: a call costs more than reading the
// few between them.
constexpr uint64_t kPrefetchGapPages = 4;

// Where the operating system reads it to.
class FilterBuffer {
 public:
  explicit FilterBuffer(uint64_t bytes) : buffer_(bytes) {}
  std::span<std::byte> bytes() { return buffer_.span(); }
  std::span<const FilterBlock> blocks() {
    return {reinterpret_cast<const FilterBlock*>(buffer_.data()),
            buffer_.size() / sizeof(FilterBlock)};
  }

 private:
  AlignedBuffer buffer_;
};

using Directory = std::vector<uint64_t>;

// One page at a time, verified.
class PageCursor {
 public:
  explicit PageCursor(const SidecarFile& file) : file_(file) {}

  Status Go(uint64_t page) {
    if (page_ == page) return Status::Ok();
    page_.reset();
    TALLY_RETURN_IF_ERROR(file_.ReadPages(page, buffer_));
    page_ = page;
    return Status::Ok();
  }
  KeyHalves FirstKey() const { return KeyHalves::At(SidecarEntryAt(buffer_, 0)); }

  std::optional<SidecarReader::Found> Look(const KeyHalves& key) const {
    uint64_t low = 0;
    uint64_t high = file_.layout().EntriesOfPage(*page_);
    while (low < high) {
      const uint64_t middle = (low + high) / 2;
      if (KeyHalves::At(SidecarEntryAt(buffer_, middle)) < key) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    if (low == file_.layout().EntriesOfPage(*page_)) return std::nullopt;
    const std::byte* entry = SidecarEntryAt(buffer_, low);
    if (KeyHalves::At(entry) != key) return std::nullopt;
    const SidecarEntry loaded = LoadSidecarEntry(entry);
    return SidecarReader::Found{loaded.payload_hash, loaded.row};
  }

 private:
  const SidecarFile& file_;
  std::optional<uint64_t> page_;
  alignas(64) std::byte buffer_[kSidecarPageBytes];
};

// The last page that may have the key, none if all keys are above it. Keys are spread evenly, so
// the search begins where the key should be and widens from there: a binary search over a directory
// that is not in the cache waits for memory at every step.
std::optional<uint64_t> LastPageFor(const Directory& directory, uint64_t leading) {
  const uint64_t pages = directory.size();
  if (pages == 0) return std::nullopt;
  uint64_t low = SpreadOver(leading, pages);  // pages below it begin with `leading` or less
  uint64_t high = low;                        // those from it on begin with more
  if (directory[low] <= leading) {
    for (uint64_t step = 4; high < pages && directory[high] <= leading; step *= 2) {
      low = high + 1;
      high = std::min(pages, high + step);
    }
  } else {
    for (uint64_t step = 4; low > 0 && directory[low - 1] > leading; step *= 2) {
      high = low - 1;
      low = low > step ? low - step : 0;
    }
  }
  const auto behind = std::upper_bound(directory.begin() + low, directory.begin() + high, leading);
  if (behind == directory.begin()) return std::nullopt;
  return static_cast<uint64_t>(behind - directory.begin()) - 1;
}

// Finds the page that must have the key, if any has. Where first keys agree with it in their
// leading halves, which is almost never, the pages themselves say which one it is.
Status GoToPageOf(const KeyHalves& key, const Directory& directory, uint64_t last_page,
                  PageCursor& cursor) {
  uint64_t low = last_page;
  uint64_t high = last_page;
  if (directory[last_page] == key.leading) {
    const auto first = std::ranges::lower_bound(directory, key.leading);
    low = static_cast<uint64_t>(first - directory.begin());
    if (low > 0) --low;
  }
  while (low < high) {
    const uint64_t middle = (low + high + 1) / 2;
    TALLY_RETURN_IF_ERROR(cursor.Go(middle));
    if (cursor.FirstKey() <= key) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return cursor.Go(low);
}

struct Wanted {
  uint64_t page;
  size_t index;  // into candidates
};

void Prefetch(const SidecarFile& file, std::span<const Wanted> wanted) {
  if (wanted.empty() || wanted.front().page == wanted.back().page) return;
  uint64_t first = wanted.front().page;
  uint64_t last = first;
  for (const Wanted& want : wanted) {
    if (want.page - last > kPrefetchGapPages) {
      file.PrefetchPages(first, last - first + 1);
      first = want.page;
    }
    last = want.page;
  }
  file.PrefetchPages(first, last - first + 1);
}

}  // namespace

struct SidecarReader::Impl {
  explicit Impl(SidecarFile opened) : file(std::move(opened)) {}

  Result<const Directory*> LoadedDirectory();

  const SidecarFile file;
  Mutex mutex;  // held while reading them, so that each is read once
  std::unique_ptr<Directory> directory_owner GUARDED_BY(mutex);
  std::unique_ptr<FilterBuffer> filter_owner GUARDED_BY(mutex);
  std::atomic<const Directory*> directory = nullptr;
  std::atomic<FilterBuffer*> filter = nullptr;
};

Result<const Directory*> SidecarReader::Impl::LoadedDirectory() {
  if (const Directory* loaded = directory.load(std::memory_order_acquire)) return loaded;
  MutexLock lock(mutex);
  if (directory_owner == nullptr) {
    TALLY_ASSIGN_OR_RETURN(Directory read, file.ReadDirectory());
    directory_owner = std::make_unique<Directory>(std::move(read));
    directory.store(directory_owner.get(), std::memory_order_release);
  }
  return directory_owner.get();
}

SidecarReader::SidecarReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SidecarReader::~SidecarReader() = default;

Result<std::unique_ptr<SidecarReader>> SidecarReader::Open(FileSystem& fs, const std::string& path,
                                                           const SidecarBinding& binding) {
  TALLY_ASSIGN_OR_RETURN(SidecarFile file, SidecarFile::Open(fs, path));
  Status bound = CompareBinding(file.binding(), binding);
  if (!bound.ok() && !TALLY_MUTANT("foreign_sidecar_believed") &&
      !TALLY_MUTANT("corrupt_sidecar_is_empty")) {
    return bound.WithContext(path);
  }
  return std::unique_ptr<SidecarReader>(new SidecarReader(std::make_unique<Impl>(std::move(file))));
}

Result<SidecarBinding> SidecarReader::ReadBinding(FileSystem& fs, const std::string& path) {
  TALLY_ASSIGN_OR_RETURN(const SidecarFile file, SidecarFile::Open(fs, path));
  return file.binding();
}

const std::string& SidecarReader::path() const { return impl_->file.path(); }
const SidecarBinding& SidecarReader::binding() const { return impl_->file.binding(); }
uint64_t SidecarReader::bytes() const { return impl_->file.layout().file_bytes; }
uint64_t SidecarReader::filter_bytes() const { return impl_->file.layout().filter_bytes; }
const SidecarFile& SidecarReader::file() const { return impl_->file; }

bool SidecarReader::filter_loaded() const {
  return impl_->filter.load(std::memory_order_acquire) != nullptr;
}

uint64_t SidecarReader::memory_bytes() const {
  uint64_t bytes = filter_loaded() ? filter_bytes() : 0;
  if (impl_->directory.load(std::memory_order_acquire) != nullptr) {
    bytes += impl_->file.layout().directory_bytes;
  }
  return bytes;
}

Status SidecarReader::LoadFilter(IoGovernor* governor) {
  MutexLock lock(impl_->mutex);
  if (impl_->filter_owner != nullptr) return Status::Ok();
  const SidecarFile& file = impl_->file;
  auto filter = std::make_unique<FilterBuffer>(file.layout().filter_bytes);
  const std::span<std::byte> bytes = filter->bytes();
  for (size_t at = 0; at < bytes.size(); at += kFilterPieceBytes) {
    const auto piece = bytes.subspan(at, std::min(bytes.size() - at, kFilterPieceBytes));
    if (governor != nullptr) governor->Acquire(piece.size());
    TALLY_RETURN_IF_ERROR(file.ReadFilter(at, piece));
  }
  if (XXH3_64bits(bytes.data(), bytes.size()) != file.filter_checksum()) {
    return file.Corrupt(file.layout().filter_offset, "the filter does not verify");
  }
  impl_->filter_owner = std::move(filter);
  impl_->filter.store(impl_->filter_owner.get(), std::memory_order_release);
  return Status::Ok();
}

void SidecarReader::Filter(std::span<const EventHash> keys,
                           std::vector<uint32_t>* candidates) const {
  if (FilterBuffer* filter = impl_->filter.load(std::memory_order_acquire)) {
    ProbeFilter(filter->blocks(), keys, candidates);
    return;
  }
  for (size_t i = 0; i < keys.size(); ++i) candidates->push_back(static_cast<uint32_t>(i));
}

Status SidecarReader::Find(std::span<const EventHash> keys, std::span<const uint32_t> candidates,
                           std::span<std::optional<Found>> found) const {
  TALLY_CHECK(found.size() == candidates.size());
  std::ranges::fill(found, std::nullopt);
  TALLY_ASSIGN_OR_RETURN(const Directory* directory, impl_->LoadedDirectory());
  std::vector<Wanted> wanted;
  wanted.reserve(candidates.size());
  for (size_t k = 0; k < candidates.size(); ++k) {
    const auto page = LastPageFor(*directory, KeyHalves::Of(keys[candidates[k]]).leading);
    if (page.has_value()) wanted.push_back({*page, k});
  }
  std::ranges::sort(wanted, {}, &Wanted::page);
  Prefetch(impl_->file, wanted);
  PageCursor cursor(impl_->file);
  for (const Wanted& want : wanted) {
    const KeyHalves key = KeyHalves::Of(keys[candidates[want.index]]);
    Status status = GoToPageOf(key, *directory, want.page, cursor);
    if (!status.ok() && TALLY_MUTANT("sidecar_read_error_is_absent")) continue;
    TALLY_RETURN_IF_ERROR(status);
    found[want.index] = cursor.Look(key);
  }
  return Status::Ok();
}

Status SidecarReader::ForEach(const std::function<void(const SidecarEntry&)>& entry) const {
  SidecarCursor cursor(*this);
  for (;;) {
    TALLY_RETURN_IF_ERROR(cursor.Next());
    if (cursor.done()) return Status::Ok();
    entry(cursor.entry());
  }
}

std::string SidecarFileName(FileNumber number) { return NumberName(number.value) + ".idx"; }

}  // namespace tallystick
