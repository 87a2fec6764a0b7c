#include "report_number.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

namespace bitfall {
namespace {

std::string print(const char* format, double value) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string fixed(double value, int decimals) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return text.data();
}

}  // namespace

int percent_decimals(const ReportData& data) {
  std::int64_t largest = 0;
  for (const GroupSummary& layer : data.layers) largest = std::max(largest, layer.trials);
  return largest > 20'000 ? 3 : 2;
}

std::string percent(double share, int decimals) {
  return std::isnan(share) ? "-" : fixed(100 * share, decimals) + " %";
}

std::string percent(const Proportion& proportion, int decimals) {
  if (proportion.trials == 0) return "-";
  return percent(proportion.rate, decimals) + " [" +
         fixed(100 * proportion.headline.low, decimals) + ", " +
         fixed(100 * proportion.headline.high, decimals) + "]";
}

std::string percent(const WeightedSum& rate, int decimals) {
  if (std::isnan(rate.value)) return "-";
  return percent(rate.value, decimals) + " [" + fixed(100 * rate.interval.low, decimals) + ", " +
         fixed(100 * rate.interval.high, decimals) + "]";
}

std::string interval_text(const Interval& interval) {
  if (std::isnan(interval.low)) return "";
  return " [" + quantity(interval.low) + ", " + quantity(interval.high) + "]";
}

std::string with_interval(const WeightedSum& mean) {
  return std::isnan(mean.value) ? "-" : quantity(mean.value) + interval_text(mean.interval);
}

std::string quantity(double value) { return std::isnan(value) ? "-" : print("%.3g", value); }

double share(std::int64_t part, std::int64_t whole) {
  if (whole == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(part) / static_cast<double>(whole);
}

std::string confidence_text(const ReportData& data) { return confidence_text(data.confidence); }

std::string confidence_text(double confidence) { return print("%.6g", 100 * confidence) + " %"; }

const std::vector<Definition>& definitions() {
  static const std::vector<Definition> all = {
      {"trial",
       "one fault meeting one image; every rate below is a share of trials, none left out"},
      {"masked", "trials whose logits are bitwise equal to the golden ones, of all trials"},
      {"top-1 same",
       "trials whose logits changed, are finite and keep the golden top-1, of all trials"},
      {"top-1 changed",
       "trials whose logits are finite with another top-1 than golden, of all trials"},
      {"non-finite", "trials with NaN or infinity among the logits, of all trials"},
      {"crashed", "trials in which the model raised an exception, of all trials"},
      {"hung",
       "trials in which the model did not end in time and was stopped, of all trials; the six "
       "outcomes add up to 100 %"},
      {"mismatch",
       "silent data corruption (SDC): trials whose top-1 differs from the golden top-1, or with "
       "NaN among the logits, of all trials (the label plays no part); a trial that crashed or "
       "hung is none, as its error was detected"},
      {"DUE",
       "detected unrecoverable errors: trials that crashed or hung, of all trials; those with "
       "another answer than golden or with none are mismatch + DUE"},
      {"misclassified",
       "trials where the golden top-1 is the label and the faulty one is not, of all trials; one "
       "that crashed or hung is none"},
      {"delta loss",
       "|golden cross-entropy - faulty cross-entropy| in nats; the mean is over trials where it is "
       "finite, the others are counted as \"delta non-finite\" and \"no answer\""},
      {"clipped",
       "the mean with each trial's delta loss cut at the clip; a non-finite one, and that of a "
       "trial without an answer, counts as the clip, so it is over all trials"},
      {"half",
       "the fewest trials (faults, where these meet several images) that make half of a layer's "
       "mean "
       "delta loss, of the clipped mean where the plain one says nothing; n_eff in JSON is (sum)^2 "
       "/ "
       "sum of squares: under 40 a mean and its interval are not to be relied on"},
      {"by bits",
       "a network's figure as the mean over layers weighted by their bits: of a rate that of a bit "
       "hit anywhere in the network. The plain mean counts layers alike, as published"},
      {"accuracy kept",
       "images that are right without a fault and whose top2diff (softmax probability of the first "
       "class minus the second) is at or above the threshold, of all images"},
      {"changing",
       "trials whose delta loss is above 0 or non-finite, or that gave no answer, of all trials"},
      {"golden", "the same model in the same number format without a fault"},
      {"interval",
       "of a rate Wilson's score interval, Clopper-Pearson's where there are fewer than 5 events "
       "or fewer than 5 trials without one; of the mean delta loss of a layer's trials, or of all, "
       "the bootstrap-t over their faults (10 000 resamples); of a metric's mean Student's t over "
       "the faults, open where these are fewer than 5 of one value; of a mean over layers what the "
       "layers' intervals leave (MOVER)"},
  };
  return all;
}

bool has_due(const ReportData& data) { return data.network.due.events > 0; }

std::string half_text(const Concentration& carried) {
  return carried.half == 0 && carried.effective > 0 ? "-" : std::to_string(carried.half);
}

std::vector<Outcome> shown_outcomes(const ReportData& data) {
  std::vector<Outcome> shown;
  for (std::size_t i = 0; i < kOutcomeNames.size(); ++i) {
    const auto outcome = static_cast<Outcome>(i);
    if (!is_due(outcome) || has_due(data)) shown.push_back(outcome);
  }
  return shown;
}

std::string outcomes_text(const GroupSummary& group, std::span<const Outcome> outcomes,
                          int decimals) {
  std::string text;
  for (const Outcome outcome : outcomes) {
    text += (text.empty() ? "" : ", ") +
            std::string(kOutcomeTitles[static_cast<std::size_t>(outcome)]) + " " +
            percent(share(group.count(outcome), group.trials), decimals);
  }
  return text;
}

std::string format_text(const RunFacts& facts) {
  std::string more = facts.format_options;
  if (!facts.site_formats.empty()) {
    more += (more.empty() ? "" : "; ") + std::string("other formats at some sites");
  }
  return more.empty() ? facts.format : facts.format + " (" + more + ")";
}

}  // namespace bitfall
