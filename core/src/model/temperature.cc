#include "temperature.h"

#include <algorithm>
#include <cmath>

#include "error.h"
#include "numbers.h"

namespace bitfall {
namespace {

/// Softmax probabilities at a temperature need the largest logit alone to be safe.
struct Softened {
  double largest = 0, sum = 0, second = 0;

  Softened(std::span<const float> logits, double temperature) {
    std::size_t first = 0;
    for (std::size_t i = 1; i < logits.size(); ++i) {
      if (logits[i] > logits[first]) first = i;
    }
    largest = static_cast<double>(logits[first]);
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const double part = std::exp((static_cast<double>(logits[i]) - largest) / temperature);
      sum += part;
      if (i != first) second = std::max(second, part);
    }
  }
};

constexpr double kGolden = 0.6180339887498949;  // of the section

template <typename Value>
double smallest_between(double low, double high, const Value& value) {
  double a = high - kGolden * (high - low), b = low + kGolden * (high - low);
  double at_a = value(a), at_b = value(b);
  while (high - low > 1e-10) {
    if (at_a < at_b) {
      high = b;
      b = a;
      at_b = at_a;
      a = high - kGolden * (high - low);
      at_a = value(a);
    } else {
      low = a;
      a = b;
      at_a = at_b;
      b = low + kGolden * (high - low);
      at_b = value(b);
    }
  }
  return (low + high) / 2;
}

/// Where a monotonic function crosses 0 between the ends; nothing where it does not.
template <typename Value>
std::optional<double> crossing(double low, double high, const Value& value) {
  const double at_low = value(low), at_high = value(high);
  if ((at_low < 0) == (at_high < 0)) return std::nullopt;
  while (high - low > 1e-12) {
    const double middle = (low + high) / 2;
    ((value(middle) < 0) == (at_low < 0) ? low : high) = middle;
  }
  return (low + high) / 2;
}

void check_answers(const ScaledAnswers& answers) {
  if (answers.logits.empty()) throw Error(ExitCode::kInput, "there is no image to fit on");
  for (std::size_t i = 0; i < answers.logits.size(); ++i) {
    for (const float logit : answers.logits[i]) {
      if (std::isfinite(logit)) continue;
      throw Error(ExitCode::kInput, "no temperature can be found: image " + std::to_string(i) +
                                        " has a logit that is NaN or infinite without a fault");
    }
  }
}

const double kLow = std::log(kLeastTemperature), kHigh = std::log(kMostTemperature);

}  // namespace

double ScaledAnswers::nll(double temperature) const {
  double sum = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const Softened soft(logits[i], temperature);
    const double label = static_cast<double>(logits[i][static_cast<std::size_t>(labels[i])]);
    sum += std::log(soft.sum) - (label - soft.largest) / temperature;
  }
  return sum / static_cast<double>(logits.size());
}

double ScaledAnswers::top2diff(double temperature) const {
  double sum = 0;
  for (const auto& row : logits) {
    const Softened soft(row, temperature);
    sum += (1 - soft.second) / soft.sum;
  }
  return sum / static_cast<double>(logits.size());
}

double fit_temperature(const ScaledAnswers& answers) {
  check_answers(answers);
  // The loss falls for ever as 1 / T grows where all answers are right; and it is smallest at
  // 1 / T = 0 where its slope there, the mean of (mean logit - label's logit), is not negative.
  bool all_right = true;
  double slope = 0;
  for (std::size_t i = 0; i < answers.logits.size(); ++i) {
    const auto& row = answers.logits[i];
    const float label = row[static_cast<std::size_t>(answers.labels[i])];
    all_right &= label >= *std::max_element(row.begin(), row.end());
    for (const float logit : row) {
      slope += (static_cast<double>(logit) - static_cast<double>(label)) /
               static_cast<double>(row.size());
    }
  }
  if (all_right) {
    throw Error(ExitCode::kInput,
                "no temperature can be fitted: the loss falls for ever as the logits grow, since "
                "all " +
                    std::to_string(answers.logits.size()) +
                    " images are right; take more images, also such as the network gets wrong");
  }
  if (slope >= 0) {
    throw Error(ExitCode::kInput,
                "no temperature can be fitted: the loss is smallest where all classes are equally "
                "likely, so the answers say nothing of these labels; are the classes in the "
                "model's order?");
  }
  return std::exp(
      smallest_between(kLow, kHigh, [&](double log) { return answers.nll(std::exp(log)); }));
}

double match_temperature(const ScaledAnswers& answers, ScaleMeasure measure, double value,
                         double top2diff) {
  check_answers(answers);
  const auto at = [&](double log) {
    const double temperature = std::exp(log);
    return (measure == ScaleMeasure::kNll ? answers.nll(temperature)
                                          : answers.top2diff(temperature)) -
           value;
  };
  std::vector<double> found;
  double least = at(kHigh), most = at(kLow);  // of top2diff, less the wanted value
  if (measure == ScaleMeasure::kNll) {
    const double middle = smallest_between(kLow, kHigh, at);
    least = at(middle);
    most = std::max(at(kLow), at(kHigh));
    for (const auto& root : {crossing(kLow, middle, at), crossing(middle, kHigh, at)}) {
      if (root) found.push_back(std::exp(*root));
    }
  } else if (const auto root = crossing(kLow, kHigh, at)) {
    found.push_back(std::exp(*root));
  }
  if (found.empty()) {
    throw Error(ExitCode::kInput,
                std::string("no temperature gives the ") +
                    (measure == ScaleMeasure::kNll ? "NLL " : "top2diff ") + short_text(value) +
                    ": from T = 1/1024 to 1024 it goes from " + short_text(value + least) + " to " +
                    short_text(value + most));
  }
  return *std::min_element(found.begin(), found.end(), [&](double a, double b) {
    return std::abs(answers.top2diff(a) - top2diff) < std::abs(answers.top2diff(b) - top2diff);
  });
}

}  // namespace bitfall
