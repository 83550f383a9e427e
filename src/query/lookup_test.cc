#include "query/lookup.h"

#include <gtest/gtest.h>

#include "model/identity.h"
#include "query/row_fixture.h"

namespace tallystick {
namespace {

std::string Reason(const Result<EventLookup>& result) {
  return std::string(result.status().reason());
}

Event CorrectionOf(std::string id, std::string original, std::string account = "acme") {
  Event event = MakeEvent(std::move(id), std::move(account), -1);
  event.kind = EventKind::kCorrection;
  event.correction_ref = CorrectionRef{std::move(original), "why"};
  return event;
}

TEST(LookupTest, FindsAnEventInAnyMemtable) {
  RowFixture rows(IdentityScope::kGlobal, 3);
  for (int i = 0; i < 20; ++i) rows.Ingest(MakeEvent("e" + std::to_string(i), "acme", i));
  ASSERT_GT(rows.memtables(), 5u);
  for (int i = 0; i < 20; ++i) {
    const auto found = GetEvent(rows.view(), "e" + std::to_string(i), "", std::nullopt);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->event, rows.stored()[i].event);
    EXPECT_EQ(found->event_lsn, Lsn{static_cast<uint64_t>(i) + 1});
    EXPECT_EQ(found->conflicts, 0u);
    EXPECT_FALSE(found->original.has_value());
    EXPECT_EQ(found->lsn, Lsn{20});
  }
  EXPECT_EQ(Reason(GetEvent(rows.view(), "e20", "", std::nullopt)), "event_not_found");
  EXPECT_EQ(Reason(GetEvent(rows.view(), "", "", std::nullopt)), "event_not_found");
}

TEST(LookupTest, SeesOnlyWhatWasVisible) {
  RowFixture rows(IdentityScope::kGlobal, 2);
  for (int i = 1; i <= 5; ++i) rows.Ingest(MakeEvent("e" + std::to_string(i)));
  EXPECT_EQ(Reason(GetEvent(rows.view(), "e3", "", Lsn{2})), "event_not_found");
  EXPECT_TRUE(GetEvent(rows.view(), "e3", "", Lsn{3}).ok());
  EXPECT_EQ(Reason(GetEvent(rows.view(), "e1", "", Lsn{0})), "event_not_found");
  EXPECT_EQ(Reason(GetEvent(rows.view(), "e1", "", Lsn{6})), "lsn_in_future");
  EXPECT_EQ(Reason(GetEvent(rows.view(Lsn{4}), "e5", "", std::nullopt)), "event_not_found")
      << "its key may be in the table before it is durable";
  // A key of a row that is not there at all yet.
  rows.newest().keys().Insert(IdHash(IdentityScope::kGlobal, "", "soon"), 1, Lsn{6});
  EXPECT_EQ(Reason(GetEvent(rows.view(), "soon", "", std::nullopt)), "event_not_found");
}

TEST(LookupTest, AHashIsNotTheEvent) {
  RowFixture rows;
  rows.Ingest(MakeEvent("one"));
  // As if "two" had the hash of "one".
  rows.newest().keys().Insert(IdHash(IdentityScope::kGlobal, "", "two"), 1, Lsn{1});
  EXPECT_EQ(Reason(GetEvent(rows.view(), "two", "", std::nullopt)), "event_not_found");
}

TEST(LookupTest, WithGlobalScopeAnAccountMustBeTheEvents) {
  RowFixture rows;
  rows.Ingest(MakeEvent("e", "acme"));
  EXPECT_TRUE(GetEvent(rows.view(), "e", "acme", std::nullopt).ok());
  EXPECT_EQ(Reason(GetEvent(rows.view(), "e", "other", std::nullopt)), "event_not_found");
}

TEST(LookupTest, WithAccountScopeTheAccountIsPartOfTheIdentity) {
  RowFixture rows(IdentityScope::kAccount);
  rows.Ingest({MakeEvent("e", "acme", 1), MakeEvent("e", "other", 2), MakeEvent("e", "other", 3)});
  EXPECT_EQ(Reason(GetEvent(rows.view(), "e", "", std::nullopt)), "account_id_required");
  EXPECT_EQ(Reason(GetEvent(rows.view(), "e", "third", std::nullopt)), "event_not_found");
  const auto acme = GetEvent(rows.view(), "e", "acme", std::nullopt);
  const auto other = GetEvent(rows.view(), "e", "other", std::nullopt);
  ASSERT_TRUE(acme.ok() && other.ok());
  EXPECT_EQ(acme->event_lsn, Lsn{1});
  EXPECT_EQ(acme->conflicts, 0u);
  EXPECT_EQ(other->event_lsn, Lsn{2});
  EXPECT_EQ(other->conflicts, 1u);
}

TEST(LookupTest, CountsConflictsOfTheIdentityUpToTheLsn) {
  RowFixture rows(IdentityScope::kGlobal, 2);
  rows.Ingest(MakeEvent("e", "acme", 1));
  rows.Ingest(MakeEvent("e", "acme", 2));
  rows.Ingest(MakeEvent("f", "acme", 1));
  rows.Ingest(MakeEvent("f", "acme", 2));
  rows.Ingest(MakeEvent("e", "other", 3));  // another account, the same identity
  rows.Ingest(MakeEvent("e", "acme", 2));   // known
  ASSERT_EQ(rows.stored().size(), 5u);
  auto conflicts = [&](uint64_t lsn) {
    return GetEvent(rows.view(), "e", "", Lsn{lsn})->conflicts;
  };
  EXPECT_EQ(conflicts(1), 0u);
  EXPECT_EQ(conflicts(2), 1u);
  EXPECT_EQ(conflicts(4), 1u);
  EXPECT_EQ(conflicts(5), 2u);
  EXPECT_EQ(GetEvent(rows.view(), "e", "", std::nullopt)->event.quantity, Quantity::FromInteger(1));
}

TEST(LookupTest, ResolvesTheOriginalAtTheLsn) {
  RowFixture rows;
  rows.Ingest(CorrectionOf("c", "u"));
  rows.Ingest(MakeEvent("u"));
  const auto before = GetEvent(rows.view(), "c", "", Lsn{1});
  ASSERT_TRUE(before.ok() && before->original.has_value());
  EXPECT_EQ(before->original->event_id, "u");
  EXPECT_EQ(before->original->lsn, std::nullopt);
  const auto after = GetEvent(rows.view(), "c", "", std::nullopt);
  ASSERT_TRUE(after.ok() && after->original.has_value());
  EXPECT_EQ(after->original->lsn, Lsn{2});
}

TEST(LookupTest, WithAccountScopeTheOriginalIsOfTheSameAccount) {
  RowFixture rows(IdentityScope::kAccount);
  rows.Ingest({MakeEvent("u", "other"), CorrectionOf("c", "u", "acme")});
  EXPECT_EQ(GetEvent(rows.view(), "c", "acme", std::nullopt)->original->lsn, std::nullopt);
  rows.Ingest(MakeEvent("u", "acme"));
  EXPECT_EQ(GetEvent(rows.view(), "c", "acme", std::nullopt)->original->lsn, Lsn{3});
}

}  // namespace
}  // namespace tallystick
