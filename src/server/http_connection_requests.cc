// What a connection does with a request: a slot for its answer, and the way to the answer. The
// state machine and its invariants are in http_connection.cc.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/check.h"
#include "base/utf8.h"
#include "server/backup_json.h"
#include "server/http_connection.h"
#include "server/loopback.h"
#include "server/page.h"
#include "server/query_json.h"
#include "server/status_document.h"

namespace tallystick {
namespace {

constexpr size_t kPieceBytes = 64 << 10;  // of a streamed answer
constexpr int64_t kLsnPollMs = 5;         // of a read that waits for its min_lsn

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
  switch (route) {
    case Route::kUsageAll:
    case Route::kAccounts:
    case Route::kUsage:
    case Route::kEvents:
    case Route::kExplain:
    case Route::kVerify:
    case Route::kQueryJson:
    case Route::kEvent:
    case Route::kConflicts:
      return true;
    default:
      return false;
  }
}

// Only the bodies of events may be large.
uint64_t BytesMax(Route route, uint64_t all) {
  if (route == Route::kQueryJson) return std::min<uint64_t>(all, kQueryBodyBytesMax);
  if (route == Route::kBackup) return std::min<uint64_t>(all, kBackupBodyBytesMax);
  return all;
}

Status CancelledStatus() {
  return Status::Unavailable("cancelled", "the connection was closed, or its sending side was");
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
  } else if (match_.route == Route::kBackup) {
    DispatchBackup(slot_id);
  } else if (ReadsRows(match_.route)) {
    DispatchRead(slot_id);
  } else {
    FillSlot(slot, Immediate(match_.route));
  }
  ReleaseBody();
}

uint64_t Connection::BodyBytesMax() const {
  return BytesMax(match_.route, core_.options.body_bytes_max);
}

uint64_t Connection::ExpandedBytesMax() const {
  return BytesMax(match_.route, core_.options.expanded_bytes_max);
}

bool Connection::ExpandBody(Slot& slot) {
  if (encoding_ == BodyEncoding::kIdentity) return true;
  BodyBuffer expanded = core_.bodies.Take();
  const Status status = Expand(encoding_, body_.text(), ExpandedBytesMax(), expanded);
  if (!status.ok()) {
    FillSlot(slot, Answer::Problem(status));
    return false;
  }
  ReleaseBody();
  body_ = std::move(expanded);
  return true;
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

  if (!ExpandBody(slot)) return;
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

// The answer comes when the backup is complete; meanwhile the status tells how far it is. It goes
// on also when nobody waits for it any more.
void Connection::DispatchBackup(uint64_t slot_id) {
  Slot& slot = *FindSlot(slot_id);
  boost::system::error_code error;
  const auto peer = socket_.remote_endpoint(error);
  if (error || !IsLoopback(peer.address())) {
    return FillSlot(slot, Answer::Problem(Status::InvalidArgument(
                              "not_loopback", "a backup is asked for on the server's machine")));
  }
  if (!ExpandBody(slot)) return;
  body_.Pad();
  const auto body = ParseBackupBody(body_.text());
  if (!body.ok()) return FillSlot(slot, Answer::Problem(body.status()));
  auto done = [completions = core_.backups, connection_id = id_,
               slot_id](Result<BackupReport> result) {
    completions->Push({connection_id, slot_id, std::move(result)});
  };
  core_.db.BackupAsync(body->target, std::move(done), body->options);
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
    case Route::kScrub:
      return StartScrub();
    case Route::kPage:
      return PageAnswer();
    default:
      TALLY_CHECK(false);  // the rest is dispatched elsewhere
  }
}

// The body says nothing; that one is asked for keeps web pages of others from asking.
Answer Connection::StartScrub() {
  boost::system::error_code error;
  const auto peer = socket_.remote_endpoint(error);
  if (error || !IsLoopback(peer.address())) {
    return Answer::Problem(
        Status::InvalidArgument("not_loopback", "a scrub is asked for on the server's machine"));
  }
  const Status asked = core_.db.StartScrub();
  return asked.ok() ? Answer::Json(R"({"started":true})") : Answer::Problem(asked);
}

void Connection::DispatchRead(uint64_t slot_id) {
  Slot& slot = *FindSlot(slot_id);
  ServerMetrics& metrics = core_.metrics;
  if (metrics.queries_waiting >= core_.options.queries_waiting_max) {
    return FillSlot(slot, Answer::Problem(Status::Unavailable("queries_full", "try again later")));
  }
  if (!ExpandBody(slot)) return;
  auto read = std::make_shared<Read>();
  read->body = body_.text();
  ReleaseBody();
  if (metrics.body_memory_bytes + read->body.size() > core_.options.body_memory_bytes_max) {
    return FillSlot(slot, Answer::Problem(Status::Unavailable(
                              "body_memory_full", "other bodies are being read, or wait")));
  }
  metrics.body_memory_bytes += read->body.size();
  ++metrics.queries_waiting;
  slot.cancelled = std::make_shared<std::atomic<bool>>(false);
  read->route = match_.route;
  read->parameter = match_.parameter;
  read->query = std::move(target_.query);
  read->format = PrefersCsv(head_.accept) ? RowFormat::kCsv : RowFormat::kJson;
  read->cancelled = slot.cancelled;
  read->wait_until_micros = core_.NowMicros() + int64_t{core_.options.lsn_wait_ms_max} * 1000;
  RunQuery(core_, weak_from_this(), slot_id, std::move(read));
}

void Connection::RunQuery(ServerCore& core, const std::weak_ptr<Connection>& asker,
                          uint64_t slot_id, SharedRead read) {
  boost::asio::post(core.queries, [&core, asker, slot_id, read = std::move(read)]() mutable {
    PieceReply reply;
    if (*read->cancelled) {
      reply.read.status = CancelledStatus();
      reply.read.answer = Answer::Problem(reply.read.status);
    } else {
      reply.read = RunRead(core.db, read->route, read->parameter, read->query,
                           {read->body, read->format, read->cancelled});
      reply.stream = std::move(reply.read.stream);
    }
    if (reply.stream) reply.piece = reply.stream->Next(kPieceBytes);
    boost::asio::post(core.io, [&core, asker, slot_id, read = std::move(read),
                                reply = std::move(reply)]() mutable {
      if (reply.read.awaited.value > 0) {
        AwaitLsn(core, asker, slot_id, read, std::move(reply));
      } else {
        OnQueryDone(core, asker, slot_id, read, std::move(reply));
      }
    });
  });
}

// Runs the read again once its min_lsn is visible. When that takes too long, or nobody waits any
// more, or the server stops, the refusal is the answer.
void Connection::AwaitLsn(ServerCore& core, const std::weak_ptr<Connection>& asker,
                          uint64_t slot_id, const SharedRead& read, PieceReply refusal) {
  if (core.db.VisibleLsn() >= refusal.read.awaited) return RunQuery(core, asker, slot_id, read);
  const auto connection = asker.lock();
  const bool waits = connection && !connection->draining_ && !*read->cancelled;
  if (!waits || core.NowMicros() >= read->wait_until_micros) {
    if (*read->cancelled) {
      refusal.read.status = CancelledStatus();
      refusal.read.answer = Answer::Problem(refusal.read.status);
    }
    return OnQueryDone(core, asker, slot_id, read, std::move(refusal));
  }
  auto timer = std::make_shared<boost::asio::steady_timer>(core.io);
  timer->expires_after(std::chrono::milliseconds(kLsnPollMs));
  timer->async_wait([&core, asker, slot_id, read, timer,
                     refusal = std::move(refusal)](const boost::system::error_code&) mutable {
    AwaitLsn(core, asker, slot_id, read, std::move(refusal));
  });
}

void Connection::OnQueryDone(ServerCore& core, const std::weak_ptr<Connection>& asker,
                             uint64_t slot_id, const SharedRead& read, PieceReply reply) {
  --core.metrics.queries_waiting;
  core.metrics.body_memory_bytes -= read->body.size();
  core.metrics.NoteQueryMemory(reply.read.memory_bytes);
  if (!reply.read.faults.empty()) {
    core.metrics.verify_faults += reply.read.faults.size();
    core.Log(LogLevel::kError,
             fmt::format("verify of account {}: {} faults, the first: {}", Shown(read->parameter),
                         reply.read.faults.size(), reply.read.faults.front()));
  }
  const auto connection = asker.lock();
  if (connection && connection->FindSlot(slot_id) != nullptr) {
    connection->OnReadReply(slot_id, std::move(reply));
  } else {
    core.metrics.CountQuery(CancelledStatus());
  }
}

void Connection::OnReadReply(uint64_t slot_id, PieceReply reply) {
  Slot& slot = *FindSlot(slot_id);
  if (!reply.stream || !reply.piece.ok() || reply.piece->last) {
    Status status = reply.read.status;
    if (reply.stream) status = reply.piece.status();
    core_.metrics.CountQuery(status);
    Answer answer = status.ok() ? std::move(reply.read.answer) : Answer::Problem(status);
    if (reply.stream && status.ok()) answer.body = std::move(reply.piece->text);
    FillSlot(slot, answer);
    return Advance();
  }
  if (!slot.chunked) {  // HTTP/1.0: the end of the answer is the end of the connection
    slot.keep_alive = false;
    input_ = Input::kEnded;
  }
  AppendStreamHead(slot.bytes, reply.read.answer, slot.chunked,
                   {.keep_alive = slot.keep_alive, .date = core_.date});
  slot.status = 200;
  slot.last = slot.head_only;
  slot.stream = std::move(reply.stream);
  OnPiece(slot_id, slot.head_only ? RowStream::Piece() : std::move(*reply.piece));
}

void Connection::RequestPiece(const Slot& slot) {
  ++core_.metrics.queries_waiting;
  boost::asio::post(core_.queries, [self = weak_from_this(), &core = core_, slot_id = slot.id,
                                    cancelled = slot.cancelled, stream = slot.stream]() mutable {
    Result<RowStream::Piece> piece = CancelledStatus();
    if (!*cancelled) piece = stream->Next(kPieceBytes);
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
    core_.metrics.CountQuery(piece.status());
    slot->stream.reset();
    if (piece.status().reason() != "cancelled") {
      core_.Log(LogLevel::kError,
                fmt::format("an answer was cut off: {}", piece.status().ToString()));
    }
    return CloseLoudly();
  }
  slot->last |= piece->last;
  if (slot->last) {
    core_.metrics.CountQuery(Status::Ok());
    slot->stream.reset();
  }
  if (slot->chunked && !slot->head_only) {
    AppendChunk(slot->bytes, piece->text);
    if (slot->last) AppendLastChunk(slot->bytes);
  } else {
    slot->bytes += piece->text;
  }
  slot->ready = true;
  Advance();
}

void Connection::CancelReads() {
  for (const Slot& slot : slots_) {
    if (slot.cancelled) *slot.cancelled = true;
  }
}

void Connection::DropSlots() {
  CancelReads();
  for (const Slot& slot : slots_) {
    if (slot.stream) core_.metrics.CountQuery(CancelledStatus());
  }
  slots_.clear();
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
