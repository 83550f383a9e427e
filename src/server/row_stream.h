// RowStream: an answer that is made piece by piece, so that its size does not matter; and
// ListStream, the one that every list of rows is.
//
// Thread rule: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "tallystick/event.h"
#include "tallystick/status.h"

namespace tallystick {

enum class RowFormat : uint8_t { kJson, kCsv };

// Holds rows of the database alive; must be destroyed before the Db closes.
class RowStream {
 public:
  struct Piece {
    std::string text;
    bool last = false;
  };

  virtual ~RowStream() = default;
  // About `bytes` more, at least something. REQUIRES: none before was the last.
  virtual Result<Piece> Next(size_t bytes) = 0;
  // Where the list goes on; empty if it does not. After the last piece.
  virtual std::string NextCursor() const = 0;
};

// Where a ListStream has its rows from. It knows the format.
class RowSource {
 public:
  virtual ~RowSource() = default;
  // Appends the next row; false at the end. A line of CSV has its end.
  virtual Result<bool> AppendNext(std::string& out) = 0;
  // The fields of the JSON answer behind the list, without the closing brace.
  virtual void AppendTail(std::string& out) const = 0;
  virtual std::string NextCursor() const { return ""; }
};

class ListStream final : public RowStream {
 public:
  // `head`: the JSON up to and with the list's bracket, or the CSV header with its line's end.
  ListStream(RowFormat format, std::string head, std::unique_ptr<RowSource> rows)
      : format_(format), head_(std::move(head)), rows_(std::move(rows)) {}

  Result<Piece> Next(size_t bytes) override;
  std::string NextCursor() const override { return rows_->NextCursor(); }

 private:
  const RowFormat format_;
  std::string head_;  // empty once sent
  const std::unique_ptr<RowSource> rows_;
  bool begun_ = false;  // a row was written
};

}  // namespace tallystick
