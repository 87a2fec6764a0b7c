#include "compare_golden.h"

#include <cmath>
#include <limits>

#include "bootstrap.h"

namespace bitfall {
namespace {

// Streams of the layers are far below.
constexpr std::uint64_t kStreams = std::uint64_t{1} << 62;

constexpr std::uint64_t kNllStreams = 1 << 21;  // among them

Estimate mean(const std::vector<double>& values, std::uint64_t stream, double confidence) {
  const auto n = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) sum += value;
  Bootstrap bootstrap(kStreams + stream);
  std::vector<double> replicates;
  for (int r = 0; r < kResamples; ++r) {
    double drawn = 0;
    bootstrap.draw(values.size(), [&](std::size_t i) { drawn += values[i]; });
    replicates.push_back(drawn / n);
  }
  return {values.empty() ? std::numeric_limits<double>::quiet_NaN() : sum / n,
          percentile_interval(std::move(replicates), confidence)};
}

GoldenChange change(const std::vector<std::pair<double, double>>& pairs, double confidence) {
  std::vector<double> differences;
  for (const auto& [before, after] : pairs) differences.push_back(after - before);
  GoldenChange result;
  result.images = static_cast<std::int64_t>(pairs.size());
  result.difference = mean(differences, 1 << 20, confidence);
  return result;
}

}  // namespace

// (baseline, this) of the images that both have, where neither is NaN.
template <typename Value>
std::vector<std::pair<double, double>> GoldenAnswers::pairs(const GoldenAnswers& baseline,
                                                            Value value) const {
  std::vector<std::pair<double, double>> pairs;
  const auto &first = baseline.run_.golden, &second = run_.golden;
  for (std::size_t a = 0, b = 0; a < first.size() && b < second.size();) {
    if (first[a].image == second[b].image) {
      const double before = value(first[a]), after = value(second[b]);
      if (!std::isnan(before) && !std::isnan(after)) pairs.emplace_back(before, after);
      ++a, ++b;
    } else {
      first[a].image < second[b].image ? ++a : ++b;
    }
  }
  return pairs;
}

template <typename Top1>
GoldenChange GoldenAnswers::right_answers(const GoldenAnswers& baseline, Top1 top1,
                                          double confidence) const {
  const auto right = [&](const GoldenResult& row) {
    return top1(row) == run_.run.labels[static_cast<std::size_t>(row.image)] ? 1.0 : 0.0;
  };
  const auto both = pairs(baseline, right);
  GoldenChange result = change(both, confidence);
  Discordance& wrong = result.wrong.emplace();
  wrong.pairs = result.images;
  for (const auto& [before, after] : both) {
    wrong.only_baseline += before < after;
    wrong.only_arm += before > after;
  }
  wrong.p = mcnemar_exact(wrong.only_baseline, wrong.only_arm);
  return result;
}

Estimate GoldenAnswers::top2diff(std::uint64_t stream, double confidence) const {
  std::vector<double> values;
  for (const GoldenResult& row : run_.golden) {
    if (!std::isnan(row.top2diff)) values.push_back(static_cast<double>(row.top2diff));
  }
  return mean(values, stream, confidence);
}

Estimate GoldenAnswers::nll(std::uint64_t stream, double confidence) const {
  std::vector<double> losses;
  for (const GoldenResult& row : run_.golden) {
    if (std::isfinite(row.loss)) losses.push_back(row.loss);
  }
  return mean(losses, kNllStreams + stream, confidence);
}

GoldenChange GoldenAnswers::nll_change(const GoldenAnswers& baseline, double confidence) const {
  const auto of = [](const GoldenResult& row) {
    return std::isfinite(row.loss) ? row.loss : std::numeric_limits<double>::quiet_NaN();
  };
  return change(pairs(baseline, of), confidence);
}

GoldenChange GoldenAnswers::accuracy_change(const GoldenAnswers& baseline,
                                            double confidence) const {
  return right_answers(baseline, [](const GoldenResult& row) { return row.top1; }, confidence);
}

GoldenChange GoldenAnswers::fp32_change(const GoldenAnswers& baseline, double confidence) const {
  return right_answers(baseline, [](const GoldenResult& row) { return row.fp32_top1; }, confidence);
}

GoldenChange GoldenAnswers::top2diff_change(const GoldenAnswers& baseline,
                                            double confidence) const {
  const auto of = [](const GoldenResult& row) { return static_cast<double>(row.top2diff); };
  return change(pairs(baseline, of), confidence);
}

}  // namespace bitfall
