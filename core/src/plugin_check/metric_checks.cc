// What metrics are tried with.
#include <algorithm>
#include <cmath>
#include <limits>

#include "any_kind_checks.h"
#include "bounded_array.h"
#include "check_inputs.h"

namespace bitfall {
namespace {

enum class Logits { kUsual, kEqual, kWild, kNan, kInf, kMinusInf, kTies };
constexpr const char* kLogitsNames[] = {"usual",   "equal to golden", "wild",     "all NaN",
                                        "all Inf", "all -Inf",        "all alike"};

std::size_t largest_of(const BoundedArray<float>& logits) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < logits.size(); ++i) {
    const bool better =
        std::isnan(logits[i]) ? !std::isnan(logits[best]) : logits[i] > logits[best];
    if (better) best = i;
  }
  return best;
}

/// Of float64, from float32 logits, as the host computes it.
double cross_entropy(const BoundedArray<float>& logits, std::size_t label) {
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const float logit : logits) most = std::isnan(logit) ? logit : std::max<double>(most, logit);
  for (const float logit : logits) sum += std::exp(logit - most);
  return std::log(sum) - (logits[label] - most);
}

/// One trial.
struct Answers {
  BoundedArray<float> golden, faulty;
  std::size_t label;
  Observation view() const {
    return {sizeof(Observation),
            golden.view(),
            faulty.view(),
            static_cast<std::int64_t>(label),
            cross_entropy(golden, label),
            cross_entropy(faulty, label),
            static_cast<std::int64_t>(largest_of(golden)),
            static_cast<std::int64_t>(largest_of(faulty))};
  }
};

Answers answers(std::size_t classes, Logits kind, PhiloxStream random) {
  const auto golden = usual_values(classes, random);
  Answers made{BoundedArray<float>(std::span<const float>{golden}),
               BoundedArray<float>(std::span<const float>{golden}), random.below(classes)};
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  switch (kind) {
    case Logits::kUsual: {
      const auto faulty = usual_values(classes, random);
      std::copy(faulty.begin(), faulty.end(), made.faulty.begin());
      break;
    }
    case Logits::kEqual:
      break;
    case Logits::kWild: {
      const auto faulty = wild_values(classes, random);
      std::copy(faulty.begin(), faulty.end(), made.faulty.begin());
      break;
    }
    case Logits::kNan:
      made.faulty.fill(std::numeric_limits<float>::quiet_NaN());
      break;
    case Logits::kInf:
      made.faulty.fill(kInfinity);
      break;
    case Logits::kMinusInf:
      made.faulty.fill(-kInfinity);
      break;
    case Logits::kTies:
      made.faulty.fill(0.5F);
      break;
  }
  return made;
}

Cases<Metric> cases_with(const Subject& subject, std::vector<std::size_t> classes) {
  if (subject.classes() > 0) classes = {subject.classes()};
  Cases<Metric> cases;
  std::uint64_t stream = 10;
  for (const std::size_t count : classes) {
    for (int kind = 0; kind <= static_cast<int>(Logits::kTies); ++kind) {
      const auto made = std::make_shared<Answers>(
          answers(count, static_cast<Logits>(kind), subject.random(++stream)));
      cases.push_back({"measure of " + std::to_string(count) +
                           (count == 1 ? " class" : " classes") + ", faulty logits " +
                           kLogitsNames[kind],
                       [made](const Metric& metric) {
                         BoundedArray<double> values(metric.columns().size());
                         metric.measure(made->view(), values.view());
                         Words words;
                         add_words(words, values);
                         return words;
                       }});
    }
  }
  return cases;
}

Cases<Metric> all_metric_cases(const Subject& subject) {
  return cases_with(subject, {1, 2, 3, 12, 100, 1000});
}
Cases<Metric> few_metric_cases(const Subject& subject) { return cases_with(subject, {1, 2, 12}); }

std::vector<std::string> column_texts(const Metric& metric) {
  std::vector<std::string> texts;
  for (const MetricColumn& column : metric.columns()) {
    texts.push_back(std::string(column.name) + "/" + column.unit + "/" + column.help +
                    std::to_string(static_cast<int>(column.kind)));
  }
  return texts;
}

void check_columns(const Subject& subject) {
  const auto metric = subject.make<Metric>(), other = subject.make<Metric>();
  const auto columns = column_texts(*metric);
  all_results(all_metric_cases(subject), *metric);  // the host looks at what is written
  if (column_texts(*metric) != columns || column_texts(*other) != columns) {
    throw CheckFailure("has other columns in another call or instance");
  }
}

constexpr Check kBasicMetricChecks[] = {
    {"columns", "every column is written and no more, events are 0 or 1, for any logits",
     check_columns},
};

}  // namespace

std::vector<Check> metric_checks() {
  return checks_over<Metric, all_metric_cases, few_metric_cases>(kBasicMetricChecks, {});
}

}  // namespace bitfall
