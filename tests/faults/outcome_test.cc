#include "outcome.h"

#include <gtest/gtest.h>

namespace bitfall {
namespace {

// Without a default, so that a new enumerator does not compile until it is counted here.
constexpr std::size_t count(BitClass last) {
  switch (last) {
    case BitClass::kSign:
    case BitClass::kExponent:
    case BitClass::kMantissa:
    case BitClass::kRegime:
    case BitClass::kMetadata:
      return 5;
  }
  return 0;
}

constexpr std::size_t count(EditOperation last) {
  switch (last) {
    case EditOperation::kFlip:
    case EditOperation::kSet:
    case EditOperation::kClear:
    case EditOperation::kWrite:
    case EditOperation::kValue:
    case EditOperation::kAdd:
    case EditOperation::kMultiply:
      return 7;
  }
  return 0;
}

constexpr std::size_t count(Target last) {
  switch (last) {
    case Target::kActivation:
    case Target::kWeight:
    case Target::kInput:
      return 3;
  }
  return 0;
}

constexpr std::size_t count(Outcome last) {
  switch (last) {
    case Outcome::kMasked:
    case Outcome::kTop1Same:
    case Outcome::kTop1Changed:
    case Outcome::kNonfinite:
      return 4;
  }
  return 0;
}

TEST(Names, AreOfAllValuesAndInTheirOrder) {
  EXPECT_EQ(kBitClassNames.size(), count(BitClass::kSign));
  EXPECT_EQ(kEditOperationNames.size(), count(EditOperation::kFlip));
  EXPECT_EQ(kTargetNames.size(), count(Target::kActivation));
  EXPECT_EQ(kOutcomeNames.size(), count(Outcome::kMasked));
  EXPECT_STREQ(to_string(BitClass::kMetadata), "metadata");
  EXPECT_STREQ(to_string(EditOperation::kMultiply), "multiply");
  EXPECT_STREQ(to_string(Target::kInput), "input");
  EXPECT_STREQ(to_string(Outcome::kNonfinite), "nonfinite");
}

}  // namespace
}  // namespace bitfall
