#include "model/event_check.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace tallystick {
namespace {

EventView Good() {
  EventView event;
  event.event_id = "e1";
  event.account_id = "acme";
  event.product_id = "api";
  event.meter_id = "tokens";
  event.timestamp_ms = 1'782'000'000'000;
  return event;
}

// "code field" of the rejection; "" if the shape is right.
std::string ShapeFault(const EventView& event) {
  const auto bad = CheckEventShape(event);
  if (!bad) return "";
  EXPECT_NE(bad->message.find(bad->field.substr(0, bad->field.find('.'))), std::string::npos)
      << bad->message;
  EXPECT_LT(bad->message.size(), 250u);
  return bad->code + " " + bad->field;
}

struct Name {
  std::string field;
  std::function<void(EventView&, std::string_view)> set;
};

CorrectionRefView RefOf(std::string_view original, std::string_view reason) {
  return {.original_event_id = original, .reason = reason};
}

const std::vector<Name>& Names() {
  static const std::vector<Name> names = {
      {"event_id", [](EventView& e, std::string_view v) { e.event_id = v; }},
      {"account_id", [](EventView& e, std::string_view v) { e.account_id = v; }},
      {"product_id", [](EventView& e, std::string_view v) { e.product_id = v; }},
      {"meter_id", [](EventView& e, std::string_view v) { e.meter_id = v; }},
      {"unit", [](EventView& e, std::string_view v) { e.unit = v; }},
      {"source", [](EventView& e, std::string_view v) { e.source = v; }},
      {"subscription_id", [](EventView& e, std::string_view v) { e.subscription_id = v; }},
      {"model_id", [](EventView& e, std::string_view v) { e.model_id = v; }},
      {"correction_ref.original_event_id",
       [](EventView& e, std::string_view v) { e.correction_ref = RefOf(v, ""); }},
  };
  return names;
}
constexpr size_t kRequired = 4;

TEST(EventCheckTest, EmptyNamesAreMissingWhereRequired) {
  EXPECT_EQ(ShapeFault(Good()), "");
  for (size_t i = 0; i < Names().size(); ++i) {
    EventView event = Good();
    Names()[i].set(event, "");
    EXPECT_EQ(ShapeFault(event), i < kRequired ? "missing_field " + Names()[i].field : "");
  }
}

struct TextCase {
  std::string text;
  std::string name_fault;  // where it is a name
  std::string free_fault;  // where control characters may stand
};

std::vector<TextCase> TextCases() {
  const std::string utf8 = "invalid_utf8";
  const std::string control = "control_character";
  std::vector<TextCase> cases = {
      {"plain ~text", "", ""},
      {"\xc2\xa0", "", ""},  // the first behind C1
      {"gr\xc3\xbc\xc3\x9f", "", ""},
      {"\xe0\xa0\x80", "", ""},      // the least of three bytes
      {"\xed\x9f\xbf", "", ""},      // just below the surrogates
      {"\xee\x80\x80", "", ""},      // just above
      {"\xf0\x90\x80\x80", "", ""},  // the least of four bytes
      {"\xf4\x8f\xbf\xbf", "", ""},  // U+10FFFF
      {std::string(1, '\0'), control, ""},
      {"\x1f", control, ""},
      {"\t", control, ""},
      {"\x7f", control, ""},
      {"\xc2\x80", control, ""},
      {"\xc2\x9f", control, ""},
      {"\x80", utf8, utf8},
      {"\xbf", utf8, utf8},
      {"\xc0\x80", utf8, utf8},  // overlong
      {"\xc1\xbf", utf8, utf8},
      {"\xc3", utf8, utf8},
      {"\xc3(", utf8, utf8},
      {"\xe0\x9f\xbf", utf8, utf8},  // overlong
      {"\xe2\x82", utf8, utf8},
      {"\xe2\x82(", utf8, utf8},
      {"\xed\xa0\x80", utf8, utf8},  // a surrogate
      {"\xf0\x8f\xbf\xbf", utf8, utf8},
      {"\xf0\x9f\x98", utf8, utf8},
      {"\xf4\x90\x80\x80", utf8, utf8},  // above U+10FFFF
      {"\xf5\x80\x80\x80", utf8, utf8},
      {"\xff", utf8, utf8},
  };
  return cases;
}

// Every fault at every place of texts up to three words long: the fast path looks at eight bytes at
// once.
TEST(EventCheckTest, TextIsJudgedTheSameWhereverTheFaultStands) {
  for (const TextCase& text : TextCases()) {
    for (size_t before = 0; before <= 17; ++before) {
      for (const size_t after : {0, 1, 3, 4, 7, 8, 9}) {
        const std::string whole = std::string(before, 'a') + text.text + std::string(after, '~');
        EventView event = Good();
        event.event_id = whole;
        EXPECT_EQ(ShapeFault(event), text.name_fault.empty() ? "" : text.name_fault + " event_id")
            << before << " " << after << " " << whole;
        event = Good();
        event.correction_ref = RefOf("e0", whole);
        EXPECT_EQ(ShapeFault(event),
                  text.free_fault.empty() ? "" : text.free_fault + " correction_ref.reason")
            << before << " " << after << " " << whole;
      }
    }
  }
}

TEST(EventCheckTest, EveryNameIsHeldToTheSameRules) {
  const std::string longest(kIdBytesHardMax, 'x');
  const std::string longer(kIdBytesHardMax + 1, 'x');
  for (const Name& name : Names()) {
    EventView event = Good();
    name.set(event, "a\nb");
    EXPECT_EQ(ShapeFault(event), "control_character " + name.field);
    name.set(event, "a\xff");
    EXPECT_EQ(ShapeFault(event), "invalid_utf8 " + name.field);
    name.set(event, longest);
    EXPECT_EQ(ShapeFault(event), "");
    name.set(event, longer);
    EXPECT_EQ(ShapeFault(event), "too_long " + name.field);
  }
}

TEST(EventCheckTest, TimestampsStartAboveZero) {
  EventView event = Good();
  for (const int64_t bad : {int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    event.timestamp_ms = bad;
    EXPECT_EQ(ShapeFault(event), "invalid_timestamp timestamp_ms");
  }
  event.timestamp_ms = 1;
  EXPECT_EQ(ShapeFault(event), "");
}

TEST(EventCheckTest, QuantitiesHaveTwelveDecimalsAtMost) {
  EventView event = Good();
  event.quantity = {1, 13};
  EXPECT_EQ(ShapeFault(event), "invalid_quantity quantity");
  event.quantity = {1, 12};
  EXPECT_EQ(ShapeFault(event), "");
}

TEST(EventCheckTest, DimensionsAreLimitedAndDistinct) {
  std::vector<std::string> keys;
  for (size_t i = 0; i <= kDimensionsMax; ++i) keys.push_back("key" + std::to_string(i));
  std::vector<Dimension> dimensions;
  for (const std::string& key : keys) dimensions.push_back({key, "v"});
  EventView event = Good();
  event.dimensions = dimensions;
  EXPECT_EQ(ShapeFault(event), "too_many_dimensions dimensions");
  dimensions.pop_back();
  event.dimensions = dimensions;
  EXPECT_EQ(ShapeFault(event), "");
  dimensions.back().key = dimensions.front().key;
  EXPECT_EQ(ShapeFault(event), "duplicate_dimension dimensions");
}

TEST(EventCheckTest, DimensionsAreUtf8AndShort) {
  const auto fault = [](std::string_view key, std::string_view value) {
    const std::vector<Dimension> dimensions = {{key, value}};
    EventView event = Good();
    event.dimensions = dimensions;
    return ShapeFault(event);
  };
  EXPECT_EQ(fault("", ""), "");
  EXPECT_EQ(fault("re\tgion", "a\nb"), "");
  EXPECT_EQ(fault(std::string(kDimensionKeyBytesMax, 'k'), ""), "");
  EXPECT_EQ(fault(std::string(kDimensionKeyBytesMax + 1, 'k'), ""), "too_long dimensions");
  EXPECT_EQ(fault("k", std::string(kDimensionValueBytesMax, 'v')), "");
  EXPECT_EQ(fault("k", std::string(kDimensionValueBytesMax + 1, 'v')), "too_long dimensions.k");
  EXPECT_EQ(fault("k\xff", "v"), "invalid_utf8 dimensions");
  EXPECT_EQ(fault("k", "v\xff"), "invalid_utf8 dimensions.k");
}

TEST(EventCheckTest, CorrectionsNameTheirOriginal) {
  EventView event = Good();
  for (const EventKind kind : {EventKind::kCorrection, EventKind::kRetraction}) {
    event.kind = kind;
    event.correction_ref.reset();
    EXPECT_EQ(ShapeFault(event), "correction_ref_required correction_ref");
    event.correction_ref = RefOf("", "");
    EXPECT_EQ(ShapeFault(event), "");
  }
  event.kind = EventKind::kUsage;  // allowed there too
  EXPECT_EQ(ShapeFault(event), "");
  const std::string longest(kReasonBytesMax, 'r');
  event.correction_ref = RefOf("e0", longest);
  EXPECT_EQ(ShapeFault(event), "");
  const std::string longer(kReasonBytesMax + 1, 'r');
  event.correction_ref = RefOf("e0", longer);
  EXPECT_EQ(ShapeFault(event), "too_long correction_ref.reason");
  event = Good();
  event.kind = static_cast<EventKind>(3);
  EXPECT_EQ(ShapeFault(event), "invalid_kind kind");
}

TEST(EventCheckTest, MessagesShowTheValueCutAtACharacter) {
  EventView event = Good();
  std::string text(63, 'a');
  text += "\xc3\xbc";
  text += std::string(kIdBytesHardMax, 'b');
  event.event_id = text;
  const auto bad = CheckEventShape(event);
  ASSERT_TRUE(bad);
  EXPECT_NE(bad->message.find("\"" + std::string(63, 'a') + "...\""), std::string::npos)
      << bad->message;
  event.event_id = "a\x01\xff\xc2\x85z";
  EXPECT_NE(CheckEventShape(event)->message.find("\"a???z\""), std::string::npos);
}

TEST(EventCheckTest, TheFormatItselfTakesWhatIngestRefuses) {
  const std::string long_text(kDimensionValueBytesMax + kReasonBytesMax, 'x');
  const std::vector<Dimension> dimensions = {{long_text, long_text}};
  EventView event = Good();
  event.event_id = "a\nb";
  event.dimensions = dimensions;
  event.correction_ref = RefOf("", long_text);
  EXPECT_NE(ShapeFault(event), "");
  EXPECT_FALSE(CheckEventFormat(event).has_value());
  // But not what it cannot be read without.
  const auto fault = [&](const std::function<void(EventView&)>& spoil) {
    EventView bad = event;
    spoil(bad);
    const auto rejection = CheckEventFormat(bad);
    return rejection.has_value() ? rejection->code : "";
  };
  const std::string id(kIdBytesHardMax + 1, 'y');
  const std::string huge(kEventBytesHardMax, 'z');
  EXPECT_EQ(fault([](EventView& e) { e.meter_id = ""; }), "missing_field");
  EXPECT_EQ(fault([&](EventView& e) { e.account_id = id; }), "too_long");
  EXPECT_EQ(fault([](EventView& e) { e.unit = "\xff"; }), "invalid_utf8");
  EXPECT_EQ(fault([](EventView& e) { e.timestamp_ms = 0; }), "invalid_timestamp");
  EXPECT_EQ(fault([&](EventView& e) { e.correction_ref = RefOf("o", huge); }), "too_long");
  EXPECT_EQ(fault([](EventView& e) {
              e.kind = EventKind::kRetraction;
              e.correction_ref.reset();
            }),
            "correction_ref_required");
}

TEST(EventCheckTest, OptionsLimitEveryName) {
  const EventLimits limits{.id_bytes_max = 20};
  const std::string longest(20, 'x');
  const std::string longer(21, 'x');
  for (const Name& name : Names()) {
    EventView event = Good();
    name.set(event, longest);
    EXPECT_FALSE(CheckEventOptions(event, limits)) << name.field;
    name.set(event, longer);
    const auto bad = CheckEventOptions(event, limits);
    ASSERT_TRUE(bad) << name.field;
    EXPECT_EQ(bad->code + " " + bad->field, "too_long " + name.field);
  }
}

TEST(EventCheckTest, TheClockAllowsTheLimitAndNoMore) {
  const EventLimits limits{.timestamp_ahead_ms_max = 1000};
  EXPECT_FALSE(CheckEventClock(1, 5000, limits));
  EXPECT_FALSE(CheckEventClock(6000, 5000, limits));
  const auto bad = CheckEventClock(6001, 5000, limits);
  ASSERT_TRUE(bad);
  EXPECT_EQ(bad->code, "timestamp_in_future");
  EXPECT_EQ(bad->field, "timestamp_ms");
  constexpr int64_t kLast = std::numeric_limits<int64_t>::max();
  EXPECT_TRUE(CheckEventClock(kLast, 5000, limits));
  EXPECT_FALSE(CheckEventClock(kLast, 5000, {.timestamp_ahead_ms_max = kLast}));
}

}  // namespace
}  // namespace tallystick
