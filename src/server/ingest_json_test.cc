#include "server/ingest_json.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "server/json_writer.h"
#include "tallystick/db.h"
#include "testing/temp_dir.h"

namespace tallystick {
namespace {

constexpr size_t kEventsMax = 1000;

// What is the same in most events; tests add and replace fields by name.
using Fields = std::vector<std::pair<std::string, std::string>>;

std::string EventText(const Fields& changes) {
  Fields fields = {
      {"event_id", "\"e1\""},  {"account_id", "\"acme\""},        {"product_id", "\"api\""},
      {"meter_id", "\"tok\""}, {"timestamp_ms", "1782000000000"}, {"quantity", "1500"}};
  for (const auto& [name, value] : changes) {
    const auto at = std::ranges::find(fields, name, &Fields::value_type::first);
    if (at == fields.end()) {
      fields.emplace_back(name, value);
    } else {
      at->second = value;
    }
  }
  std::string text = "{";
  for (const auto& [name, value] : fields) {
    if (value == "-") continue;  // left out
    if (text.size() > 1) text += ',';
    text += fmt::format("\"{}\":{}", name, value);
  }
  return text + "}";
}

class IngestJson : public testing::Test {
 protected:
  IngestJson() : db_(Db::Open(dir_.path() + "/data", SmallOptions()).value()) {}

  static OpenOptions SmallOptions() {
    OpenOptions options;
    options.batch_bytes_max = 1 << 20;
    options.wal_file_bytes = 4 << 20;
    options.commit_gap_us = 0;
    return options;
  }

  // The reason of the refusal, or "ok" and outcomes_.
  std::string Ingest(std::string_view body, UnknownFields unknown = UnknownFields::kReject) {
    std::string padded(body);
    padded.append(kJsonPaddingBytes, ' ');
    EventParser parser(unknown);
    Batch batch = db_.NewBatch();
    const Status status =
        parser.ParseBody(std::string_view(padded).substr(0, body.size()), kEventsMax, batch);
    message_ = status.message();
    if (!status.ok()) return std::string(status.reason());
    auto result = db_.Ingest(std::move(batch));
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    result_ = IngestResultToJson(*result, {.all = true});
    outcomes_ = result->outcomes;
    return "ok";
  }

  // "accepted", "duplicate" ... or "code field" of one event.
  std::string IngestOne(std::string_view event, UnknownFields unknown = UnknownFields::kReject) {
    const std::string refused = Ingest(fmt::format("{{\"events\":[{}]}}", event), unknown);
    if (refused != "ok") return refused;
    EXPECT_EQ(outcomes_.size(), 1u);
    switch (outcomes_[0].kind) {
      case OutcomeKind::kAccepted:
        return "accepted";
      case OutcomeKind::kDuplicate:
        return "duplicate";
      case OutcomeKind::kConflict:
        return "conflict";
      case OutcomeKind::kRejected:
        break;
    }
    return outcomes_[0].rejection.code + " " + outcomes_[0].rejection.field;
  }

  std::string Stored(std::string_view event_id) {
    auto lookup = db_.GetEvent(event_id);
    if (!lookup.ok()) return lookup.status().ToString();
    lookup->event.ingested_at_ms = 0;
    return EventToJson(lookup->event);
  }

  TempDir dir_;
  Db db_;
  std::string message_;
  std::string result_;
  std::vector<EventOutcome> outcomes_;
};

TEST_F(IngestJson, AWholeEventIsStoredAsItWasSent) {
  ASSERT_EQ(
      IngestOne(EventText({{"subscription_id", "\"sub1\""},
                           {"model_id", "\"m\\u00e41\""},
                           {"unit", "\"tokens\""},
                           {"source", "\"gateway\""},
                           {"kind", "\"Correction\""},
                           {"correction_ref", R"({"original_event_id":"e0","reason":"x\ny"})"},
                           {"dimensions", R"({"region":"eu","a\"b":""})"},
                           {"ingested_at_ms", "1.5e3"},
                           {"quantity", "-12.50"}})),
      "accepted");
  EXPECT_EQ(Stored("e1"),
            R"({"account_id":"acme","correction_ref":{"original_event_id":"e0","reason":"x\ny"},)"
            R"("dimensions":{"a\"b":"","region":"eu"},"event_id":"e1","ingested_at_ms":0,)"
            R"("kind":"Correction","meter_id":"tok","model_id":"mä1","product_id":"api",)"
            R"("quantity":-12.5,"source":"gateway","subscription_id":"sub1",)"
            R"("timestamp_ms":1782000000000,"unit":"tokens"})");
}

TEST_F(IngestJson, DefaultsAndNulls) {
  ASSERT_EQ(IngestOne(EventText(
                {{"subscription_id", "null"}, {"model_id", "null"}, {"correction_ref", "null"}})),
            "accepted");
  EXPECT_EQ(
      Stored("e1"),
      R"({"account_id":"acme","correction_ref":null,"dimensions":{},"event_id":"e1",)"
      R"("ingested_at_ms":0,"kind":"Usage","meter_id":"tok","model_id":null,"product_id":"api",)"
      R"("quantity":1500,"source":"","subscription_id":null,)"
      R"("timestamp_ms":1782000000000,"unit":""})");
  EXPECT_EQ(IngestOne(EventText({})), "duplicate") << "null and absent are one payload";
}

TEST_F(IngestJson, WrongTypesNameTheirField) {
  const Fields wrong[] = {{{"event_id", "1"}},
                          {{"account_id", "null"}},
                          {{"product_id", "[]"}},
                          {{"meter_id", "{}"}},
                          {{"unit", "null"}},
                          {{"source", "true"}},
                          {{"kind", "null"}},
                          {{"timestamp_ms", "1.0"}},
                          {{"timestamp_ms", "1e3"}},
                          {{"timestamp_ms", "\"1\""}},
                          {{"quantity", "null"}},
                          {{"quantity", "true"}},
                          {{"quantity", "[1]"}},
                          {{"model_id", "1"}},
                          {{"subscription_id", "{}"}},
                          {{"correction_ref", "\"x\""}},
                          {{"dimensions", "null"}},
                          {{"dimensions", "[]"}},
                          {{"ingested_at_ms", "\"1\""}},
                          {{"ingested_at_ms", "null"}}};
  for (const Fields& fields : wrong) {
    EXPECT_EQ(IngestOne(EventText(fields)), "invalid_type " + fields[0].first) << fields[0].second;
  }
  EXPECT_EQ(IngestOne(EventText({{"dimensions", R"({"a":1})"}})), "invalid_type dimensions.a");
  EXPECT_EQ(IngestOne(EventText({{"dimensions", R"({"inner":1})"}})),
            "invalid_type dimensions.inner");
  EXPECT_EQ(IngestOne(EventText({{"dimensions", R"({"inner":{"a":{}}})"}})),
            "invalid_type dimensions.a");
  EXPECT_EQ(IngestOne(EventText({{"correction_ref", R"({"original_event_id":1,"reason":""})"}})),
            "invalid_type correction_ref.original_event_id");
  for (const char* event : {"1", "null", "\"x\"", "[1,{\"a\":[]}]"}) {
    EXPECT_EQ(IngestOne(event), "invalid_type ") << event;
  }
}

TEST_F(IngestJson, MissingFieldsAreNamed) {
  for (const char* name :
       {"event_id", "account_id", "product_id", "meter_id", "timestamp_ms", "quantity"}) {
    EXPECT_EQ(IngestOne(EventText({{name, "-"}})), std::string("missing_field ") + name);
  }
  EXPECT_EQ(IngestOne("{}"), "missing_field event_id");
  EXPECT_EQ(IngestOne(EventText({{"correction_ref", "{}"}})),
            "missing_field correction_ref.original_event_id");
  EXPECT_EQ(IngestOne(EventText({{"correction_ref", R"({"original_event_id":""})"}})),
            "missing_field correction_ref.reason");
}

TEST_F(IngestJson, RepeatedKeysRejectTheirEvent) {
  for (const char* name :
       {"event_id", "account_id", "quantity", "dimensions", "unit", "kind", "model_id"}) {
    std::string event = EventText(
        {{"dimensions", "{}"}, {"unit", "\"\""}, {"kind", "\"Usage\""}, {"model_id", "null"}});
    event.insert(event.size() - 1, fmt::format(",\"{}\":\"again\"", name));
    EXPECT_EQ(IngestOne(event), std::string("duplicate_field ") + name);
  }
  std::string escaped = EventText({});
  escaped.insert(escaped.size() - 1, R"(,"\u0065vent_id":"other")");
  EXPECT_EQ(IngestOne(escaped), "duplicate_field event_id") << "an escaped key is the same key";
  EXPECT_EQ(IngestOne(EventText({{"dimensions", R"({"a":"1","a":"1"})"}})),
            "duplicate_dimension dimensions.a");
  EXPECT_EQ(IngestOne(EventText({{"dimensions", R"({"inner":{"a":"1","\u0061":"2"}})"}})),
            "duplicate_dimension dimensions.a");
  EXPECT_EQ(IngestOne(EventText({{"dimensions", R"({"inner":{"a":"1"},"inner":{"b":"1"}})"}})),
            "duplicate_dimension dimensions.inner");
  EXPECT_EQ(IngestOne(EventText(
                {{"correction_ref", R"({"reason":"","original_event_id":"","reason":""})"}})),
            "duplicate_field correction_ref.reason");
  EXPECT_EQ(IngestOne(EventText({})), "accepted") << "none of them left a trace";
}

TEST_F(IngestJson, UnknownFieldsRejectUnlessIgnored) {
  EXPECT_EQ(IngestOne(EventText({{"color", "{\"a\":[1,2,{}]}"}})), "unknown_field color");
  EXPECT_EQ(IngestOne(EventText({{"Event_id", "1"}})), "unknown_field Event_id");
  EXPECT_EQ(IngestOne(EventText({{"event_id2", "1"}})), "unknown_field event_id2");
  EXPECT_EQ(IngestOne(EventText({{"dimensions", R"({"inner":{},"b":"1"})"}})),
            "unknown_field dimensions.b");
  EXPECT_EQ(IngestOne(EventText({{"dimensions", R"({"b":"1","inner":{}})"}})),
            "unknown_field dimensions.b");
  EXPECT_EQ(
      IngestOne(EventText({{"correction_ref", R"({"original_event_id":"","reason":"","x":1})"}})),
      "unknown_field correction_ref.x");
  EXPECT_EQ(IngestOne(EventText({{"color", "1"}, {"dimensions", R"({"b":"1","inner":{"a":"2"}})"}}),
                      UnknownFields::kIgnore),
            "accepted");
  EXPECT_NE(Stored("e1").find(R"("dimensions":{"a":"2"})"), std::string::npos) << Stored("e1");
  EXPECT_EQ(IngestOne(EventText({{"color", "1"}, {"dimensions", R"({"a":"2"})"}})), "duplicate")
      << "a known event is a duplicate whatever the option says today";
}

TEST_F(IngestJson, DimensionsInBothForms) {
  EXPECT_EQ(IngestOne(EventText({{"dimensions", R"({"a":"1","b":"2"})"}})), "accepted");
  EXPECT_EQ(IngestOne(EventText({{"dimensions", R"({"inner":{"b":"2","a":"1"}})"}})), "duplicate");
  EXPECT_EQ(IngestOne(EventText({{"event_id", "\"e2\""}, {"dimensions", R"({"inner":"text"})"}})),
            "accepted");
  EXPECT_NE(Stored("e2").find(R"("dimensions":{"inner":"text"})"), std::string::npos);
}

TEST_F(IngestJson, AtMostSixteenDimensions) {
  const auto dimensions = [](int count) {
    std::string text = "{";
    for (int i = 0; i < count; ++i) text += fmt::format("{}\"k{}\":\"v\"", i == 0 ? "" : ",", i);
    return text + "}";
  };
  EXPECT_EQ(IngestOne(EventText({{"dimensions", dimensions(16)}})), "accepted");
  for (const int count : {17, 18, 1000}) {
    EXPECT_EQ(IngestOne(EventText({{"dimensions", dimensions(count)}})).substr(0, 19),
              "too_many_dimensions");
  }
}

TEST_F(IngestJson, QuantitiesAreExact) {
  const std::pair<const char*, const char*> taken[] = {
      {"0", "0"},
      {"-0", "0"},
      {"1e3", "1000"},
      {"\"12.5\"", "12.5"},
      {"0.000000000001", "0.000000000001"},
      {"1.50e1", "15"},
      {"170141183460469231731687303715884105727", "170141183460469231731687303715884105727"},
      {"-170141183460469231731687303715884105728", "-170141183460469231731687303715884105728"},
      {"9007199254740993", "9007199254740993"},
      {"0.1", "0.1"}};
  int id = 0;
  for (const auto& [sent, stored] : taken) {
    const std::string name = fmt::format("q{}", id++);
    ASSERT_EQ(IngestOne(EventText({{"event_id", '"' + name + '"'}, {"quantity", sent}})),
              "accepted")
        << sent;
    EXPECT_NE(Stored(name).find(fmt::format("\"quantity\":{},", stored)), std::string::npos)
        << Stored(name);
  }
  EXPECT_EQ(IngestOne(EventText({{"quantity", "0.0000000000001"}})),
            "quantity_too_precise quantity");
  EXPECT_EQ(IngestOne(EventText({{"quantity", "1e400"}})), "quantity_out_of_range quantity");
  EXPECT_EQ(IngestOne(EventText({{"quantity", "170141183460469231731687303715884105728"}})),
            "quantity_out_of_range quantity");
  for (const char* text : {"\"\"", "\"1,5\"", "\" 1\"", "\"0x1\"", "\"NaN\""}) {
    EXPECT_EQ(IngestOne(EventText({{"quantity", text}})), "invalid_quantity quantity") << text;
  }
}

TEST_F(IngestJson, TimestampsAndKinds) {
  EXPECT_EQ(IngestOne(EventText({{"timestamp_ms", "0"}})), "invalid_timestamp timestamp_ms");
  EXPECT_EQ(IngestOne(EventText({{"timestamp_ms", "-1"}})), "invalid_timestamp timestamp_ms");
  EXPECT_EQ(IngestOne(EventText({{"timestamp_ms", "9223372036854775808"}})),
            "invalid_timestamp timestamp_ms");
  EXPECT_EQ(IngestOne(EventText({{"timestamp_ms", "9223372036854775807"}})),
            "timestamp_in_future timestamp_ms");
  EXPECT_EQ(IngestOne(EventText({{"kind", "\"usage\""}})), "invalid_kind kind");
  EXPECT_EQ(IngestOne(EventText({{"kind", "\"Retraction\""}})).substr(0, 23),
            "correction_ref_required");
}

TEST_F(IngestJson, ABadEventLeavesItsNeighboursAlone) {
  const std::string body = fmt::format(
      "{{\"events\":[{},{},17,{}]}}", EventText({{"event_id", "\"a\""}}),
      EventText({{"quantity", "{}"}, {"event_id", "\"b\""}}), EventText({{"event_id", "\"c\""}}));
  ASSERT_EQ(Ingest(body), "ok");
  EXPECT_EQ(result_, R"({"accepted":2,"conflicts":0,"duplicates":0,"lsn":2,"outcomes":[)"
                     R"({"event_id":"a","index":0,"lsn":1,"outcome":"accepted"},)"
                     R"({"code":"invalid_type","event_id":"b","field":"quantity","index":1,)"
                     R"("message":"field `quantity` must be a number, or a string that holds one",)"
                     R"("outcome":"rejected"},)"
                     R"({"code":"invalid_type","event_id":"","field":"","index":2,)"
                     R"("message":"an event must be a JSON object","outcome":"rejected"},)"
                     R"({"event_id":"c","index":3,"lsn":2,"outcome":"accepted"}],"rejected":2})");
}

TEST_F(IngestJson, ShapesOfTheBody) {
  EXPECT_EQ(Ingest(R"({"events":[]})"), "ok");
  EXPECT_EQ(Ingest(R"( {"other":{"a":[]},"events":[],"more":null} )"), "ok")
      << "other keys are ignored";
  EXPECT_EQ(Ingest(R"({"\u0065vents":[]})"), "ok");
  for (const char* body :
       {"{}", "[]", "1", "null", "\"x\"", R"({"events":{}})", R"({"events":null})",
        R"({"Events":[]})", R"({"events":[],"events":[]})", "[{\"events\":[]}]"}) {
    EXPECT_EQ(Ingest(body), "invalid_shape") << body;
  }
}

TEST_F(IngestJson, WhatIsNoJsonIsRefusedWhole) {
  const std::string event = EventText({});
  const std::string wholes[] = {"",
                                " ",
                                "x",
                                "tru",
                                "nul",
                                "01",
                                "{",
                                "[",
                                "}",
                                "\"",
                                "[1,",
                                "{\"events\"",
                                "{\"events\":[",
                                "{\"events\":[}",
                                "{\"events\":[" + event,
                                "{\"events\":[" + event + "]",
                                "{\"events\":[" + event + "]}}",
                                "{\"events\":[" + event + "]} {}",
                                "{\"events\":[" + event + ",]}",
                                "{\"events\":[" + event + " " + event + "]}",
                                "{\"events\":[" + event + "],}",
                                "{\"events\":[" + event + "] \"a\":1}",
                                "{'events':[]}",
                                "{events:[]}",
                                "{\"events\":[]}x",
                                "{\"a\":tru,\"events\":[]}",
                                "{\"a\":[1 2],\"events\":[]}",
                                "{\"a\":[1},\"events\":[]}",
                                "{\"a\":{\"b\"},\"events\":[]}",
                                "{\"a\":{\"b\":},\"events\":[]}",
                                "{\"events\":[]\xEF\xBB\xBF}",
                                "/**/{\"events\":[]}"};
  for (const std::string& body : wholes) EXPECT_EQ(Ingest(body), "invalid_json") << body;
  for (const char* value :
       {"01", "1.", "-.", "1.5.2", "+1", "tru", "Infinity", ".5", "\"\\x\"", "\"\\u12\"",
        "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\x01\"", "\"\xff\"",
        "\"\xed\xa0\x80\"", "{", "{\"a\":1,}", "[1,]"}) {
    for (const char* name : {"quantity", "timestamp_ms", "ingested_at_ms", "event_id", "model_id",
                             "kind", "dimensions", "correction_ref", "unknown"}) {
      EXPECT_EQ(IngestOne(EventText({{name, value}})), "invalid_json") << name << " " << value;
    }
    EXPECT_EQ(IngestOne(EventText({{"dimensions", fmt::format("{{\"a\":{}}}", value)}})),
              "invalid_json")
        << value;
    EXPECT_EQ(IngestOne(EventText({{"unknown", fmt::format("[{{\"a\":{}}}]", value)}}),
                        UnknownFields::kIgnore),
              "invalid_json")
        << value;
  }
  EXPECT_EQ(IngestOne(EventText({{"\\ud800", "1"}})), "invalid_json");
  EXPECT_EQ(IngestOne(EventText({})), "accepted") << "none of them left a trace";
}

TEST_F(IngestJson, EveryCutOfABodyIsRefused) {
  const std::string body =
      "{\"events\":[" + EventText({{"dimensions", R"({"a":"b\u00e4"})"}, {"x", "[{}]"}}) + "]}";
  for (size_t bytes = 0; bytes < body.size(); ++bytes) {
    EXPECT_EQ(Ingest(body.substr(0, bytes)), "invalid_json") << bytes;
  }
}

TEST_F(IngestJson, FaultsTellTheirPosition) {
  Ingest(R"({"events":[tru]})");
  EXPECT_EQ(message_, "not a JSON value at byte 11");
  Ingest("{\"events\":[\"\xff\"]}");
  EXPECT_NE(message_.find("at byte 12"), std::string::npos) << message_;
}

TEST_F(IngestJson, NestingIsBounded) {
  const auto nested = [](size_t depth) {
    return std::string(depth, '[') + std::string(depth, ']');
  };
  EXPECT_EQ(IngestOne(EventText({{"x", nested(kJsonDepthMax - 3)}})), "unknown_field x");
  EXPECT_EQ(IngestOne(EventText({{"x", nested(kJsonDepthMax + 1)}})), "invalid_json");
  EXPECT_EQ(IngestOne(EventText({{"x", nested(1'000'000)}})), "invalid_json");
  EXPECT_EQ(Ingest(nested(1'000'000)), "invalid_json");
  EXPECT_EQ(Ingest(std::string(1'000'000, '[')), "invalid_json");
  EXPECT_EQ(Ingest("{\"events\":" + std::string(1'000'000, '{')), "invalid_json");
}

TEST_F(IngestJson, EventsAreCounted) {
  std::string body = "{\"events\":[0";
  for (size_t i = 1; i < kEventsMax; ++i) body += ",0";
  EXPECT_EQ(Ingest(body + "]}"), "ok");
  EXPECT_EQ(Ingest(body + ",0]}"), "batch_too_large");
}

TEST_F(IngestJson, LinesStandAlone) {
  EventParser parser(UnknownFields::kReject);
  Batch batch = db_.NewBatch();
  EXPECT_FALSE(parser.ParseEventLine(EventText({{"event_id", "\"a\""}}), batch));
  EXPECT_FALSE(parser.ParseEventLine(EventText({{"event_id", "\"b\""}, {"color", "1"}}), batch));
  EXPECT_FALSE(parser.ParseEventLine("17", batch));
  EXPECT_EQ(batch.size(), 3u);
  for (const std::string& line :
       {std::string(), std::string("x"), EventText({}) + "}", EventText({}) + EventText({}),
        EventText({}).substr(1), EventText({{"quantity", "01"}})}) {
    const auto rejection = parser.ParseEventLine(line, batch);
    ASSERT_TRUE(rejection) << line;
    EXPECT_EQ(rejection->code, "invalid_json");
  }
  EXPECT_EQ(batch.size(), 3u) << "what is no JSON adds nothing";
  const auto result = db_.Ingest(std::move(batch));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->accepted, 1u);
  EXPECT_EQ(result->rejected, 2u);
}

TEST_F(IngestJson, WhatIsPrintedCanBeSentAgain) {
  ASSERT_EQ(IngestOne(EventText({{"dimensions", R"({"a":"\u0000\u001f\"\\\/"})"},
                                 {"quantity", "1.25"},
                                 {"model_id", "\"\\ud83d\\ude00\""}})),
            "accepted");
  EXPECT_EQ(IngestOne(EventToJson(db_.GetEvent("e1").value().event)), "duplicate");
}

// Random edits of a valid body: an answer every time, and what is taken reads back.
TEST_F(IngestJson, AnyEditGivesAnAnswer) {
  const std::string good =
      "{\"events\":[" +
      EventText({{"dimensions", R"({"inner":{"a":"b"}})"}, {"correction_ref", "null"}}) + "]}";
  EXPECT_TRUE(rc::check("an edited body is taken or refused", [this, &good] {
    std::string body = good;
    const int edits = *rc::gen::inRange(1, 4);
    for (int i = 0; i < edits; ++i) {
      const auto at = *rc::gen::inRange<size_t>(0, body.size());
      body[at] = *rc::gen::elementOf(std::string("{}[]\",:\\ 01e.-tnu\xff\x01"));
    }
    const std::string outcome = Ingest(body);
    RC_ASSERT(outcome == "ok" || outcome == "invalid_json" || outcome == "invalid_shape");
  }));
}

}  // namespace
}  // namespace tallystick
