#include "outcome.h"

#include <gtest/gtest.h>

#include <limits>

namespace bitfall::outcome_test {
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

// Every number of a trial by a change to it; and its message, which is none.
TEST(SameResult, TellsEveryNumberButNoMessage) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  TrialResult result = answered(Outcome::kCrashed, -1, kNan);
  result.activated = true;
  result.metrics = {kNan, 0.0};
  result.edits.resize(1);
  result.edits[0].value_before = 0.0f;
  result.edits[0].value_after = std::numeric_limits<float>::quiet_NaN();
  result.message = "fc: no";
  const auto same_after = [&](auto change) {
    TrialResult changed = result;
    change(changed);
    return same_result(result, changed) && same_result(changed, result);
  };
  EXPECT_TRUE(same_after([](TrialResult&) {}));
  EXPECT_TRUE(same_after([](TrialResult& t) { t.message = "fc: other words"; }));
  EXPECT_TRUE(same_after([](TrialResult& t) { t.faulty_loss = -kNan; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.outcome = Outcome::kHung; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.entry = 1; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.site = 1; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.image = 1; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.activated = false; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.golden_loss += 1e-16; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.faulty_loss = 0; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.golden_top1 = 2; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.faulty_top1 = 0; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.metrics[1] = -0.0; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.metrics.pop_back(); }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.edits.clear(); }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.edits[0].edit.element = 1; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.edits[0].edit.register_index = 1; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.edits[0].edit.mask = 1; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.edits[0].code_after = 1; }));
  EXPECT_FALSE(same_after([](TrialResult& t) { t.edits[0].value_before = -0.0f; }));
}

TEST(MessageLine, IsTheFirstLineThatCanBeShown) {
  EXPECT_EQ(message_line(""), "");
  EXPECT_EQ(message_line("\n \t\n"), "");
  EXPECT_EQ(message_line("\n\nUnknown operator 'a'\r\nat line 3"), "Unknown operator 'a'");
  EXPECT_EQ(message_line("fc: caf\xC3\xA9\tbar"), "fc: caf\xC3\xA9 bar");
  EXPECT_EQ(message_line("\x1B[31mred\xFF"), "\xEF\xBF\xBD[31mred\xEF\xBF\xBD");
  EXPECT_EQ(message_line(std::string_view("a\0-", 3)), "a\xEF\xBF\xBD-");
}

TEST(MessageLine, IsCutBetweenCharacters) {
  std::string longest, cut;
  for (std::size_t i = 0; i < kLongestMessage; ++i) longest += "\xC3\xA9";
  EXPECT_EQ(message_line(longest), longest);
  cut = message_line(longest + "x");
  EXPECT_EQ(cut, longest + "...");
  EXPECT_EQ(message_line(cut), cut);
}

}  // namespace
}  // namespace bitfall::outcome_test
