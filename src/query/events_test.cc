#include "query/events.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include "query/cursor.h"
#include "query/row_fixture.h"

namespace tallystick {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const EventsQuery kAll{.from_ms = INT64_MIN, .to_ms = INT64_MAX};

struct Page {
  std::vector<Event> events;
  std::string next_cursor;
  Lsn lsn;
};

Page Read(const View& view, const EventsQuery& query, size_t limit = SIZE_MAX) {
  Page page;
  Result<EventStream> stream = ListEvents(view, query);
  EXPECT_TRUE(stream.ok()) << stream.status().ToString();
  if (!stream.ok()) return page;
  while (page.events.size() < limit) {
    Result<std::optional<Event>> event = stream->Next();
    EXPECT_TRUE(event.ok());
    if (!event->has_value()) break;
    page.events.push_back(**event);
  }
  EXPECT_EQ(stream->rows().memory, page.events.size());
  page.next_cursor = stream->NextCursor();
  page.lsn = stream->lsn();
  return page;
}

std::vector<std::string> Ids(const Page& page) {
  std::vector<std::string> ids;
  for (const Event& event : page.events) ids.push_back(event.event_id);
  return ids;
}

std::vector<Event> Model(const RowFixture& rows, const EventsQuery& query, Lsn lsn) {
  std::vector<Event> events;
  for (const StoredRow& row : rows.stored()) {
    if (row.event.lsn <= lsn && !row.quarantined && row.event.timestamp_ms >= query.from_ms &&
        row.event.timestamp_ms < query.to_ms &&
        (!query.account_id.has_value() || *query.account_id == row.event.account_id)) {
      events.push_back(row.event);
    }
  }
  std::ranges::stable_sort(events, {}, &Event::timestamp_ms);  // rows are in LSN order
  return events;
}

std::string Reason(const View& view, const EventsQuery& query) {
  return std::string(ListEvents(view, query).status().reason());
}

RowFixture FiveEvents() {
  RowFixture rows(IdentityScope::kGlobal, 2);
  rows.Ingest({MakeEvent("late", "acme", 1, 9000), MakeEvent("early", "acme", 1, 10)});
  rows.Ingest({MakeEvent("other", "other", 1, 500), MakeEvent("same1", "acme", 1, 500)});
  rows.Ingest(MakeEvent("same2", "acme", 1, 500));
  rows.Ingest(MakeEvent("same2", "acme", 2, 600));  // a conflict
  return rows;
}

TEST(EventsTest, AreInOrderOfTimeThenLsnWithoutConflicts) {
  const RowFixture rows = FiveEvents();
  EXPECT_THAT(Ids(Read(rows.view(), kAll)),
              ElementsAre("early", "other", "same1", "same2", "late"));
  EventsQuery query = kAll;
  query.account_id = "acme";
  EXPECT_THAT(Ids(Read(rows.view(), query)), ElementsAre("early", "same1", "same2", "late"));
  query.from_ms = 10, query.to_ms = 9000;
  EXPECT_THAT(Ids(Read(rows.view(), query)), ElementsAre("early", "same1", "same2"));
  query.to_ms = 9;
  EXPECT_THAT(Ids(Read(rows.view(), query)), IsEmpty());
  EventsQuery filtered = kAll;
  filtered.filters = {{Field::Parse("account_id"), {"other"}}};
  EXPECT_THAT(Ids(Read(rows.view(), filtered)), ElementsAre("other"));
  filtered.filters = {{Field::Parse("hour_start_ms"), {"0"}}};
  EXPECT_EQ(Reason(rows.view(), filtered), "invalid_filter");
}

TEST(EventsTest, ComeBackWhole) {
  RowFixture rows;
  Event event = MakeEvent("1");
  event.subscription_id = "s";
  event.model_id = "m";
  event.source = "gateway";
  event.kind = EventKind::kCorrection;
  event.correction_ref = CorrectionRef{"0", "a reason"};
  event.quantity = Quantity::Normalized(-12345, 3);
  event.dimensions = {{"region", "eu"}, {"a", ""}};
  rows.Ingest(event);
  const Page page = Read(rows.view(), kAll);
  ASSERT_EQ(page.events.size(), 1u);
  EXPECT_EQ(page.events[0], rows.stored()[0].event);
  EXPECT_EQ(page.events[0].lsn, Lsn{1});
  EXPECT_THAT(page.events[0].dimensions,
              ElementsAre(std::pair("a", ""), std::pair("region", "eu")));
}

TEST(EventsTest, ThePastIsReadAsItWas) {
  const RowFixture rows = FiveEvents();
  EventsQuery query = kAll;
  query.as_of_lsn = Lsn{0};
  EXPECT_THAT(Ids(Read(rows.view(), query)), IsEmpty());
  query.as_of_lsn = Lsn{3};
  EXPECT_THAT(Ids(Read(rows.view(), query)), ElementsAre("early", "other", "late"));
  query.as_of_lsn = Lsn{7};
  EXPECT_EQ(Reason(rows.view(), query), "lsn_in_future");
}

TEST(EventsTest, RowsBehindAnEmptyMemtableAreSeen) {
  RowFixture rows(IdentityScope::kGlobal, 1);
  rows.Ingest(std::vector<Event>());
  rows.Ingest({MakeEvent("1"), MakeEvent("2")});  // does not fit the empty one
  rows.Ingest(std::vector<Event>());
  rows.Ingest(MakeEvent("3"));
  ASSERT_TRUE(rows.view().version->memtables.front()->empty());
  EXPECT_THAT(Ids(Read(rows.view(), kAll)), ElementsAre("1", "2", "3"));
}

TEST(EventsTest, AStreamKeepsItsRowsAlive) {
  auto rows = std::make_unique<RowFixture>(FiveEvents());
  Result<EventStream> stream = ListEvents(rows->view(), kAll);
  rows.reset();
  ASSERT_TRUE(stream.ok());
  EXPECT_EQ((*stream->Next())->event_id, "early");
}

TEST(EventsTest, CursorEndsWithTheLastEvent) {
  const RowFixture rows = FiveEvents();
  EXPECT_NE(Read(rows.view(), kAll, 4).next_cursor, "");
  EXPECT_EQ(Read(rows.view(), kAll, 5).next_cursor, "") << "no empty page at the end";
  EXPECT_EQ(Read(rows.view(), kAll).next_cursor, "");
  EventsQuery from_start = kAll;
  from_start.cursor = Read(rows.view(), kAll, 0).next_cursor;
  EXPECT_EQ(Read(rows.view(), from_start).events.size(), 5u) << "nothing was read yet";
}

TEST(EventsTest, CursorIsOfOneQueryAndOneIncarnation) {
  RowFixture rows = FiveEvents();
  EventsQuery query = kAll;
  query.account_id = "acme";
  query.filters = {{Field::Parse("meter_id"), {"tokens", "x"}}};
  query.cursor = Read(rows.view(), query, 1).next_cursor;
  EXPECT_EQ(Read(rows.view(), query).events.size(), 3u);

  auto with = [&](auto change) {
    EventsQuery other = query;
    change(other);
    return Reason(rows.view(), other);
  };
  EXPECT_EQ(with([](EventsQuery& q) { q.account_id = std::nullopt; }), "invalid_cursor");
  EXPECT_EQ(with([](EventsQuery& q) { q.account_id = "acm"; }), "invalid_cursor");
  EXPECT_EQ(with([](EventsQuery& q) { ++q.from_ms; }), "invalid_cursor");
  EXPECT_EQ(with([](EventsQuery& q) { --q.to_ms; }), "invalid_cursor");
  EXPECT_EQ(with([](EventsQuery& q) { q.filters.clear(); }), "invalid_cursor");
  EXPECT_EQ(with([](EventsQuery& q) { q.filters[0].values = {"tokensx"}; }), "invalid_cursor");
  EXPECT_EQ(with([](EventsQuery& q) { q.as_of_lsn = Lsn{5}; }), "invalid_cursor");
  EXPECT_EQ(with([](EventsQuery& q) { q.as_of_lsn = Lsn{6}; }), "ok") << "the cursor's own";
  EXPECT_EQ(Reason(rows.view(Lsn{5}), query), "lsn_in_future");
  ++rows.incarnation;
  EXPECT_EQ(Reason(rows.view(), query), "foreign_cursor");
}

TEST(EventsTest, DamagedCursorsAreRefused) {
  const RowFixture rows = FiveEvents();
  const std::string cursor = Read(rows.view(), kAll, 1).next_cursor;
  EventsQuery query = kAll;
  for (size_t i = 0; i < cursor.size(); ++i) {
    for (const char c : {'0', 'f', 'A', 'g', ' ', '\0'}) {
      query.cursor = cursor;
      query.cursor[i] = c;
      if (query.cursor == cursor) continue;
      EXPECT_EQ(Reason(rows.view(), query), "invalid_cursor") << i;
    }
    if (i == 0) continue;
    query.cursor = cursor.substr(0, i);
    EXPECT_EQ(Reason(rows.view(), query), "invalid_cursor") << i;
  }
  query.cursor = cursor + "00";
  EXPECT_EQ(Reason(rows.view(), query), "invalid_cursor");
}

// Pages of any size, with anything ingested between them, are together exactly what the first
// page's LSN shows: no row twice, none left out.
RC_GTEST_PROP(EventsTest, PagesAreOneListingWhateverIsIngestedBetween, ()) {
  RowFixture rows(IdentityScope::kGlobal, *rc::gen::inRange<uint32_t>(1, 50));
  auto ingest = [&] {
    std::vector<Event> events;
    for (int n = *rc::gen::inRange(0, 40); n > 0; --n) {
      events.push_back(EventFromSeed(*rc::gen::arbitrary<uint64_t>()));
    }
    rows.Ingest(events);
  };
  ingest();
  ingest();
  EventsQuery query{.from_ms = 1, .to_ms = *rc::gen::inRange<int64_t>(10, 45) * 1'800'000};
  if (*rc::gen::arbitrary<bool>()) query.account_id = "a1";
  const Lsn lsn{rows.stored().size()};
  const std::vector<Event> expected = Model(rows, query, lsn);
  std::vector<Event> listed;
  int pages = 0;
  do {
    const Page page = Read(rows.view(), query, *rc::gen::inRange<size_t>(1, 20));
    RC_ASSERT(page.lsn == lsn);
    listed.insert(listed.end(), page.events.begin(), page.events.end());
    RC_ASSERT(listed.size() <= expected.size());  // or the pages might never end
    query.cursor = page.next_cursor;
    ++pages;
    ingest();
  } while (!query.cursor.empty());
  RC_ASSERT(listed == expected);
  RC_CLASSIFY(pages > 2, "several pages");
}

}  // namespace
}  // namespace tallystick
