// What a connection does with a request: a slot for its answer, and the way to the answer. The
// state machine and its invariants are in http_connection.cc.
#include <algorithm>

#include <fmt/format.h>
#include <boost/asio/post.hpp>

#include "base/check.h"
#include "server/http_connection.h"
#include "server/page.h"
#include "server/status_document.h"

namespace tallystick {
namespace {

constexpr size_t kPieceBytes = 64 << 10;  // of a streamed answer

// The page runs what stands in it and asks this server only, whatever an account is called.
constexpr std::string_view kPagePolicy =
    "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'; img-src data:\r\n";

Answer PageAnswer() {
  return {.content_type = "text/html; charset=utf-8",
          .body = std::string(PageHtml()),
          .headers = std::string(kPagePolicy)};
}

bool ReadsRows(Route route) {
  return route == Route::kUsage || route == Route::kEvents || route == Route::kEvent ||
         route == Route::kConflicts;
}

}  // namespace

Connection::Slot& Connection::AddSlot() {
  Slot& slot = slots_.emplace_back();
  slot.id = next_slot_id_++;
  slot.route = match_.route;
  slot.keep_alive = head_.keep_alive;
  slot.head_only = head_.method == "HEAD";
  slot.chunked = head_.http11;
  slot.started_micros = request_micros_;
  return slot;
}

Connection::Slot* Connection::FindSlot(uint64_t slot_id) {
  const auto at = std::ranges::find(slots_, slot_id, &Slot::id);
  return at == slots_.end() ? nullptr : &*at;
}

void Connection::Refuse(const Status& status) {
  const bool in_head = input_ == Input::kHead;
  input_ = Input::kEnded;
  if (!reading_) ReleaseBody();
  Slot& slot = AddSlot();
  slot.keep_alive = false;
  if (in_head) {  // nothing is known of this request
    slot.route = Route::kNone;
    slot.head_only = false;
  }
  FillSlot(slot, Answer::Problem(status));
}

void Connection::AnswerEarly(Answer answer) {
  Slot& slot = AddSlot();
  slot.route = match_.route;
  if (head_.has_body()) {  // unread, so what follows could not be told from a request
    slot.keep_alive = false;
    input_ = Input::kEnded;
  }
  FillSlot(slot, answer);
}

// The request is complete.
void Connection::Dispatch() {
  input_ = Input::kHead;
  Slot& slot = AddSlot();
  const uint64_t slot_id = slot.id;
  if (!slot.keep_alive) input_ = Input::kEnded;
  if (match_.route == Route::kIngest) {
    DispatchIngest(slot_id);
  } else if (ReadsRows(match_.route)) {
    DispatchRead(slot_id);
  } else {
    FillSlot(slot, Immediate(match_.route));
  }
  ReleaseBody();
}

void Connection::DispatchIngest(uint64_t slot_id) {
  Slot& slot = *FindSlot(slot_id);
  OutcomePrinting printing;
  const auto outcomes = target_.query.Get("outcomes");
  if (!outcomes.ok()) return FillSlot(slot, Answer::Problem(outcomes.status()));
  if (*outcomes && **outcomes != "all") {
    return FillSlot(slot, Answer::Problem(Status::InvalidArgument(
                              "invalid_parameter", "parameter `outcomes` can be `all`")));
  }
  printing.all = outcomes->has_value();
  const auto originals = target_.query.GetBool("originals");
  if (!originals.ok()) return FillSlot(slot, Answer::Problem(originals.status()));
  printing.originals = *originals;

  if (encoding_ != BodyEncoding::kIdentity) {
    BodyBuffer expanded = core_.bodies.Take();
    const Status status =
        Expand(encoding_, body_.text(), core_.options.expanded_bytes_max, expanded);
    if (!status.ok()) return FillSlot(slot, Answer::Problem(status));
    ReleaseBody();
    body_ = std::move(expanded);
  }
  body_.Pad();
  Batch batch = core_.db.NewBatch();
  const Status status = core_.parser.ParseBody(body_.text(), core_.options.batch_events_max, batch);
  if (!status.ok()) return FillSlot(slot, Answer::Problem(status));
  ++core_.ingests_in_flight;
  auto done = [completions = core_.completions, connection_id = id_, slot_id,
               printing](Result<IngestResult> result) {
    completions->Push({connection_id, slot_id, printing, std::move(result)});
  };
  core_.db.IngestAsync(std::move(batch), std::move(done), {.originals = printing.originals});
}

Answer Connection::Immediate(Route route) {
  switch (route) {
    case Route::kHealth:
      return Answer::Text("OK");
    case Route::kReady: {
      const Status ready = core_.db.Ready();
      return ready.ok() ? Answer::Text("OK") : Answer::Problem(ready);
    }
    case Route::kStatus:
      return Answer::Json(StatusDocument(core_.db.GetStatus(), core_.db.Ready(),
                                         (core_.NowMicros() - core_.started_micros) / 1'000'000));
    case Route::kMetrics: {
      Answer answer = Answer::Text(core_.metrics.Render(core_.db.GetStatus()));
      answer.content_type = "text/plain; version=0.0.4; charset=utf-8";
      return answer;
    }
    case Route::kPage:
      return PageAnswer();
    default:
      TALLY_CHECK(false);  // the rest is dispatched elsewhere
  }
}

void Connection::DispatchRead(uint64_t slot_id) {
  Slot& slot = *FindSlot(slot_id);
  if (core_.metrics.queries_waiting >= core_.options.queries_waiting_max) {
    return FillSlot(slot, Answer::Problem(Status::Unavailable("queries_full", "try again later")));
  }
  ++core_.metrics.queries_waiting;
  boost::asio::post(
      core_.queries, [self = weak_from_this(), &core = core_, slot_id, route = match_.route,
                      parameter = std::string(match_.parameter), query = std::move(target_.query)] {
        ReadReply read = RunRead(core.db, route, parameter, query);
        PieceReply reply{std::move(read.answer), std::move(read.stream)};
        if (reply.stream) reply.piece = reply.stream->Next(kPieceBytes);
        boost::asio::post(core.io, [self, &core, slot_id, reply = std::move(reply)]() mutable {
          --core.metrics.queries_waiting;
          if (const auto connection = self.lock())
            connection->OnReadReply(slot_id, std::move(reply));
        });
      });
}

void Connection::OnReadReply(uint64_t slot_id, PieceReply reply) {
  Slot* const slot = FindSlot(slot_id);
  if (slot == nullptr) return;
  if (reply.stream && !reply.piece.ok()) {
    FillSlot(*slot, Answer::Problem(reply.piece.status()));
  } else if (!reply.stream) {
    FillSlot(*slot, reply.answer);
  } else if (reply.piece->last) {
    FillSlot(*slot, Answer::Json(std::move(reply.piece->text)));
  } else {
    if (!slot->chunked) {  // HTTP/1.0: the end of the answer is the end of the connection
      slot->keep_alive = false;
      input_ = Input::kEnded;
    }
    AppendStreamHead(slot->bytes, kJsonType, slot->chunked,
                     {.keep_alive = slot->keep_alive, .date = core_.date});
    slot->status = 200;
    slot->last = slot->head_only;
    slot->stream = std::move(reply.stream);
    OnPiece(slot_id, slot->head_only ? RowStream::Piece() : std::move(*reply.piece));
    return;
  }
  Advance();
}

void Connection::RequestPiece(const Slot& slot) {
  ++core_.metrics.queries_waiting;
  boost::asio::post(core_.queries, [self = weak_from_this(), &core = core_, slot_id = slot.id,
                                    stream = slot.stream]() mutable {
    Result<RowStream::Piece> piece = stream->Next(kPieceBytes);
    stream.reset();
    boost::asio::post(core.io, [self, &core, slot_id, piece = std::move(piece)]() mutable {
      --core.metrics.queries_waiting;
      if (const auto connection = self.lock()) connection->OnPiece(slot_id, std::move(piece));
    });
  });
}

void Connection::OnPiece(uint64_t slot_id, Result<RowStream::Piece> piece) {
  Slot* const slot = FindSlot(slot_id);
  if (slot == nullptr || closed_) return;
  if (!piece.ok()) {
    core_.Log(LogLevel::kError,
              fmt::format("an answer was cut off: {}", piece.status().ToString()));
    return CloseLoudly();
  }
  slot->last |= piece->last;
  if (slot->chunked && !slot->head_only) {
    AppendChunk(slot->bytes, piece->text);
    if (slot->last) AppendLastChunk(slot->bytes);
  } else {
    slot->bytes += piece->text;
  }
  slot->ready = true;
  Advance();
}

void Connection::FillSlot(Slot& slot, const Answer& answer) {
  if (answer.status == 500)
    core_.Log(LogLevel::kError, fmt::format("answered 500: {}", answer.body));
  AppendAnswer(slot.bytes, answer,
               {.keep_alive = slot.keep_alive, .head_only = slot.head_only, .date = core_.date});
  slot.status = answer.status;
  slot.ready = true;
}

void Connection::Complete(uint64_t slot_id, Answer answer) {
  Slot* const slot = FindSlot(slot_id);
  if (slot == nullptr || closed_) return;
  FillSlot(*slot, answer);
  Advance();
}

}  // namespace tallystick
