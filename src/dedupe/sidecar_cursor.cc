#include "dedupe/sidecar_cursor.h"

#include <algorithm>

#include "base/result.h"

namespace tallystick {
namespace {

constexpr uint64_t kReadAheadPages = 64;

}  // namespace

SidecarCursor::SidecarCursor(const SidecarReader& reader)
    : file_(reader.file()),
      buffer_(std::min(file_.layout().pages, kReadAheadPages) * kSidecarPageBytes) {}

Status SidecarCursor::ReadPages() {
  pages_ = std::min(file_.layout().pages - next_page_, kReadAheadPages);
  TALLY_RETURN_IF_ERROR(
      file_.ReadPages(next_page_, std::span(buffer_).first(pages_ * kSidecarPageBytes)));
  next_page_ += pages_;
  return Status::Ok();
}

Status SidecarCursor::Next() {
  if (next_in_page_ == entries_in_page_) {
    if (++page_ >= pages_) {
      if (next_page_ == file_.layout().pages) {
        done_ = true;
        return Status::Ok();
      }
      TALLY_RETURN_IF_ERROR(ReadPages());
      page_ = 0;
    }
    next_in_page_ = 0;
    entries_in_page_ = file_.layout().EntriesOfPage(next_page_ - pages_ + page_);
  }
  const ByteSpan page = ByteSpan(buffer_).subspan(page_ * kSidecarPageBytes, kSidecarPageBytes);
  entry_ = LoadSidecarEntry(SidecarEntryAt(page, next_in_page_++));
  return Status::Ok();
}

}  // namespace tallystick
