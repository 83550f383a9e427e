#include "server/reads.h"

#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "server/explain_reads.h"
#include "server/json_writer.h"
#include "server/list_reads.h"
#include "server/query_json_read.h"
#include "server/read_parameters.h"
#include "server/read_request.h"
#include "server/usage_reads.h"

namespace tallystick {
namespace {

constexpr size_t kPieceBytes = 1 << 20;  // of a page that is made whole

Result<Answer> ReadOneEvent(const ReadRequest& request, ReadReply& reply) {
  TALLY_ASSIGN_OR_RETURN(const auto account, request.query.Get("account_id"));
  TALLY_ASSIGN_OR_RETURN(const ReadPoint point, ParseReadPoint(request.query));
  TALLY_ASSIGN_OR_RETURN(const auto as_of_lsn, ResolveReadPoint(request.db, point, reply.awaited));
  TALLY_ASSIGN_OR_RETURN(const EventLookup lookup,
                         request.db.GetEvent(request.parameter, account.value_or(""), as_of_lsn));
  return Answer::Json(EventLookupToJson(lookup));
}

Result<Listing> ReadListing(const ReadRequest& request, ReadReply& reply) {
  switch (request.route) {
    case Route::kUsage:
    case Route::kUsageAll:
      return ReadUsage(request, reply);
    case Route::kEvents:
      return ReadEvents(request, reply);
    case Route::kConflicts:
      return ReadConflicts(request, reply);
    case Route::kAccounts:
      return ReadAccounts(request, reply);
    case Route::kExplain:
      return ReadExplain(request, reply);
    case Route::kQueryJson:
      return ReadQueryJson(request, reply);
    default:
      break;
  }
  TALLY_CHECK(false);  // the other routes read nothing
}

Status ReadWhole(Result<Answer> answer, ReadReply& reply) {
  TALLY_ASSIGN_OR_RETURN(reply.answer, std::move(answer));
  return Status::Ok();
}

// A page of CSV is made at once: its cursor stands in the answer's head.
Status MakePage(ReadReply& reply) {
  for (bool last = false; !last;) {
    TALLY_ASSIGN_OR_RETURN(const RowStream::Piece piece, reply.stream->Next(kPieceBytes));
    reply.answer.body += piece.text;
    last = piece.last;
  }
  reply.answer.next_cursor = reply.stream->NextCursor();
  reply.stream.reset();
  return Status::Ok();
}

Status ReadRows(const ReadRequest& request, ReadReply& reply) {
  TALLY_ASSIGN_OR_RETURN(Listing listing, ReadListing(request, reply));
  reply.stream = std::make_unique<ListStream>(listing.format, std::move(listing.head),
                                              std::move(listing.rows));
  if (listing.format == RowFormat::kJson) return Status::Ok();
  reply.answer.content_type = kCsvType;
  reply.answer.lsn = listing.lsn;
  return listing.paged ? MakePage(reply) : Status::Ok();
}

Status Run(const ReadRequest& request, ReadReply& reply) {
  switch (request.route) {
    case Route::kEvent:
      return ReadWhole(ReadOneEvent(request, reply), reply);
    case Route::kVerify:
      return ReadWhole(ReadVerify(request, reply), reply);
    default:
      return ReadRows(request, reply);
  }
}

}  // namespace

ReadReply RunRead(const Db& db, Route route, std::string_view parameter, const QueryString& query,
                  const ReadContext& context) {
  ReadReply reply;
  reply.status = Run({db, route, parameter, query, context}, reply);
  if (!reply.status.ok()) {
    reply.answer = Answer::Problem(reply.status);
    reply.stream.reset();
  }
  return reply;
}

}  // namespace tallystick
