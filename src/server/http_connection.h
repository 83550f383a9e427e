// Connection: one client. Reads requests, hands them on, writes the answers in order.
//
// Thread rule: the io thread only.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "server/answer.h"
#include "server/chunk_decoder.h"
#include "server/compression.h"
#include "server/query_string.h"
#include "server/reads.h"
#include "server/request_head.h"
#include "server/routes.h"
#include "server/server_core.h"

namespace tallystick {

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ServerCore& core, uint64_t id, boost::asio::ip::tcp::socket socket);
  ~Connection();

  void Start();
  // An answer that was asked for elsewhere. Unknown slots are ignored (the connection gave up on
  // them).
  void Complete(uint64_t slot_id, Answer answer);
  // Checks the deadlines; called every few milliseconds.
  void Tick(int64_t now_micros);
  // No further request is read; closes when what was read is answered.
  void Drain();
  // Closes now.
  void Close();

 private:
  enum class Input : uint8_t { kHead, kBody, kChunks, kEnded };
  using SharedStream = std::shared_ptr<RowStream>;

  // A request that is not yet wholly answered.
  struct Slot {
    uint64_t id = 0;
    Route route = Route::kNone;
    bool keep_alive = true;
    bool head_only = false;
    bool chunked = true;   // if it streams: HTTP/1.1
    bool interim = false;  // 100 Continue: not an answer
    bool ready = false;    // `bytes` can go out
    bool last = true;      // and they are the end of it
    int status = 0;
    int64_t started_micros = 0;
    std::string bytes;
    SharedStream stream;                           // until its last piece
    std::shared_ptr<std::atomic<bool>> cancelled;  // of a read: set when nobody waits for it
  };

  // A read on its way through the query pool.
  struct Read {
    Route route = Route::kNone;
    std::string parameter;
    QueryString query;
    std::string body;
    RowFormat format = RowFormat::kJson;
    Cancelled cancelled;
    int64_t wait_until_micros = 0;  // for its min_lsn
  };
  using SharedRead = std::shared_ptr<const Read>;

  struct PieceReply {
    ReadReply read;
    SharedStream stream;
    Result<RowStream::Piece> piece = RowStream::Piece();
  };

  // Does all that can be done without waiting, then starts what must be waited for.
  void Advance();

  // input
  void Process();
  bool ProcessHead();
  void OnHead();
  bool ProcessBody();
  bool ProcessChunks();
  bool ReserveBody(size_t capacity);
  void ReleaseBody();
  void StartRead();
  void OnRead(const boost::system::error_code& error, size_t bytes);
  void StartWatch();
  void OnWatch();
  void OnPeerEnded(const boost::system::error_code& error);
  void CheckInputDeadline(int64_t now_micros);

  // requests
  Slot& AddSlot();
  Slot* FindSlot(uint64_t slot_id);
  void Refuse(const Status& status);  // and close after it
  void AnswerEarly(Answer answer);    // before any body was read
  void Dispatch();
  void DispatchIngest(uint64_t slot_id);
  Answer StartScrub();
  void DispatchBackup(uint64_t slot_id);
  Answer Immediate(Route route);
  // False, and the slot is filled, if the body cannot be expanded.
  bool ExpandBody(Slot& slot);
  void DispatchRead(uint64_t slot_id);
  void FillSlot(Slot& slot, const Answer& answer);
  void OnReadReply(uint64_t slot_id, PieceReply reply);
  void RequestPiece(const Slot& slot);
  void OnPiece(uint64_t slot_id, Result<RowStream::Piece> piece);
  void CancelReads();
  void DropSlots();

  // These outlive the connection that asked.
  static void RunQuery(ServerCore& core, const std::weak_ptr<Connection>& asker, uint64_t slot_id,
                       SharedRead read);
  static void OnQueryDone(ServerCore& core, const std::weak_ptr<Connection>& asker,
                          uint64_t slot_id, const SharedRead& read, PieceReply reply);
  static void AwaitLsn(ServerCore& core, const std::weak_ptr<Connection>& asker, uint64_t slot_id,
                       const SharedRead& read, PieceReply refusal);

  // output
  void Gather();
  void StartWrite();
  void OnWrite(const boost::system::error_code& error, size_t bytes);
  void FinishIfDone();
  void CloseLoudly();

  uint64_t BodyBytesMax() const;
  uint64_t ExpandedBytesMax() const;
  std::string_view Buffered() const { return {in_.data() + begin_, end_ - begin_}; }

  ServerCore& core_;
  const uint64_t id_;
  boost::asio::ip::tcp::socket socket_;

  Input input_ = Input::kHead;
  std::vector<char> in_;  // bytes of heads and chunks: [begin_, end_) are unread
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t searched_ = 0;  // of Buffered(), for the end of a head
  bool reading_ = false;
  bool paused_ = false;  // as many answers as allowed are pending

  // the request being read
  RequestHead head_;
  Target target_;
  RouteMatch match_;
  BodyEncoding encoding_ = BodyEncoding::kIdentity;
  uint64_t body_bytes_ = 0;  // of a body with a stated length
  BodyBuffer body_;
  size_t body_accounted_ = 0;
  ChunkDecoder chunks_;
  int64_t request_micros_ = 0;   // first byte of the head, then its end
  int64_t progress_micros_ = 0;  // when the body last had moved on enough
  size_t progress_bytes_ = 0;    // received since

  std::deque<Slot> slots_;
  uint64_t next_slot_id_ = 1;

  std::string out_;
  size_t written_ = 0;
  bool writing_ = false;
  int64_t write_micros_ = 0;  // when the peer last took something

  bool advancing_ = false;
  bool draining_ = false;
  bool watching_ = false;  // for the peer's end, where nothing is to be read
  bool unread_ = false;    // bytes came while watching: its end cannot be seen behind them
  bool peer_ended_ = false;
  int64_t peer_ended_micros_ = 0;
  bool lingering_ = false;
  int64_t idle_micros_ = 0;
  int64_t linger_until_micros_ = 0;
  bool closed_ = false;
};

}  // namespace tallystick
