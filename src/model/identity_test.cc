#include "model/identity.h"

#include <blake3.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace tallystick {
namespace {

std::string Hex(const EventHash& hash) { return ToHex(hash.bytes.data(), hash.bytes.size()); }

std::string GlobalHash(std::string_view event_id) {
  return Hex(IdHash(IdentityScope::kGlobal, "ignored", event_id));
}

EventHash PlainBlake3(std::string_view bytes) {
  blake3_hasher hasher;
  blake3_hasher_init(&hasher);
  blake3_hasher_update(&hasher, bytes.data(), bytes.size());
  EventHash hash;
  blake3_hasher_finalize(&hasher, hash.bytes.data(), hash.bytes.size());
  return hash;
}

std::string Prefixed(const std::string& account, const std::string& id) {
  const auto bytes = static_cast<uint32_t>(account.size());
  return std::string(reinterpret_cast<const char*>(&bytes), sizeof bytes) + account + id;
}

// Empty, and around every border of BLAKE3: a block is 64 bytes, a chunk 1,024.
const std::vector<size_t> kLengths = {0,  1,  3,  4,  31,  32,  36,  59,   60,   61,   62,   63,
                                      64, 65, 66, 96, 127, 128, 129, 1023, 1024, 1025, 65535};

std::string TextOf(size_t bytes) {
  std::string text(bytes, ' ');
  for (size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>('!' + i * 7 % 90);
  return text;
}

TEST(IdentityTest, KnownAnswers) {
  EXPECT_EQ(GlobalHash("abc"), "6437b3ac38465133ffb63b75273a8db5");
  EXPECT_EQ(GlobalHash(""), "af1349b9f5f9a1a6a0404dea36dcc949");
  // From files that usageDb 0.4.0 wrote.
  EXPECT_EQ(GlobalHash("evt-00001"), "984e07fcffee505f7be49038b45d6ec9");
  EXPECT_EQ(GlobalHash("evt-00002"), "ec40866fc5cd5eeba111f039007987da");
  EXPECT_EQ(GlobalHash("evt-00091"), "1b775bf43d902bdf404e08e7637ea57d");
  EXPECT_EQ(GlobalHash("evt-00300"), "b68905ba4fdaabf9c428e1f60954f6ad");
  EXPECT_EQ(GlobalHash("evt-01179"), "134b50cac72216fe5370b9d457c06c06");
}

TEST(IdentityTest, TheOneBlockPathEqualsTheLibrary) {
  for (const size_t bytes : kLengths) {
    const std::string id = TextOf(bytes);
    EXPECT_EQ(IdHash(IdentityScope::kGlobal, "a", id), PlainBlake3(id)) << bytes;
  }
}

TEST(IdentityTest, AccountScopeHashesTheLengthTheAccountAndTheId) {
  for (const size_t account_bytes : {size_t{1}, size_t{5}, size_t{30}, size_t{60}, size_t{300}}) {
    for (const size_t bytes : kLengths) {
      const std::string account = TextOf(account_bytes);
      const std::string id = TextOf(bytes);
      EXPECT_EQ(IdHash(IdentityScope::kAccount, account, id), PlainBlake3(Prefixed(account, id)))
          << account_bytes << " " << bytes;
    }
  }
}

TEST(IdentityTest, AccountScopeKeepsTenantsApart) {
  const auto hash = [](std::string_view account, std::string_view id) {
    return IdHash(IdentityScope::kAccount, account, id);
  };
  EXPECT_NE(hash("a", "e1"), hash("b", "e1"));
  EXPECT_NE(hash("ab", "c"), hash("a", "bc"));
  EXPECT_EQ(IdHash(IdentityScope::kGlobal, "a", "e1"), IdHash(IdentityScope::kGlobal, "b", "e1"));
}

// The values are part of the format: they decide what is a duplicate, for as long as a file is
// kept.
TEST(IdentityTest, PayloadHashAndConflictKeyStay) {
  const ByteSpan bytes = AsByteSpan("canonical bytes");
  EXPECT_EQ(PayloadHash({}), 0x2d06800538d394c2u);
  EXPECT_EQ(PayloadHash(bytes), 0x7f203ce9b477bf02u);
  const EventHash id = IdHash(IdentityScope::kGlobal, "", "abc");
  EXPECT_EQ(Hex(ConflictKey(id, bytes)), "7f6f28a9d096a6ed8f1a6026807c4aa0");
}

TEST(IdentityTest, AConflictKeyIsNoHashOfAnyId) {
  const EventHash id = IdHash(IdentityScope::kGlobal, "", "abc");
  const std::string payload = "canonical bytes";
  std::string as_id(reinterpret_cast<const char*>(id.bytes.data()), id.bytes.size());
  as_id += payload;
  EXPECT_NE(ConflictKey(id, AsByteSpan(payload)), IdHash(IdentityScope::kGlobal, "", as_id));
  EXPECT_NE(ConflictKey(id, AsByteSpan(payload)), ConflictKey(id, AsByteSpan("other bytes")));
}

}  // namespace
}  // namespace tallystick
