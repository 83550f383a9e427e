// Merges the rows of adjacent segments into one, in bounded memory: a row group of each input and
// of the output, the dictionaries and tables, and some six bits a row for the maps of row numbers.
//
// The output is byte for byte what WriteSegment would make of all the rows together.
//
// Thread rule: one thread; the inputs must outlive it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "segment/merge_source.h"
#include "segment/row_map.h"
#include "segment/segment_encoder.h"

namespace tallystick {

// By input: where its rows are now.
using RowMaps = std::vector<RowMap>;

class SegmentMerger {
 public:
  // Creates `path` (which must not exist). `inputs`: two or more, adjacent in LSN order, of one
  // database. On an error, here or later, the caller removes the file. `governor` may be null.
  static Result<std::unique_ptr<SegmentMerger>> Start(FileSystem& fs, const std::string& path,
                                                      const SegmentSpec& spec,
                                                      std::vector<const SegmentReader*> inputs,
                                                      IoGovernor* governor);

  // Merges the next row groups, at most this many. True: all rows are written.
  Result<bool> Step(uint32_t groups);
  uint64_t rows_done() const { return rows_; }

  // Writes the rest of the file and syncs it; the caller syncs the directory. The totals are those
  // of the inputs' footers. REQUIRES: Step gave true; called once.
  Result<WrittenSegment> Finish();
  // REQUIRES: Finish was ok.
  const RowMaps& maps() const { return maps_; }

 private:
  SegmentMerger(const SegmentSpec& spec, std::vector<const SegmentReader*> inputs);

  Status LoadDictionaries(size_t dictionary, std::vector<SegmentFile::Block>* blocks,
                          std::vector<DictionaryView>* views) const;
  Status MergeColumn(size_t dictionary, std::vector<CodeMaps>* code_maps);
  Status MakeSources();
  Status MergeGroup();
  // Copies the columns of the rows that were taken into group_.
  void Gather();
  template <typename Column>
  void GatherColumn(Column column);
  // The source whose current row is the next one, and how many rows of it are; 0: none is left.
  uint32_t NextRun(uint32_t most, size_t* source) const;

  const SegmentSpec spec_;
  const std::vector<const SegmentReader*> inputs_;
  SegmentTotals totals_;
  bool dimensions_by_key_ = false;
  SegmentTables tables_;
  // Of dimension sets, where they are put together anew: what sources look into.
  std::vector<SegmentFile::Block> dimension_blocks_;
  std::vector<DictionaryView> dimension_views_;
  std::vector<std::unique_ptr<MergeSource>> sources_;
  std::unique_ptr<SegmentEncoder> encoder_;
  struct TakenRow {
    uint32_t source = 0;
    uint32_t row = 0;  // of its row group
  };
  GroupRows group_;
  std::vector<TakenRow> taken_;  // for group_, and not yet in its columns
  RowMaps maps_;
  uint64_t rows_ = 0;
};

}  // namespace tallystick
