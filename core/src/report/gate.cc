#include "gate.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "error.h"
#include "report_number.h"
#include "words.h"

namespace bitfall {
namespace {

using Comparison = Gate::Comparison;

constexpr std::pair<const char*, Comparison> kComparisons[] = {{">=", Comparison::kAtLeast},
                                                               {"<=", Comparison::kAtMost},
                                                               {">", Comparison::kAbove},
                                                               {"<", Comparison::kBelow}};

/// All of the text as a finite number.
std::optional<double> finite_number(std::string_view text) {
  double value = 0;
  const auto end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value);
  if (read.ec != std::errc() || read.ptr != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

/// A figure of the run: its interval, both as text, and what it is of.
struct Figure {
  Interval interval;
  std::string text;
  std::string of;
  std::string doubt = {};  // why its interval's upper end may be too low; empty: it is not
};

Figure figure(const Proportion& rate, int decimals, const std::string& of) {
  return {rate.headline, percent(rate, decimals), of};
}

/// The mean that the report leads with, by its interval and not by that of the metric's column.
Figure loss_figure(const DeltaLossSummary& loss, bool clipped, const std::string& of) {
  const double mean = clipped ? loss.mean_clipped : loss.mean;
  const Interval& interval = clipped ? loss.clipped_interval : loss.interval;
  Figure figure{
      interval,
      quantity(mean) + " [" + quantity(interval.low) + ", " + quantity(interval.high) + "] nats",
      of};
  if (!clipped && loss.nonfinite > 0) {
    figure.of += ", " + std::to_string(loss.nonfinite) + " of them without a finite loss";
  }
  if (!clipped && loss.no_answer > 0) {
    figure.of += ", " + std::to_string(loss.no_answer) + " of them without an answer";
  }
  if (clipped ? loss.clipped_unreliable : loss.unreliable) {
    figure.doubt = "few trials carry this mean, so that its upper end may be higher";
    if (!clipped) figure.doubt += "; delta_loss_clipped is the mean with losses cut off";
  }
  return figure;
}

/// By name; the names that a run has are listed where there is none of this one.
Figure find_figure(const ReportData& data, const std::string& name) {
  const int decimals = percent_decimals(data);
  const GroupSummary& all = data.network;
  const std::pair<const char*, const Proportion*> rates[] = {{"mismatch", &all.mismatch},
                                                             {"due", &all.due},
                                                             {"nonfinite", &all.nonfinite_rate},
                                                             {"misclassified", &all.misclassified},
                                                             {"accuracy", &data.golden_accuracy}};
  const std::string trials = std::to_string(all.trials) + " trials";
  std::vector<std::string> known;
  for (const auto& [title, rate] : rates) {
    const bool images = rate == &data.golden_accuracy;
    const std::string of = images ? std::to_string(rate->trials) + " images" : trials;
    if (name == title) return figure(*rate, decimals, of);
    known.push_back(title);
  }
  for (const bool clipped : {false, true}) {
    known.push_back(clipped ? "delta_loss_clipped" : "delta_loss");
    if (name == known.back()) return loss_figure(all.delta_loss, clipped, trials);
  }
  for (const MetricSummary& metric : all.metrics) {
    if (name == metric.column) {
      return {metric.event ? metric.rate.headline : metric.interval, metric_text(metric, decimals),
              trials};
    }
    if (std::find(known.begin(), known.end(), metric.column) == known.end()) {
      known.push_back(metric.column);
    }
  }
  const std::string near = did_you_mean(name, known);
  throw Error(ExitCode::kUsage,
              "--fail-if: the run has no rate '" + name + "'" +
                  (near.empty() ? "; it has " + joined(known, ", ") : ", " + near));
}

/// Whether a value in the interval, or one that nobody knows, meets the condition.
bool may_meet(const Interval& interval, const Gate& gate) {
  switch (gate.comparison) {
    case Comparison::kAbove:
      return !(interval.high <= gate.bound);
    case Comparison::kAtLeast:
      return !(interval.high < gate.bound);
    case Comparison::kBelow:
      return !(interval.low >= gate.bound);
    case Comparison::kAtMost:
      return !(interval.low > gate.bound);
  }
  return true;
}

bool is_upper(Comparison comparison) {
  return comparison == Comparison::kAbove || comparison == Comparison::kAtLeast;
}

}  // namespace

Gate parse_gate(std::string_view text) {
  const Error refusal(ExitCode::kUsage,
                      "--fail-if '" + std::string(text) +
                          "': a name, one of > >= < <= and a number are expected, such as "
                          "'mismatch > 3 %'");
  for (const auto& [sign, comparison] : kComparisons) {
    const auto place = text.find(sign);
    if (place == text.npos) continue;
    const std::string_view limit = trimmed(text.substr(place + std::string_view(sign).size()));
    const bool percents = limit.ends_with('%');
    const auto bound = finite_number(trimmed(percents ? limit.substr(0, limit.size() - 1) : limit));
    Gate gate{std::string(trimmed(text.substr(0, place))), comparison, bound.value_or(0),
              std::string(limit)};
    if (gate.name.empty() || !bound) throw refusal;
    if (percents) gate.bound /= 100;
    return gate;
  }
  throw refusal;
}

GateVerdict judge(const ReportData& data, const Gate& gate) {
  const Figure found = find_figure(data, gate.name);
  GateVerdict verdict;
  verdict.text =
      gate.name + " is " + found.text + " at " + confidence_text(data) + " confidence, " + found.of;
  if (data.sampling && data.done == data.planned && !data.facts.finished) {
    verdict.fails = true;
    verdict.text += "; the run is not complete: further rounds may follow";
    return verdict;
  }
  if (data.done < data.planned) {
    verdict.fails = true;
    verdict.text += "; the run is not complete: " + std::to_string(data.planned) + " are planned";
    return verdict;
  }
  verdict.fails = may_meet(found.interval, gate);
  const char* const end = is_upper(gate.comparison) ? "upper" : "lower";
  const char* const side[] = {"above", "at or above", "below", "at or below"};
  if (!verdict.fails && is_upper(gate.comparison) && !found.doubt.empty()) {
    verdict.fails = true;
    verdict.text += "; " + found.doubt;
    return verdict;
  }
  verdict.text += std::string("; the ") + end + " end is " + (verdict.fails ? "" : "not ") +
                  side[static_cast<int>(gate.comparison)] + " " + gate.limit;
  return verdict;
}

}  // namespace bitfall
