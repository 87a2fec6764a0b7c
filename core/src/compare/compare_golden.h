// What two arms answer without a fault, image by image.
#pragma once

#include "compare.h"
#include "compare_match.h"

namespace bitfall {

class GoldenAnswers {
 public:
  /// Borrows the run.
  explicit GoldenAnswers(const ComparedRun& run) : run_(run) {}

  /// Mean top2diff of the golden answers, NaN ones left out. `stream` numbers the resamples.
  Estimate top2diff(std::uint64_t stream, double confidence) const;

  /// Mean loss of the golden answers, non-finite ones left out.
  Estimate nll(std::uint64_t stream, double confidence) const;

  GoldenChange accuracy_change(const GoldenAnswers& baseline, double confidence) const;
  GoldenChange fp32_change(const GoldenAnswers& baseline, double confidence) const;
  GoldenChange top2diff_change(const GoldenAnswers& baseline, double confidence) const;
  GoldenChange nll_change(const GoldenAnswers& baseline, double confidence) const;

 private:
  template <typename Value>
  std::vector<std::pair<double, double>> pairs(const GoldenAnswers& baseline, Value value) const;
  template <typename Top1>
  GoldenChange right_answers(const GoldenAnswers& baseline, Top1 top1, double confidence) const;

  const ComparedRun& run_;
};

}  // namespace bitfall
