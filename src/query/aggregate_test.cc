#include "query/aggregate.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <map>
#include <numeric>

#include "query/row_fixture.h"

namespace tallystick {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr int64_t kHourMs = 3'600'000;
const UsageQuery kAll{.from_ms = INT64_MIN, .to_ms = INT64_MAX};

UsageResult Ask(const View& view, const UsageQuery& query) {
  Result<UsageResult> result = Aggregate(view, query);
  EXPECT_TRUE(result.ok()) << result.status().ToString();
  return result.ok() ? *result : UsageResult{};
}

std::vector<std::string> Keys(const UsageResult& result) {
  std::vector<std::string> keys;
  for (const UsageLine& line : result.lines) {
    std::string joined;
    for (const std::string& key : line.keys) joined += key + "|";
    keys.push_back(joined.substr(0, joined.size() - 1));
  }
  return keys;
}

std::string Net(const UsageResult& result) {
  return result.lines.size() == 1 ? result.lines[0].quantity : "not one line";
}

TEST(AggregateTest, NothingIsOneLineOfZerosWithoutGroupsAndNoLineWithThem) {
  RowFixture rows;
  UsageQuery query = kAll;
  UsageResult result = Ask(rows.view(), query);
  ASSERT_EQ(result.lines.size(), 1u);
  EXPECT_THAT(result.lines[0].keys, IsEmpty());
  EXPECT_EQ(result.lines[0].quantity, "0");
  EXPECT_EQ(result.lines[0].usage, "0");
  EXPECT_EQ(result.lines[0].count, 0u);
  EXPECT_EQ(result.lsn, Lsn{0});
  query.group_by = {Field::Parse("meter_id")};
  EXPECT_THAT(Ask(rows.view(), query).lines, IsEmpty());
}

TEST(AggregateTest, KindsAreReportedApartAndAddUp) {
  RowFixture rows;
  Event correction = MakeEvent("c", "acme", -3);
  correction.kind = EventKind::kCorrection;
  correction.correction_ref = CorrectionRef{"u", ""};
  Event retraction = MakeEvent("r", "acme", 50);
  retraction.kind = EventKind::kRetraction;
  retraction.correction_ref = CorrectionRef{"nothing", ""};
  rows.Ingest({MakeEvent("u", "acme", 10), correction, retraction});
  const UsageResult result = Ask(rows.view(), kAll);
  ASSERT_EQ(result.lines.size(), 1u);
  EXPECT_EQ(result.lines[0].quantity, "57");
  EXPECT_EQ(result.lines[0].usage, "10");
  EXPECT_EQ(result.lines[0].corrections, "-3");
  EXPECT_EQ(result.lines[0].retractions, "50");
  EXPECT_EQ(result.lines[0].count, 3u);
  EXPECT_EQ(result.rows.memory, 3u);
  EXPECT_EQ(result.rows.segments + result.rows.rollups, 0u);
}

TEST(AggregateTest, RangesAreHalfOpenAndMayBeBackward) {
  RowFixture rows;
  rows.Ingest({MakeEvent("1", "acme", 1, 1000), MakeEvent("2", "acme", 10, 2000),
               MakeEvent("3", "acme", 100, 3000)});
  auto between = [&](int64_t from_ms, int64_t to_ms) {
    return Net(Ask(rows.view(), {.account_id = "acme", .from_ms = from_ms, .to_ms = to_ms}));
  };
  EXPECT_EQ(between(1000, 3000), "11");
  EXPECT_EQ(between(1001, 3001), "110");
  EXPECT_EQ(between(2000, 2000), "0");
  EXPECT_EQ(between(3000, 1000), "0");
}

TEST(AggregateTest, ThePastIsReadAsItWas) {
  RowFixture rows(IdentityScope::kGlobal, 2);
  for (int i = 1; i <= 9; ++i) rows.Ingest(MakeEvent(std::to_string(i), "acme", i));
  for (const auto& account : {std::optional<std::string>(), std::optional<std::string>("acme")}) {
    UsageQuery query = kAll;
    query.account_id = account;
    for (uint64_t lsn = 0; lsn <= 9; ++lsn) {
      query.as_of_lsn = Lsn{lsn};
      const UsageResult result = Ask(rows.view(), query);
      EXPECT_EQ(Net(result), std::to_string(lsn * (lsn + 1) / 2));
      EXPECT_EQ(result.lsn, Lsn{lsn});
    }
    query.as_of_lsn = Lsn{10};
    EXPECT_EQ(Aggregate(rows.view(), query).status().reason(), "lsn_in_future");
    query.as_of_lsn = std::nullopt;
    EXPECT_EQ(Net(Ask(rows.view(Lsn{4}), query)), "10") << "rows that are not visible yet";
  }
}

TEST(AggregateTest, ConflictsAreNotCounted) {
  RowFixture rows;
  rows.Ingest({MakeEvent("1", "acme", 5), MakeEvent("1", "acme", 7), MakeEvent("1", "other", 9)});
  ASSERT_EQ(rows.stored().size(), 3u);
  UsageQuery query = kAll;
  query.group_by = {Field::Parse("account_id")};
  const UsageResult result = Ask(rows.view(), query);
  EXPECT_THAT(Keys(result), ElementsAre("acme"));
  EXPECT_EQ(Net(result), "5");
  EXPECT_EQ(result.rows.memory, 1u);
}

TEST(AggregateTest, LinesAreSortedBytewiseByTheTupleOfKeys) {
  RowFixture rows;
  auto of = [](std::string id, std::string meter, std::string unit) {
    Event event = MakeEvent(std::move(id));
    event.meter_id = std::move(meter);
    event.unit = std::move(unit);
    return event;
  };
  rows.Ingest({of("1", "a", "z"), of("2", "a!", "b"), of("3", "\xc3\xa9", ""), of("4", "B", "q"),
               of("5", "a", "")});
  UsageQuery query = kAll;
  query.group_by = {Field::Parse("meter_id"), Field::Parse("unit")};
  EXPECT_THAT(Keys(Ask(rows.view(), query)), ElementsAre("B|q", "a|", "a|z", "a!|b", "\xc3\xa9|"));
}

TEST(AggregateTest, KeyTuplesThatJoinToOneTextAreTwoGroups) {
  RowFixture rows;
  Event first = MakeEvent("1"), second = MakeEvent("2");
  first.meter_id = "ab", first.unit = "c";
  second.meter_id = "a", second.unit = "bc";
  rows.Ingest({first, second});
  UsageQuery query = kAll;
  query.group_by = {Field::Parse("meter_id"), Field::Parse("unit")};
  EXPECT_EQ(Ask(rows.view(), query).lines.size(), 2u);
}

TEST(AggregateTest, MissingValuesAreEmptyKeys) {
  RowFixture rows;
  Event rich = MakeEvent("1", "acme", 1);
  rich.model_id = "m";
  rich.dimensions = {{"region", "eu"}};
  rows.Ingest({rich, MakeEvent("2", "acme", 2)});
  UsageQuery query = kAll;
  query.group_by = {Field::Parse("model_id"), Field::Parse("region"), Field::Parse("kind"),
                    Field::Parse("nowhere")};
  EXPECT_THAT(Keys(Ask(rows.view(), query)), ElementsAre("||Usage|", "m|eu|Usage|"));
}

TEST(AggregateTest, BucketsFloorToHourAndDay) {
  RowFixture rows;
  rows.Ingest({MakeEvent("1", "acme", 1, 1), MakeEvent("2", "acme", 1, kHourMs - 1),
               MakeEvent("3", "acme", 1, kHourMs), MakeEvent("4", "acme", 1, 25 * kHourMs + 7)});
  UsageQuery query = kAll;
  query.group_by = {Field::Parse("hour_start_ms"), Field::Parse("day")};
  EXPECT_THAT(Keys(Ask(rows.view(), query)), ElementsAre("0|0", "3600000|0", "90000000|86400000"));
}

TEST(AggregateTest, FiltersAreAllOfAnyOf) {
  RowFixture rows;
  Event one = MakeEvent("1", "acme", 1), two = MakeEvent("2", "acme", 10);
  Event three = MakeEvent("3", "other", 100), four = MakeEvent("4", "acme", 1000);
  one.model_id = "m", two.model_id = "n", three.model_id = "m";
  four.kind = EventKind::kRetraction;
  four.correction_ref = CorrectionRef{"1", ""};
  rows.Ingest({one, two, three, four});
  auto with = [&](std::vector<Filter> filters) {
    UsageQuery query = kAll;
    query.filters = std::move(filters);
    return Net(Ask(rows.view(), query));
  };
  const Field model = Field::Parse("model_id");
  EXPECT_EQ(with({{model, {"m"}}}), "101");
  EXPECT_EQ(with({{model, {"m", "n"}}}), "111");
  EXPECT_EQ(with({{model, {"m", "n"}}, {Field::Parse("account_id"), {"acme"}}}), "11");
  EXPECT_EQ(with({{model, {}}}), "0") << "no value is matched by none";
  EXPECT_EQ(with({{model, {""}}}), "0") << "a missing value is not the empty one";
  EXPECT_EQ(with({{Field::Parse("source"), {""}}}), "1111") << "an empty value is a value";
  EXPECT_EQ(with({{Field::Parse("kind"), {"Retraction"}}}), "1000");
  EXPECT_EQ(with({{Field::Parse("kind"), {"retraction"}}}), "0");
  UsageQuery bucket = kAll;
  bucket.filters = {{Field::Parse("day"), {"0"}}};
  EXPECT_EQ(Aggregate(rows.view(), bucket).status().reason(), "invalid_filter");
}

TEST(AggregateTest, WatermarkIsNowOrTheNewestCommitIfLater) {
  RowFixture rows;
  rows.Ingest(MakeEvent("1"));
  const int64_t commit_ms = rows.stored()[0].event.ingested_at_ms;
  rows.now_ms = commit_ms - 5;
  EXPECT_EQ(Ask(rows.view(), kAll).watermark_ms, commit_ms);
  rows.now_ms = commit_ms + 5;
  EXPECT_EQ(Ask(rows.view(), kAll).watermark_ms, commit_ms + 5);
}

RC_GTEST_PROP(AggregateTest, SumsAtTheEndsOf128BitsAreExactInAnyOrder, ()) {
  const int128 max = static_cast<int128>(~uint128{0} >> 1);
  std::vector<Quantity> quantities = {{max, 0}, {max, 0},  {max, 0},       {-max - 1, 0},
                                      {1, 12},  {max, 12}, {-max - 1, 12}, {-max - 1, 0}};
  std::vector<size_t> order(quantities.size());
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[*rc::gen::inRange<size_t>(0, i)]);
  }
  RowFixture rows(IdentityScope::kGlobal, 3);
  for (const size_t i : order) {
    Event event = MakeEvent(std::to_string(i));
    event.quantity = Quantity::Normalized(quantities[i].mantissa, quantities[i].scale);
    rows.Ingest(event);
  }
  // 3 max - 2 (max + 1) = max - 2, and the small ones cancel out: 1 + max - (max + 1) = 0.
  RC_ASSERT(Net(Ask(rows.view(), kAll)) == "170141183460469231731687303715884105725");
  UsageQuery query = kAll;
  query.group_by = {Field::Parse("meter_id")};
  RC_ASSERT(Ask(rows.view(), query).lines.at(0).count == quantities.size());
}

TEST(AggregateTest, SumsMayLeave128Bits) {
  RowFixture rows;
  const int128 max = static_cast<int128>(~uint128{0} >> 1);
  Event least = MakeEvent("least");
  least.quantity = {1, 12};
  rows.Ingest({MakeEvent("1", "acme", max), MakeEvent("2", "acme", max),
               MakeEvent("3", "acme", max), least});
  EXPECT_EQ(Net(Ask(rows.view(), kAll)), "510423550381407695195061911147652317181.000000000001");
}

// --- against a plain model ---

std::optional<std::string> ModelValue(const Event& event, const std::string& field) {
  if (field == "account_id") return event.account_id;
  if (field == "product_id") return event.product_id;
  if (field == "meter_id") return event.meter_id;
  if (field == "model_id") return event.model_id;
  if (field == "subscription_id") return event.subscription_id;
  if (field == "source") return event.source;
  if (field == "kind") return std::string(EventKindName(event.kind));
  if (field == "hour_start_ms") return std::to_string(event.timestamp_ms / kHourMs * kHourMs);
  if (field == "day") return std::to_string(event.timestamp_ms / (24 * kHourMs) * 24 * kHourMs);
  for (const auto& [key, value] : event.dimensions) {
    if (key == field || "dimensions." + key == field) return value;
  }
  return std::nullopt;
}

struct ModelLine {
  int128 thousandths[3] = {};
  uint64_t count = 0;
};

int128 Thousandths(const Quantity& quantity) {
  int128 value = quantity.mantissa;
  for (int scale = quantity.scale; scale < 3; ++scale) value *= 10;
  return value;
}

std::string Text(int128 thousandths) { return Quantity::Normalized(thousandths, 3).ToString(); }

using FilterTexts = std::vector<std::pair<std::string, std::vector<std::string>>>;

std::map<std::vector<std::string>, ModelLine> ModelAggregate(
    const std::vector<StoredRow>& stored, const UsageQuery& query,
    const std::vector<std::string>& group_by, const FilterTexts& filters) {
  std::map<std::vector<std::string>, ModelLine> lines;
  if (group_by.empty()) lines[{}];
  for (uint64_t i = 0; i < query.as_of_lsn->value; ++i) {
    const Event& event = stored[i].event;
    if (stored[i].quarantined || event.timestamp_ms < query.from_ms ||
        event.timestamp_ms >= query.to_ms ||
        (query.account_id.has_value() && *query.account_id != event.account_id)) {
      continue;
    }
    const bool matches = std::ranges::all_of(filters, [&](const auto& filter) {
      const auto value = ModelValue(event, filter.first);
      return value.has_value() && std::ranges::count(filter.second, *value) > 0;
    });
    if (!matches) continue;
    std::vector<std::string> keys;
    for (const std::string& field : group_by) keys.push_back(ModelValue(event, field).value_or(""));
    ModelLine& line = lines[keys];
    line.thousandths[static_cast<int>(event.kind)] += Thousandths(event.quantity);
    ++line.count;
  }
  return lines;
}

RC_GTEST_PROP(AggregateTest, AnswersWhatAPlainLoopAnswers, ()) {
  static const std::vector<std::string> kFields = {
      "account_id", "product_id", "meter_id", "model_id", "subscription_id",       "source",
      "kind",       "day",        "region",   "nowhere",  "dimensions.account_id", "hour_start_ms"};
  const auto scope = *rc::gen::element(IdentityScope::kGlobal, IdentityScope::kAccount);
  RowFixture rows(scope, *rc::gen::inRange<uint32_t>(1, 40),
                  *rc::gen::inRange<uint64_t>(100, 5000));
  const auto frames = *rc::gen::inRange(1, 30);
  for (int frame = 0; frame < frames; ++frame) {
    std::vector<Event> events;
    for (const uint64_t seed :
         *rc::gen::container<std::vector<uint64_t>>(rc::gen::arbitrary<uint64_t>())) {
      events.push_back(EventFromSeed(seed));
    }
    rows.Ingest(events);
  }
  UsageQuery query;
  query.from_ms = *rc::gen::inRange<int64_t>(-1, 20) * 1'800'000;
  query.to_ms = *rc::gen::inRange<int64_t>(15, 60) * 1'800'000;
  query.as_of_lsn = Lsn{*rc::gen::inRange<uint64_t>(0, rows.stored().size() + 1)};
  if (*rc::gen::arbitrary<bool>()) query.account_id = "a" + std::to_string(*rc::gen::inRange(0, 5));
  const auto group_by = *rc::gen::resize(
      4, rc::gen::container<std::vector<std::string>>(rc::gen::elementOf(kFields)));
  for (const std::string& field : group_by) query.group_by.push_back(Field::Parse(field));
  FilterTexts filters;
  if (*rc::gen::arbitrary<bool>()) filters.push_back({"model_id", {"x0"}});
  if (*rc::gen::inRange(0, 3) == 0) filters.push_back({"dimensions.account_id", {"d0", "d1"}});
  if (*rc::gen::inRange(0, 3) == 0) filters.push_back({"kind", {"Usage", "Correction"}});
  for (const auto& [field, values] : filters)
    query.filters.push_back({Field::Parse(field), values});

  const UsageResult result = Ask(rows.view(), query);
  const auto lines = ModelAggregate(rows.stored(), query, group_by, filters);
  RC_ASSERT(result.lines.size() == lines.size());
  size_t i = 0;
  uint64_t events = 0;
  for (const auto& [keys, model] : lines) {
    const UsageLine& line = result.lines[i++];
    RC_ASSERT(line.keys == keys);
    RC_ASSERT(line.usage == Text(model.thousandths[0]));
    RC_ASSERT(line.corrections == Text(model.thousandths[1]));
    RC_ASSERT(line.retractions == Text(model.thousandths[2]));
    RC_ASSERT(line.quantity ==
              Text(model.thousandths[0] + model.thousandths[1] + model.thousandths[2]));
    RC_ASSERT(line.count == model.count);
    events += model.count;
  }
  RC_ASSERT(result.rows.memory == events);
  RC_CLASSIFY(events > 0, "of something");
  RC_CLASSIFY(rows.memtables() > 2, "over several memtables");
}

}  // namespace
}  // namespace tallystick
