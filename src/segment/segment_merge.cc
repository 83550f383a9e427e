#include "segment/segment_merge.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "segment/segment_tables.h"

namespace tallystick {
namespace {

constexpr uint64_t kDictionaryBytesMax = 128ull << 20;  // of one column, all inputs together

}  // namespace

SegmentMerger::SegmentMerger(const SegmentSpec& spec, std::vector<const SegmentReader*> inputs)
    : spec_(spec), inputs_(std::move(inputs)) {}

Result<std::unique_ptr<SegmentMerger>> SegmentMerger::Start(
    FileSystem& fs, const std::string& path, const SegmentSpec& spec,
    std::vector<const SegmentReader*> inputs, IoGovernor* governor) {
  TALLY_CHECK(inputs.size() >= 2);
  std::unique_ptr<SegmentMerger> merger(new SegmentMerger(spec, std::move(inputs)));
  Lsn next = merger->inputs_.front()->info().first_lsn;
  for (const SegmentReader* input : merger->inputs_) {
    TALLY_CHECK(input->info().first_lsn == next);
    next = {input->info().last_lsn.value + 1};
    merger->totals_.rows += input->info().rows;
    merger->totals_.quarantined += input->info().quarantined;
    merger->totals_.quantity.Add(input->file().footer().quantity);
  }
  TALLY_CHECK(merger->totals_.rows <= UINT32_MAX);
  TALLY_RETURN_IF_ERROR(merger->MakeSources());
  TALLY_ASSIGN_OR_RETURN(auto file, fs.Open(path, OpenMode::kCreateNew));
  merger->encoder_ = std::make_unique<SegmentEncoder>(std::move(file), merger->spec_,
                                                      merger->dimensions_by_key_, governor);
  return merger;
}

Status SegmentMerger::LoadDictionaries(size_t dictionary, std::vector<SegmentFile::Block>* blocks,
                                       std::vector<DictionaryView>* views) const {
  uint64_t bytes = 0;
  views->assign(inputs_.size(), {});
  for (size_t i = 0; i < inputs_.size(); ++i) {
    const SegmentFile& file = inputs_[i]->file();
    const BlockRef& ref = file.footer().dictionaries[dictionary];
    if (dictionary == kDimensionDictionary && file.footer().dimensions_by_key) continue;
    TALLY_ASSIGN_OR_RETURN(Bytes payload, file.Read(ref));
    blocks->push_back(std::make_shared<const Bytes>(std::move(payload)));
    if (!DictionaryView::Parse(*blocks->back(), &(*views)[i]) || !(*views)[i].IsWhole()) {
      return file.Fault(ref.offset, "the dictionary does not decode");
    }
    bytes += blocks->back()->size();
    if (bytes > kDictionaryBytesMax) {
      return Status::InvalidArgument("segment_block_too_large",
                                     "the dictionaries together are too large");
    }
    if (dictionary != kDimensionDictionary) continue;
    std::string_view set;
    for (uint32_t code = 0; (*views)[i].Get(code, &set); ++code) {
      if (!IsDimensionSet(set)) return file.Fault(ref.offset, "a set of dimensions is none");
    }
  }
  return Status::Ok();
}

Status SegmentMerger::MergeColumn(size_t dictionary, std::vector<CodeMaps>* code_maps) {
  std::vector<SegmentFile::Block> blocks;
  std::vector<DictionaryView> views;
  TALLY_RETURN_IF_ERROR(LoadDictionaries(dictionary, &blocks, &views));
  auto codes = MergeDictionaries(views, tables_.dictionaries[dictionary]);
  if (!codes.has_value()) {
    return Status::InvalidArgument("segment_block_too_large", "a dictionary is too large");
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    std::vector<uint32_t>& map = (*codes)[i];
    if (dictionary < kDictionaryColumns.size() && kDictionaryColumns[dictionary].nullable) {
      for (uint32_t& code : map) ++code;
      map.insert(map.begin(), 0);
    }
    (*code_maps)[i][dictionary] = std::move(map);
  }
  if (dictionary != kDimensionDictionary) return Status::Ok();
  Bytes& merged = tables_.dictionaries[dictionary];
  const auto sets = LoadFixed<uint32_t>(merged.data());
  const uint64_t text_bytes = merged.size() - sizeof(uint32_t) * (1 + uint64_t{sets});
  dimensions_by_key_ = dimensions_by_key_ || spec_.WantsDimensionsByKey(sets, text_bytes);
  if (!dimensions_by_key_) return Status::Ok();
  merged = {};
  // Rows look their sets up in their own segment.
  for (CodeMaps& maps : *code_maps) std::iota(maps[dictionary].begin(), maps[dictionary].end(), 0u);
  dimension_blocks_ = std::move(blocks);
  dimension_views_ = std::move(views);
  return Status::Ok();
}

Status SegmentMerger::MakeSources() {
  for (const SegmentReader* input : inputs_) {
    dimensions_by_key_ = dimensions_by_key_ || input->file().footer().dimensions_by_key;
  }
  std::vector<CodeMaps> code_maps(inputs_.size());
  dimension_views_.resize(inputs_.size());
  for (size_t c = 0; c < kDictionaryCount; ++c) {
    TALLY_RETURN_IF_ERROR(MergeColumn(c, &code_maps));
  }
  for (size_t i = 0; i < inputs_.size(); ++i) {
    sources_.push_back(
        std::make_unique<MergeSource>(*inputs_[i], std::move(code_maps[i]), dimension_views_[i]));
    TALLY_RETURN_IF_ERROR(sources_.back()->Start());
    maps_.emplace_back(inputs_[i]->info().rows, totals_.rows);
  }
  return Status::Ok();
}

uint32_t SegmentMerger::NextRun(uint32_t most, size_t* source) const {
  const MergeSource* best = nullptr;
  const MergeSource* second = nullptr;
  size_t best_at = 0, second_at = 0;
  for (size_t i = 0; i < sources_.size(); ++i) {
    const MergeSource* head = sources_[i].get();
    if (head->done()) continue;
    if (best == nullptr || head->key() < best->key()) {
      second = best;
      second_at = best_at;
      best = head;
      best_at = i;
    } else if (second == nullptr || head->key() < second->key()) {
      second = head;
      second_at = i;
    }
  }
  if (best == nullptr) return 0;
  *source = best_at;
  if (second == nullptr) return std::min(most, best->left_in_group());
  // Of equal keys the earlier input's come first: their LSNs are below.
  return best->RunBefore(second->key(), best_at < second_at, most);
}

// Runs are short, often of a row or two, so that columns are copied one after the other for many of
// them: as long as no source leaves its row group.
Status SegmentMerger::MergeGroup() {
  group_.Clear();
  uint32_t rows = 0;
  while (rows < spec_.group_rows) {
    size_t from = 0;
    const uint32_t run = NextRun(spec_.group_rows - rows, &from);
    if (run == 0) break;
    MergeSource& source = *sources_[from];
    maps_[from].Append(rows_ + rows, run);
    TALLY_RETURN_IF_ERROR(source.TakeTexts(run, rows, dimensions_by_key_, group_));
    for (uint32_t i = 0; i < run; ++i) {
      taken_.push_back({static_cast<uint32_t>(from), source.at() + i});
    }
    rows += run;
    if (run == source.left_in_group()) Gather();
    TALLY_RETURN_IF_ERROR(source.Advance(run));
  }
  if (rows == 0) return Status::Ok();
  Gather();
  TALLY_RETURN_IF_ERROR(encoder_->AddGroup(group_));
  rows_ += group_.size();
  for (const auto& source : sources_) source->Release();
  return Status::Ok();
}

// column(rows): the column of a GroupRows.
template <typename Column>
void SegmentMerger::GatherColumn(Column column) {
  auto& to = column(group_);
  std::vector<decltype(column(std::as_const(group_)).data())> from;
  for (const auto& source : sources_) from.push_back(column(source->columns()).data());
  size_t at = to.size();
  to.resize(at + taken_.size());
  for (const TakenRow& row : taken_) to[at++] = from[row.source][row.row];
}

void SegmentMerger::Gather() {
  for (size_t c = 0; c < kDictionaryCount; ++c) {
    if (c == kDimensionDictionary && dimensions_by_key_) continue;
    GatherColumn([c](auto& rows) -> auto& { return rows.codes[c]; });
  }
  GatherColumn([](auto& rows) -> auto& { return rows.kinds; });
  GatherColumn([](auto& rows) -> auto& { return rows.dispositions; });
  GatherColumn([](auto& rows) -> auto& { return rows.timestamps; });
  GatherColumn([](auto& rows) -> auto& { return rows.quantities; });
  GatherColumn([](auto& rows) -> auto& { return rows.lsns; });
  taken_.clear();
}

Result<bool> SegmentMerger::Step(uint32_t groups) {
  for (uint32_t i = 0; i < groups && rows_ < totals_.rows; ++i) {
    TALLY_RETURN_IF_ERROR(MergeGroup());
  }
  return rows_ == totals_.rows;
}

Result<WrittenSegment> SegmentMerger::Finish() {
  for (size_t i = 0; i < inputs_.size(); ++i) {
    if (inputs_[i]->info().quarantined == 0) continue;
    TALLY_ASSIGN_OR_RETURN(auto list, QuarantinedList::Load(inputs_[i]->file()));
    for (uint32_t k = 0; k < list.size(); ++k) {
      if (list.row(k) >= maps_[i].size()) {
        return inputs_[i]->file().Fault(inputs_[i]->file().footer().quarantined.offset,
                                        "a quarantined row is not in the segment");
      }
      tables_.quarantined.emplace_back(list.hash(k), maps_[i].At(list.row(k)));
    }
  }
  sources_.clear();
  group_ = {};
  std::vector<CommitTime> commit_times;
  for (const SegmentReader* input : inputs_) {
    TALLY_ASSIGN_OR_RETURN(const std::vector<CommitTime> times, input->CommitTimes());
    commit_times.insert(commit_times.end(), times.begin(), times.end());
  }
  tables_.commit_times = commit_times;
  auto written = encoder_->Finish(inputs_.front()->info().first_lsn, totals_, std::move(tables_));
  encoder_.reset();
  return written;
}

}  // namespace tallystick
