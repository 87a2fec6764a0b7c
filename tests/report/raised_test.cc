#include "raised.h"

#include <gtest/gtest.h>

namespace bitfall::raised_test {
namespace {

TrialResult trial_of(std::int64_t id, Outcome outcome, const std::string& message) {
  TrialResult trial;
  trial.trial = id;
  trial.outcome = outcome;
  trial.message = message;
  return trial;
}

TEST(WithoutNumbers, ReplacesNumbersAndLeavesWords) {
  const std::pair<const char*, const char*> cases[] = {
      {"2/table: index -9223372036854775808 is out of bounds for dimension 0 with size 64",
       "2/table: index # is out of bounds for dimension # with size #"},
      {"layer1.0.conv2: shape '[1, 4, 64]' is invalid for input of size 1.5e+30",
       "layer1.0.conv2: shape '[#, #, #]' is invalid for input of size #"},
      {"0: value cannot be converted to type int64_t without overflow",
       "0: value cannot be converted to type int64_t without overflow"},
      {"fc: conv#1 got -3, +4 and x-5 and 7", "fc: conv#1 got #, +# and x-# and #"},
      {"fc: 3.", "fc: #."},
      {"fc: 1e", "fc: #e"},
      {"5 without a step", "# without a step"},
      {"", ""},
      {"-", "-"},
      {"fc: ", "fc: "}};
  for (const auto& [message, without] : cases) EXPECT_EQ(without_numbers(message), without);
}

TEST(RaisedCount, CountsByOutcomeAndMessageWithoutNumbers) {
  RaisedCount count;
  count.add(trial_of(1, Outcome::kMasked, ""));
  count.add(trial_of(2, Outcome::kHung, "loop: ran 10 times"));
  count.add(trial_of(3, Outcome::kCrashed, "fc: index 7"));
  count.add(trial_of(5, Outcome::kCrashed, "fc: index 9"));
  count.add(trial_of(7, Outcome::kCrashed, "conv: index 9"));
  count.add(trial_of(8, Outcome::kCrashed, "loop: ran 10 times"));
  EXPECT_EQ(count.kinds(), 4);
  const std::vector<Raised> all = count.commonest(10);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].message, "fc: index 7");
  EXPECT_EQ(all[0].trials, 2);
  EXPECT_EQ(all[0].example, 3);
  EXPECT_EQ(all[0].outcome, Outcome::kCrashed);
  EXPECT_EQ(all[1].example, 2);  // then the first
  EXPECT_EQ(all[1].outcome, Outcome::kHung);
  EXPECT_EQ(all[2].example, 7);
  EXPECT_EQ(all[3].example, 8);
  ASSERT_EQ(count.commonest(1).size(), 1u);
  EXPECT_EQ(count.commonest(1)[0].example, 3);
}

TEST(RaisedCount, ShowsNothingThatATerminalWouldObey) {
  RaisedCount count;
  count.add(trial_of(0, Outcome::kCrashed, "\x1B[2Jfc\nsecond line"));
  EXPECT_EQ(count.commonest(1)[0].message, "\xEF\xBF\xBD[2Jfc");
}

}  // namespace
}  // namespace bitfall::raised_test
