#include "outcome.h"

#include <gtest/gtest.h>

#include <limits>

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
    case Outcome::kCrashed:
    case Outcome::kHung:
      return 6;
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
  EXPECT_STREQ(to_string(Outcome::kCrashed), "crashed");
  EXPECT_STREQ(to_string(Outcome::kHung), "hung");
}

TrialResult answered(Outcome outcome, std::int32_t faulty_top1, double faulty_loss) {
  TrialResult result;
  result.outcome = outcome;
  result.golden_top1 = 1;
  result.golden_loss = 0.5;
  result.faulty_top1 = faulty_top1;
  result.faulty_loss = faulty_loss;
  return result;
}

TEST(Outcome, WithoutAnAnswerIsDetectedAndNoMismatch) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  for (std::size_t i = 0; i < kOutcomeNames.size(); ++i) {
    const auto outcome = static_cast<Outcome>(i);
    EXPECT_EQ(is_due(outcome), outcome == Outcome::kCrashed || outcome == Outcome::kHung)
        << kOutcomeNames[i];
  }
  EXPECT_FALSE(is_mismatch(answered(Outcome::kCrashed, -1, kNan)));
  EXPECT_FALSE(is_mismatch(answered(Outcome::kHung, -1, kNan)));
}

TEST(Outcome, IsAMismatchWhereTheAnswerIsAnotherOrBecameNan) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInf = std::numeric_limits<double>::infinity();
  EXPECT_FALSE(is_mismatch(answered(Outcome::kMasked, 1, 0.5)));
  EXPECT_FALSE(is_mismatch(answered(Outcome::kTop1Same, 1, 2.0)));
  EXPECT_TRUE(is_mismatch(answered(Outcome::kTop1Changed, 0, 2.0)));
  EXPECT_TRUE(is_mismatch(answered(Outcome::kNonfinite, 0, kInf)));
  EXPECT_TRUE(is_mismatch(answered(Outcome::kNonfinite, 1, kNan)));
  EXPECT_FALSE(is_mismatch(answered(Outcome::kNonfinite, 1, kInf)));  // -Inf for the label alone
  TrialResult always = answered(Outcome::kNonfinite, 1, kNan);
  always.golden_loss = kNan;  // NaN without the fault too
  EXPECT_FALSE(is_mismatch(always));
}

}  // namespace
}  // namespace bitfall
