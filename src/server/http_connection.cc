// One connection as a state machine on the io thread.
//
// This file holds input and output; http_connection_requests.cc what is done with a request between
// them.
//
// Input goes kHead -> (kBody | kChunks) -> kHead ... -> kEnded. Each request becomes a slot;
// answers may come in any order and leave in the order of the slots.
//
// Invariants:
//  1. At most one read (or watch) and one write are under way; the buffer of a read is not touched
//  meanwhile.
//  2. slots_ holds at most pipeline_max requests (and their 100 Continue); beyond, reading pauses.
//  3. Nothing is read behind a request whose answer will close the connection.
//  4. body_accounted_ is this connection's part of metrics.body_memory_bytes.
//  5. Once closed_, nothing is started any more; outstanding operations end with an error.
//  6. A read of the database whose slot is gone is cancelled.
#include "server/http_connection.h"

#include <algorithm>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>

#include "base/check.h"
#include "base/text.h"

namespace tallystick {
namespace {

constexpr size_t kFirstBodyBytes = 256 << 10;
constexpr size_t kOutBytesMax = 256 << 10;  // gathered for one write, but for one answer
constexpr int64_t kLingerMicros = 1'000'000;
constexpr int64_t kDrainLingerMicros = 100'000;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

bool IsJsonContentType(std::string_view header) {
  const std::string_view type = TrimBlanks(header.substr(0, header.find(';')));
  if (EqualsIgnoringCase(type, "application/json")) return true;
  constexpr std::string_view kPrefix = "application/";
  constexpr std::string_view kSuffix = "+json";
  return type.size() > kPrefix.size() + kSuffix.size() &&
         EqualsIgnoringCase(type.substr(0, kPrefix.size()), kPrefix) &&
         EqualsIgnoringCase(type.substr(type.size() - kSuffix.size()), kSuffix);
}

// What a method may begin with; anything else is no HTTP and need not be waited for.
bool IsTokenCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

Status Timeout(std::string_view what) { return Status::InvalidArgument("request_timeout", what); }

}  // namespace

Connection::Connection(ServerCore& core, uint64_t id, boost::asio::ip::tcp::socket socket)
    : core_(core),
      id_(id),
      socket_(std::move(socket)),
      in_(core.options.header_bytes_max),
      idle_micros_(core.NowMicros()) {}

Connection::~Connection() { core_.metrics.body_memory_bytes -= body_accounted_; }

void Connection::Start() {
  boost::system::error_code ignored;
  socket_.set_option(boost::asio::ip::tcp::no_delay(true), ignored);
  Advance();
}

void Connection::Advance() {
  if (advancing_ || closed_) return;
  const auto self = shared_from_this();  // Close() forgets the connection
  advancing_ = true;
  do {
    Process();
    Gather();
  } while (paused_ && slots_.size() < core_.options.pipeline_max && !closed_);
  advancing_ = false;
  if ((draining_ || peer_ended_) && !paused_) input_ = Input::kEnded;
  StartWrite();
  StartRead();
  FinishIfDone();
}

// --- input ---

void Connection::Process() {
  bool more = true;
  while (more && !closed_) {
    paused_ = false;
    switch (input_) {
      case Input::kHead:
        more = ProcessHead();
        break;
      case Input::kBody:
        more = ProcessBody();
        break;
      case Input::kChunks:
        more = ProcessChunks();
        break;
      case Input::kEnded:
        return;
    }
  }
}

// True if a head was read (or refused).
bool Connection::ProcessHead() {
  if (slots_.size() >= core_.options.pipeline_max) {
    paused_ = true;
    return false;
  }
  if (searched_ == 0) {  // blank lines before a request are to be overlooked (RFC 9112, 2.2)
    while (begin_ < end_ && (in_[begin_] == '\r' || in_[begin_] == '\n')) ++begin_;
  }
  const std::string_view bytes = Buffered();
  if (bytes.empty()) return false;
  if (searched_ == 0) {
    request_micros_ = core_.NowMicros();
    if (!IsTokenCharacter(bytes[0])) {
      Refuse(Status::InvalidArgument("invalid_request", "this is not HTTP"));
      return true;
    }
  }
  const size_t head_bytes = FindHeadEnd(bytes, searched_);
  if (head_bytes == 0) {
    searched_ = bytes.size();
    if (bytes.size() < in_.size()) return false;
    Refuse(Status::InvalidArgument("headers_too_large",
                                   fmt::format("the head is longer than {} bytes", in_.size())));
    return true;
  }
  searched_ = 0;
  const Status status =
      ParseRequestHead(bytes.substr(0, head_bytes), core_.options.header_count_max, &head_);
  begin_ += head_bytes;
  request_micros_ = core_.NowMicros();
  if (!status.ok()) {
    Refuse(status);
  } else {
    OnHead();
  }
  return true;
}

// Everything that can be said of a request before its body is read.
void Connection::OnHead() {
  auto target = Target::Parse(head_.target);
  if (!target.ok()) return AnswerEarly(Answer::Problem(target.status()));
  target_ = std::move(*target);
  match_ = MatchRoute(target_.segments);
  if (match_.route == Route::kNone) {
    return AnswerEarly(Answer::Problem(Status::NotFound("not_found", "no such path")));
  }
  if (!IsAllowed(match_.route, head_.method)) {
    Answer answer = Answer::Problem(Status::InvalidArgument(
        "method_not_allowed", fmt::format("allowed: {}", AllowedMethods(match_.route))));
    answer.allow = AllowedMethods(match_.route);
    return AnswerEarly(std::move(answer));
  }
  encoding_ = BodyEncoding::kIdentity;
  if (TakesBody(match_.route)) {
    if (!IsJsonContentType(head_.content_type)) {
      return AnswerEarly(Answer::Problem(Status::InvalidArgument(
          "unsupported_media_type", "content-type must be application/json")));
    }
    const auto encoding = ParseBodyEncoding(head_.content_encoding);
    if (!encoding.ok()) return AnswerEarly(Answer::Problem(encoding.status()));
    encoding_ = *encoding;
  }
  if (head_.content_length.value_or(0) > BodyBytesMax()) {
    return AnswerEarly(Answer::Problem(Status::InvalidArgument(
        "body_too_large", fmt::format("the body may have {} bytes", BodyBytesMax()))));
  }
  if (!head_.has_body()) return Dispatch();

  if (head_.expects_continue && head_.http11 && Buffered().empty()) {
    Slot& slot = AddSlot();
    slot.interim = true;
    slot.bytes = kContinue;
    slot.ready = true;
  }
  body_ = core_.bodies.Take();
  if (!ReserveBody(body_.capacity())) return;
  chunks_ = ChunkDecoder();
  body_bytes_ = head_.content_length.value_or(0);
  progress_micros_ = request_micros_;
  progress_bytes_ = 0;
  input_ = head_.chunked ? Input::kChunks : Input::kBody;
}

bool Connection::ProcessBody() {
  const size_t bytes = std::min<uint64_t>(Buffered().size(), body_bytes_ - body_.size());
  if (bytes > 0) {
    if (!ReserveBody(
            std::max<size_t>(body_.size() + bytes, std::min(body_bytes_, kFirstBodyBytes)))) {
      return true;
    }
    std::copy_n(in_.data() + begin_, bytes, body_.end());
    body_.Commit(bytes);
    begin_ += bytes;
  }
  if (body_.size() < body_bytes_) return false;
  Dispatch();
  return true;
}

bool Connection::ProcessChunks() {
  while (!chunks_.done()) {
    const auto step = chunks_.Next(Buffered());
    if (!step.ok()) {
      Refuse(step.status());
      return true;
    }
    if (step->consumed == 0) return false;
    const std::string_view data = step->data;
    if (body_.size() + data.size() > BodyBytesMax()) {
      Refuse(Status::InvalidArgument("body_too_large",
                                     fmt::format("the body may have {} bytes", BodyBytesMax())));
      return true;
    }
    if (data.size() > body_.room() &&
        !ReserveBody(
            std::max({body_.size() + data.size(), body_.capacity() * 2, kFirstBodyBytes}))) {
      return true;
    }
    std::copy(data.begin(), data.end(), body_.end());
    body_.Commit(data.size());
    begin_ += step->consumed;
  }
  Dispatch();
  return true;
}

// False, and refused, if all bodies together would take too much.
bool Connection::ReserveBody(size_t capacity) {
  uint64_t& all = core_.metrics.body_memory_bytes;
  const size_t wanted = std::max(capacity, body_.capacity());
  if (wanted > body_accounted_ &&
      all + (wanted - body_accounted_) > core_.options.body_memory_bytes_max) {
    Refuse(Status::Unavailable("body_memory_full", "other bodies are being read"));
    return false;
  }
  body_.Reserve(wanted);
  all += wanted - body_accounted_;
  body_accounted_ = wanted;
  return true;
}

// REQUIRES: no read into the body is under way.
void Connection::ReleaseBody() {
  core_.metrics.body_memory_bytes -= body_accounted_;
  body_accounted_ = 0;
  core_.bodies.Give(std::exchange(body_, {}));
}

void Connection::StartRead() {
  if (closed_ || reading_ || watching_ || peer_ended_) return;
  if (!lingering_ && (paused_ || draining_ || input_ == Input::kEnded)) return StartWatch();
  char* into = nullptr;
  size_t room = 0;
  if (input_ == Input::kBody && !lingering_) {
    if (body_.room() == 0) {
      const uint64_t grown = std::max<uint64_t>(kFirstBodyBytes, uint64_t{body_.capacity()} * 2);
      if (!ReserveBody(std::min(body_bytes_, grown))) return Advance();
    }
    into = body_.end();
    room = std::min<uint64_t>(body_.room(), body_bytes_ - body_.size());
  } else {
    if (lingering_) begin_ = end_ = 0;
    std::copy(in_.begin() + static_cast<ptrdiff_t>(begin_),
              in_.begin() + static_cast<ptrdiff_t>(end_), in_.begin());
    end_ -= begin_;
    begin_ = 0;
    into = in_.data() + end_;
    room = in_.size() - end_;
  }
  TALLY_CHECK(room > 0);
  reading_ = true;
  socket_.async_read_some(
      boost::asio::buffer(into, room),
      [self = shared_from_this()](const boost::system::error_code& error, size_t bytes) {
        self->OnRead(error, bytes);
      });
}

// What it sent completely is still answered, if it only ended its sending.
void Connection::OnPeerEnded(const boost::system::error_code& error) {
  peer_ended_ = true;
  peer_ended_micros_ = core_.NowMicros();
  if (!paused_) {
    input_ = Input::kEnded;
    ReleaseBody();
  }
  if (error != boost::asio::error::eof) return Close();
  Advance();
}

// Nothing is to be read now, but reads that nobody waits for any more should not go on.
void Connection::StartWatch() {
  if (unread_ || slots_.empty()) return;
  watching_ = true;
  socket_.async_wait(
      boost::asio::ip::tcp::socket::wait_read,
      [self = shared_from_this()](const boost::system::error_code&) { self->OnWatch(); });
}

void Connection::OnWatch() {
  watching_ = false;
  if (closed_) return;
  char byte = 0;
  boost::system::error_code error;
  socket_.non_blocking(true, error);
  if (!error) {
    socket_.receive(boost::asio::buffer(&byte, 1), boost::asio::socket_base::message_peek, error);
  }
  if (error == boost::asio::error::would_block) return StartRead();
  if (error) return OnPeerEnded(error);
  unread_ = true;
  StartRead();
}

void Connection::OnRead(const boost::system::error_code& error, size_t bytes) {
  reading_ = false;
  if (closed_) return;
  core_.metrics.bytes_received += bytes;
  if (error) return OnPeerEnded(error);
  unread_ = false;
  if (input_ == Input::kEnded) {
    begin_ = end_ = 0;
    ReleaseBody();
  } else if (input_ == Input::kBody) {
    body_.Commit(bytes);
  } else {
    end_ += bytes;
  }
  if (input_ == Input::kBody || input_ == Input::kChunks) {
    progress_bytes_ += bytes;
    if (progress_bytes_ >= core_.options.body_progress_bytes_min) {
      progress_bytes_ = 0;
      progress_micros_ = core_.NowMicros();
    }
  }
  Advance();
}

void Connection::Tick(int64_t now_micros) {
  if (closed_) return;
  const auto later_than = [now_micros](int64_t since, uint32_t timeout_ms) {
    return now_micros - since > int64_t{timeout_ms} * 1000;
  };
  if (writing_ && later_than(write_micros_, core_.options.write_timeout_ms)) return Close();
  if (lingering_ && now_micros > linger_until_micros_) return Close();
  if (peer_ended_ && later_than(peer_ended_micros_, core_.options.half_closed_ms_max)) {
    CancelReads();
  }
  const bool idle = input_ == Input::kHead && Buffered().empty() && slots_.empty() && !writing_;
  if (idle && later_than(idle_micros_, core_.options.idle_timeout_ms)) return Close();
  CheckInputDeadline(now_micros);
}

void Connection::CheckInputDeadline(int64_t now_micros) {
  const auto later_than = [now_micros](int64_t since, uint32_t timeout_ms) {
    return now_micros - since > int64_t{timeout_ms} * 1000;
  };
  const ServerOptions& options = core_.options;
  if (input_ == Input::kHead) {
    if (paused_ || Buffered().empty() || !later_than(request_micros_, options.header_timeout_ms))
      return;
    Refuse(Timeout("the head took too long"));
  } else if (input_ == Input::kBody || input_ == Input::kChunks) {
    if (later_than(request_micros_, options.body_timeout_ms)) {
      Refuse(Timeout("the body took too long"));
    } else if (later_than(progress_micros_, options.body_progress_timeout_ms)) {
      Refuse(Timeout("the body came too slowly"));
    } else {
      return;
    }
  } else {
    return;
  }
  Advance();
}

// --- output ---

// Moves what is ready, in order, to the write buffer.
void Connection::Gather() {
  if (writing_) return;
  while (!slots_.empty() && slots_.front().ready && out_.size() < kOutBytesMax) {
    Slot& slot = slots_.front();
    if (out_.empty()) {
      out_ = std::move(slot.bytes);
    } else {
      out_ += slot.bytes;
    }
    slot.bytes.clear();
    slot.ready = false;
    if (!slot.last) {
      RequestPiece(slot);  // is made while this one is being sent
      return;
    }
    if (!slot.interim) {
      core_.metrics.CountAnswer(slot.route, slot.status, core_.NowMicros() - slot.started_micros);
    }
    const bool closing = !slot.interim && !slot.keep_alive;
    slots_.pop_front();
    if (closing) DropSlots();
  }
}

void Connection::StartWrite() {
  if (closed_ || writing_ || out_.empty()) return;
  writing_ = true;
  written_ = 0;
  write_micros_ = core_.NowMicros();
  socket_.async_write_some(
      boost::asio::buffer(out_),
      [self = shared_from_this()](const boost::system::error_code& error, size_t bytes) {
        self->OnWrite(error, bytes);
      });
}

void Connection::OnWrite(const boost::system::error_code& error, size_t bytes) {
  if (closed_) return;
  if (error) return Close();
  core_.metrics.bytes_sent += bytes;
  written_ += bytes;
  write_micros_ = core_.NowMicros();
  if (written_ < out_.size()) {
    socket_.async_write_some(
        boost::asio::buffer(out_.data() + written_, out_.size() - written_),
        [self = shared_from_this()](const boost::system::error_code& next_error,
                                    size_t next_bytes) { self->OnWrite(next_error, next_bytes); });
    return;
  }
  writing_ = false;
  idle_micros_ = write_micros_;
  if (out_.capacity() > kOutBytesMax) out_ = std::string();
  out_.clear();
  Advance();
}

// All is answered and no more will be read: says so to the peer, and waits a moment for it to
// close, so that an unread rest of its request does not make its side drop our answer.
void Connection::FinishIfDone() {
  if (closed_ || input_ != Input::kEnded || !slots_.empty() || writing_) return;
  if (peer_ended_) return Close();
  if (lingering_) return;
  boost::system::error_code ignored;
  socket_.shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
  lingering_ = true;
  linger_until_micros_ = core_.NowMicros() + (draining_ ? kDrainLingerMicros : kLingerMicros);
  StartRead();
}

void Connection::Drain() {
  draining_ = true;
  Advance();
}

// With a reset, so that an answer that was cut off cannot be taken for a whole one.
void Connection::CloseLoudly() {
  boost::system::error_code ignored;
  socket_.set_option(boost::asio::socket_base::linger(true, 0), ignored);
  Close();
}

void Connection::Close() {
  if (closed_) return;
  closed_ = true;
  boost::system::error_code ignored;
  socket_.close(ignored);
  DropSlots();
  core_.metrics.connections_open -= 1;
  core_.connections.erase(id_);
}

}  // namespace tallystick
