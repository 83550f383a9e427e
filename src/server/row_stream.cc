#include "server/row_stream.h"

#include <utility>

#include "base/result.h"

namespace tallystick {

Result<RowStream::Piece> ListStream::Next(size_t bytes) {
  Piece piece{.text = std::exchange(head_, {})};
  const bool json = format_ == RowFormat::kJson;
  do {
    const size_t before = piece.text.size();
    if (begun_ && json) piece.text += ',';
    TALLY_ASSIGN_OR_RETURN(const bool more, rows_->AppendNext(piece.text));
    if (more) {
      begun_ = true;
      continue;
    }
    piece.text.resize(before);  // without the comma
    if (json) {
      piece.text += ']';
      rows_->AppendTail(piece.text);
      piece.text += '}';
    }
    piece.last = true;
  } while (!piece.last && piece.text.size() < bytes);
  return piece;
}

}  // namespace tallystick
