#include "query/conflicts.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include "query/row_fixture.h"

namespace tallystick {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

ConflictsPage List(const View& view, const ConflictsQuery& query) {
  Result<ConflictsPage> page = ListConflicts(view, query);
  EXPECT_TRUE(page.ok()) << page.status().ToString();
  return page.ok() ? *page : ConflictsPage{};
}

std::vector<uint64_t> Lsns(const ConflictsPage& page) {
  std::vector<uint64_t> lsns;
  for (const Conflict& conflict : page.conflicts) lsns.push_back(conflict.lsn.value);
  return lsns;
}

std::string Reason(const View& view, const ConflictsQuery& query) {
  return std::string(ListConflicts(view, query).status().reason());
}

RowFixture ThreeConflicts() {
  RowFixture rows(IdentityScope::kGlobal, 2);
  rows.Ingest(MakeEvent("e", "acme", 1));   // 1
  rows.Ingest(MakeEvent("e", "acme", 2));   // 2, conflict
  rows.Ingest(MakeEvent("f", "acme", 1));   // 3
  rows.Ingest(MakeEvent("f", "other", 1));  // 4, conflict
  rows.Ingest(MakeEvent("e", "acme", 3));   // 5, conflict
  rows.Ingest(MakeEvent("e", "acme", 2));   // known
  return rows;
}

TEST(ConflictsTest, AreListedWithWhatWasCounted) {
  const RowFixture rows = ThreeConflicts();
  const ConflictsPage page = List(rows.view(), {});
  EXPECT_THAT(Lsns(page), ElementsAre(2, 4, 5));
  EXPECT_EQ(page.conflicts[0].event, rows.stored()[1].event);
  EXPECT_EQ(page.conflicts[0].original_lsn, Lsn{1});
  EXPECT_EQ(page.conflicts[1].original_lsn, Lsn{3}) << "in another account";
  EXPECT_EQ(page.conflicts[2].original_lsn, Lsn{1});
  EXPECT_EQ(page.next_cursor, "");
  EXPECT_EQ(page.lsn, Lsn{5});
}

TEST(ConflictsTest, AccountIsTheConflictingEvents) {
  const RowFixture rows = ThreeConflicts();
  EXPECT_THAT(Lsns(List(rows.view(), {.account_id = "other"})), ElementsAre(4));
  EXPECT_THAT(Lsns(List(rows.view(), {.account_id = "acme"})), ElementsAre(2, 5));
  EXPECT_THAT(Lsns(List(rows.view(), {.account_id = "nobody"})), IsEmpty());
}

TEST(ConflictsTest, ThePastIsReadAsItWas) {
  const RowFixture rows = ThreeConflicts();
  EXPECT_THAT(Lsns(List(rows.view(), {.as_of_lsn = Lsn{0}})), IsEmpty());
  EXPECT_THAT(Lsns(List(rows.view(), {.as_of_lsn = Lsn{4}})), ElementsAre(2, 4));
  EXPECT_EQ(Reason(rows.view(), {.as_of_lsn = Lsn{6}}), "lsn_in_future");
  EXPECT_THAT(Lsns(List(rows.view(Lsn{3}), {})), ElementsAre(2));
}

TEST(ConflictsTest, CursorIsOfOneQueryAndOneIncarnation) {
  RowFixture rows = ThreeConflicts();
  ConflictsQuery query{.account_id = "acme", .limit = 1};
  query.cursor = List(rows.view(), query).next_cursor;
  EXPECT_THAT(Lsns(List(rows.view(), query)), ElementsAre(5));
  EXPECT_EQ(List(rows.view(), query).next_cursor, "") << "no empty page at the end";
  auto with = [&](auto change) {
    ConflictsQuery other = query;
    change(other);
    return Reason(rows.view(), other);
  };
  EXPECT_EQ(with([](ConflictsQuery& q) { q.account_id = "other"; }), "invalid_cursor");
  EXPECT_EQ(with([](ConflictsQuery& q) { q.account_id = std::nullopt; }), "invalid_cursor");
  EXPECT_EQ(with([](ConflictsQuery& q) { q.as_of_lsn = Lsn{4}; }), "invalid_cursor");
  EXPECT_EQ(with([](ConflictsQuery& q) { q.as_of_lsn = Lsn{5}; }), "ok");
  EXPECT_EQ(with([](ConflictsQuery& q) { q.limit = std::nullopt; }), "ok");
  EXPECT_EQ(with([](ConflictsQuery& q) { q.cursor += "0"; }), "invalid_cursor");
  ++rows.incarnation;
  EXPECT_EQ(Reason(rows.view(), query), "foreign_cursor");
}

RC_GTEST_PROP(ConflictsTest, PagesAreOneListingWhateverIsIngestedBetween, ()) {
  const auto scope = *rc::gen::element(IdentityScope::kGlobal, IdentityScope::kAccount);
  RowFixture rows(scope, *rc::gen::inRange<uint32_t>(1, 50));
  auto ingest = [&](int most) {
    std::vector<Event> events;
    for (int n = *rc::gen::inRange(0, most); n > 0; --n) {
      events.push_back(EventFromSeed(*rc::gen::arbitrary<uint64_t>()));
    }
    rows.Ingest(events);
  };
  for (int i = 0; i < 4; ++i) ingest(100);
  ConflictsQuery query;
  if (*rc::gen::arbitrary<bool>()) query.account_id = "a2";
  std::vector<Event> expected, listed;
  for (const StoredRow& row : rows.stored()) {
    if (row.quarantined &&
        query.account_id.value_or(row.event.account_id) == row.event.account_id) {
      expected.push_back(row.event);
    }
  }
  int pages = 0;
  do {
    query.limit = *rc::gen::inRange<uint32_t>(1, 8);
    const ConflictsPage page = List(rows.view(), query);
    RC_ASSERT(page.conflicts.size() <= *query.limit);
    for (const Conflict& conflict : page.conflicts) {
      const StoredRow& original = rows.stored().at(conflict.original_lsn.value - 1);
      RC_ASSERT(!original.quarantined && original.event.event_id == conflict.event.event_id);
      RC_ASSERT(conflict.lsn == conflict.event.lsn);
      listed.push_back(conflict.event);
    }
    RC_ASSERT(listed.size() <= expected.size());  // or the pages might never end
    query.cursor = page.next_cursor;
    ++pages;
    ingest(20);
  } while (!query.cursor.empty());
  RC_ASSERT(listed == expected);
  RC_CLASSIFY(pages > 2, "several pages");
}

}  // namespace
}  // namespace tallystick
