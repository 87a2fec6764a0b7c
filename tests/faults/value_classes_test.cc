#include "value_classes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <stdexcept>
#include <vector>

namespace bitfall::value_classes_test {
namespace {

using testing::ElementsAre;

const std::vector<float> kValues = {0.0F,  -0.0F, 1.5F,
                                    -1.5F, 3.0F,  -std::numeric_limits<float>::quiet_NaN()};

std::vector<std::uint32_t> codes_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> codes;
  for (const float value : values) codes.push_back(std::bit_cast<std::uint32_t>(value));
  return codes;
}

TEST(ValueClasses, CountEveryValueOnce) {
  ClassCounts counts({30, 31}, 2);
  counts.add(1, kValues, codes_of(kValues));
  // Bit 30 is 1 from 2.0 on.
  EXPECT_THAT(counts.of(30, 0), ElementsAre(0, 2));  // 0, 1.5
  EXPECT_THAT(counts.of(30, 1), ElementsAre(0, 1));  // 3
  EXPECT_THAT(counts.of(30, 2), ElementsAre(0, 2));  // -0, -1.5
  EXPECT_THAT(counts.of(30, 3), ElementsAre(0, 1));  // -NaN
  EXPECT_THAT(counts.of(31, 0), ElementsAre(0, 3));
  EXPECT_THAT(counts.of(31, 1), ElementsAre(0, 0));
  EXPECT_THAT(counts.of(31, 3), ElementsAre(0, 3));
  EXPECT_TRUE(counts.of(29, 0).empty());
}

TEST(ValueClasses, AllThreeWaysAgree) {
  const auto codes = codes_of(kValues);
  for (const int bit : {0, 22, 23, 30, 31}) {
    ClassCounts counts({bit}, 1);
    counts.add(0, kValues, codes);
    for (int of = 0; of < kValueClasses; ++of) {
      const auto elements = elements_of_class(kValues, codes, bit, of);
      EXPECT_EQ(elements.size(), counts.of(bit, of).front());
      const FindsClass condition(of);
      for (std::size_t i = 0; i < kValues.size(); ++i) {
        const Edit edit{static_cast<std::int64_t>(i), 0, EditOperation::kFlip, 1U << bit, 0};
        const bool listed = std::find(elements.begin(), elements.end(),
                                      static_cast<std::int64_t>(i)) != elements.end();
        EXPECT_EQ(condition.holds({sizeof(EditFinds), &edit, kValues[i], codes[i], 0}), listed);
      }
    }
  }
}

TEST(ValueClasses, AreReadBackAsTheyWere) {
  ClassCounts counts({3}, 2);
  counts.add(0, kValues, codes_of(kValues));
  EXPECT_EQ(ClassCounts({3}, 2, counts.counts()), counts);
  EXPECT_THROW(ClassCounts({3, 4}, 2, counts.counts()), std::invalid_argument);
}

}  // namespace
}  // namespace bitfall::value_classes_test
