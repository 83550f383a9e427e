// The model against a real engine, and against answers that break a promise.
#include "testing/reference_model.h"

#include <gtest/gtest.h>

#include <memory>

#include "testing/scenario.h"
#include "testing/temp_dir.h"

namespace tallystick {
namespace {

class ReferenceModelTest : public testing::Test {
 protected:
  ReferenceModelTest() {
    auto db = Db::Open(dir_.path() + "/data", {});
    EXPECT_TRUE(db.ok()) << db.status().ToString();
    db_ = std::make_unique<Db>(std::move(db).value());
  }

  IngestResult Send(const std::vector<Event>& events) {
    model_.Sent(events);
    return SendUnknown(events);
  }
  // The model does not hear of it.
  IngestResult SendUnknown(const std::vector<Event>& events) {
    Batch batch = db_->NewBatch();
    for (const Event& event : events) batch.Add(EventAsView(event).view());
    auto result = db_->Ingest(std::move(batch));
    EXPECT_TRUE(result.ok()) << result.status().ToString();
    return std::move(result).value();
  }

  TempDir dir_;
  std::unique_ptr<Db> db_;
  ReferenceModel model_;
};

const std::vector<Event> kSome = {SmallEvent(0), SmallEvent(1), SmallEvent(4, 0, 1), SmallEvent(0),
                                  SmallEvent(1, 1)};

TEST_F(ReferenceModelTest, AgreesWithAnEngineThatKeepsItsPromises) {
  EXPECT_EQ(model_.Answered(kSome, Send(kSome)), "");
  EXPECT_EQ(model_.Learn(*db_), "");
  EXPECT_EQ(model_.rows_known(), 4u);
  for (uint64_t seed = 0; seed < 200; ++seed) {
    ASSERT_EQ(model_.CheckQueries(*db_, {seed % 5}, seed), "") << seed;
  }
  const auto all = model_.Everything();
  EXPECT_EQ(model_.CheckResent(all, Send(all)), "");
}

TEST_F(ReferenceModelTest, UnansweredEventsMayBeThereOrNot) {
  Send({SmallEvent(0)});
  model_.Sent(std::vector<Event>{SmallEvent(9)});
  EXPECT_EQ(model_.Learn(*db_), "");
  EXPECT_EQ(model_.rows_known(), 1u);
}

TEST_F(ReferenceModelTest, WhatWasNeverSentIsNoticed) {
  SendUnknown({SmallEvent(0)});
  EXPECT_NE(model_.Learn(*db_), "");
}

TEST_F(ReferenceModelTest, ALostRowIsNoticed) {
  IngestResult result = Send({SmallEvent(0)});
  model_.Sent(std::vector<Event>{SmallEvent(1)});
  result.outcomes[0].lsn = {2};
  result.lsn = {2};
  EXPECT_EQ(model_.Answered(std::vector<Event>{SmallEvent(1)}, result), "");
  EXPECT_NE(model_.Learn(*db_), "");
}

TEST_F(ReferenceModelTest, AnLsnWithTwoContentsIsNoticed) {
  const std::vector<Event> first = {SmallEvent(0)}, second = {SmallEvent(1)};
  IngestResult result = Send(first);
  EXPECT_EQ(model_.Answered(first, result), "");
  model_.Sent(second);
  EXPECT_NE(model_.Answered(second, result), "") << "LSN 1 is event 0";
}

TEST_F(ReferenceModelTest, AResendThatIsAcceptedIsNoticed) {
  const std::vector<Event> events = {SmallEvent(0)};
  IngestResult result = Send(events);
  EXPECT_EQ(model_.Answered(events, result), "");
  EXPECT_NE(model_.CheckResent(events, result), "");
}

TEST_F(ReferenceModelTest, ADifferentAnswerIsNoticed) {
  ReferenceModel other = model_;
  const std::vector<Event> believed = {SmallEvent(0, 1)};
  const IngestResult result = Send({SmallEvent(0)});
  other.Sent(believed);
  EXPECT_EQ(other.Answered(believed, result), "");
  EXPECT_NE(other.CheckQueries(*db_, {1}, 1), "");
  EXPECT_EQ(model_.Learn(*db_), "") << "a copy is independent";
  EXPECT_EQ(model_.CheckQueries(*db_, {1}, 1), "");
}

}  // namespace
}  // namespace tallystick
