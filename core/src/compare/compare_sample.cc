#include "compare_sample.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "bootstrap.h"
#include "mean_draws.h"
#include "mean_estimate.h"

namespace bitfall {
namespace {

constexpr double kInfinite = std::numeric_limits<double>::infinity();
constexpr double kReliableEvents = 5;

// Whether an interval of the mean is not to be relied on.
bool is_thin(const Carried& carried, double least = kReliableDraws) {
  return carried.effective() < least || carried.thin_parts;
}

struct Quantity {
  double Means::* mean;
  Estimate Values::* value;
  Ratio Improvement::* ratio;
  bool (*unreliable)(const Resamples&);
};
constexpr Quantity kQuantities[] = {
    {&Means::loss, &Values::loss, &Improvement::loss,
     [](const Resamples& of) { return is_thin(of.loss); }},
    {&Means::clipped, &Values::clipped, &Improvement::clipped,
     [](const Resamples& of) { return is_thin(of.clipped); }},
    {&Means::mismatch, &Values::mismatch, &Improvement::mismatch,
     [](const Resamples& of) { return is_thin(of.mismatch, kReliableEvents); }},
    {&Means::due, &Values::due, &Improvement::due,
     [](const Resamples& of) { return is_thin(of.due, kReliableEvents); }}};

// 0 / 0 is NaN; x / 0 infinite.
double quotient(double baseline, double arm) {
  if (arm == 0 && baseline > 0) return kInfinite;
  return baseline / arm;
}

std::vector<double> replicates_of(const Resamples& sample, double Means::* mean) {
  std::vector<double> values;
  values.reserve(sample.replicates.size());
  for (const Means& replicate : sample.replicates) values.push_back(replicate.*mean);
  return values;
}

void add_spread(Resamples& sample, const TrialSums& draw) {
  sample.loss.spread += draw.loss * draw.loss;
  sample.clipped.spread += draw.clipped * draw.clipped;
  // Several trials of a fault are one event.
  sample.mismatch.spread += draw.mismatches > 0;
  sample.mismatch.mean += draw.mismatches > 0;
  sample.due.spread += draw.dues > 0;
  sample.due.mean += draw.dues > 0;
}

// `all`: the sums of all draws.
void finish_spread(Resamples& sample, const TrialSums& all) {
  const auto finish = [](Carried& carried, double sum, double count) {
    if (count == 0) return;
    carried.mean = sum / count;
    carried.spread /= count * count;
  };
  finish(sample.loss, all.loss, all.finite);
  finish(sample.clipped, all.clipped, all.trials);
  finish(sample.mismatch, sample.mismatch.mean, all.trials);
  finish(sample.due, sample.due.mean, all.trials);
}

// Of a weighted mean (sum of w m)^2 / sum of w^2 q.
Carried weighted_carried(const std::vector<const Resamples*>& layers,
                         const std::vector<double>& weights, Carried Resamples::* of,
                         double least) {
  Carried mean;
  double thin = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    mean.mean += weights[i] * (layers[i]->*of).mean;
    if (is_thin(layers[i]->*of, least)) thin += weights[i] * (layers[i]->*of).mean;
    mean.spread += weights[i] * weights[i] * (layers[i]->*of).spread;
  }
  mean.thin_parts = thin > mean.mean / 2;
  return mean;
}

// The weighted mean of what `select` takes of each layer.
template <typename Select>
Means average(const std::vector<const Resamples*>& layers, const std::vector<double>& weights,
              Select select) {
  Means result;
  for (const Quantity& of : kQuantities) {
    double sum = 0, weight = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (std::isnan(layers[i]->point.*of.mean)) continue;  // nothing was measured there
      sum += weights[i] * (select(*layers[i]).*of.mean);
      weight += weights[i];
    }
    result.*of.mean = weight > 0 ? sum / weight : kNan;
  }
  return result;
}

}  // namespace

TrialSums& TrialSums::operator+=(const TrialSums& other) {
  loss += other.loss;
  finite += other.finite;
  clipped += other.clipped;
  mismatches += other.mismatches;
  dues += other.dues;
  trials += other.trials;
  return *this;
}

TrialSums TrialSums::times(double factor) const {
  return {factor * loss,       factor * finite, factor * clipped,
          factor * mismatches, factor * dues,   factor * trials};
}

Means TrialSums::means() const {
  return {finite > 0 ? loss / finite : kNan, trials > 0 ? clipped / trials : kNan,
          trials > 0 ? mismatches / trials : kNan, trials > 0 ? dues / trials : kNan};
}

void LayerTrials::add(const TrialEffect& effect, const TrialResult& trial) {
  const double delta = std::abs(effect.change);
  trials_.push_back({trial.trial, effect.fault, place_of_fault(trial),
                     std::isfinite(delta) ? delta : kNan, effect.clipped, effect.mismatch,
                     is_due(effect.outcome)});
  for (const double value : trial.metrics) {
    metrics_.push_back(is_due(effect.outcome) ? std::numeric_limits<float>::quiet_NaN()
                                              : static_cast<float>(value));
  }
}

TrialSums LayerTrials::SampledTrial::sums() const {
  const bool finite = !std::isnan(loss);
  return {finite ? loss : 0, finite ? 1.0 : 0.0, clipped, mismatch ? 1.0 : 0.0, due ? 1.0 : 0.0, 1};
}

TrialPairs::TrialPairs(const LayerTrials& baseline, const LayerTrials& arm)
    : baseline_(baseline), arm_(arm) {
  const bool by_rank = baseline.complete && arm.complete;
  for (std::size_t a = 0, b = 0; a < baseline.size() && b < arm.size();) {
    const auto &left = baseline.trials_[a], &right = arm.trials_[b];
    if (by_rank || left.id == right.id) {
      if (left.place == right.place) same_.emplace_back(a, b);
      ++a, ++b;
    } else {
      left.id < right.id ? ++a : ++b;
    }
  }
}

MetricChanges::MetricChanges(std::span<const StoredColumn> baseline,
                             std::span<const StoredColumn> arm)
    : width_of_baseline_(baseline.size()), width_of_arm_(arm.size()) {
  for (std::size_t i = 0; i < baseline.size(); ++i) {
    const auto found = std::ranges::find(arm, baseline[i].name, &StoredColumn::name);
    if (found == arm.end()) continue;
    StoredColumn quantity = baseline[i];
    quantity.kind = ColumnKind::kQuantity;
    columns_.push_back({baseline[i].kind == ColumnKind::kEvent, i,
                        static_cast<std::size_t>(found - arm.begin()), MetricTally(quantity)});
  }
}

void MetricChanges::add(const TrialPairs& pairs, bool by_fault) {
  const LayerTrials &baseline = pairs.baseline_, &arm = pairs.arm_;
  pairs_ += static_cast<std::int64_t>(pairs.same_.size());
  by_fault_ |= by_fault;
  for (const auto& [a, b] : pairs.same_) {
    const std::int64_t fault = baseline.trials_[a].fault;
    for (Column& column : columns_) {
      const double left = baseline.metrics_[a * width_of_baseline_ + column.in_baseline];
      const double right = arm.metrics_[b * width_of_arm_ + column.in_arm];
      if (column.event) {  // without an answer, without the event
        column.only_baseline += left == 1 && right != 1;
        column.only_arm += right == 1 && left != 1;
      } else {
        column.change.add(fault, true, right - left);
      }
    }
  }
}

std::vector<MetricChange> MetricChanges::finish(double confidence) const {
  std::vector<MetricChange> changes;
  if (pairs_ == 0) return changes;
  for (const Column& column : columns_) {
    const MetricSummary summary = column.change.finish(confidence);
    MetricChange& change = changes.emplace_back();
    change.column = summary.column;
    change.unit = summary.unit;
    change.event = column.event;
    if (!column.event) {
      change.pairs = pairs_ - summary.nonfinite;
      change.difference = summary.mean;
      change.interval = summary.interval;
      continue;
    }
    change.pairs = pairs_;
    change.difference = static_cast<double>(column.only_arm - column.only_baseline) /
                        static_cast<double>(pairs_);
    change.interval = {kNan, kNan};
    if (by_fault_) continue;
    change.split = {pairs_, column.only_baseline, column.only_arm,
                    mcnemar_exact(column.only_baseline, column.only_arm)};
  }
  return changes;
}

Pairing TrialPairs::pairing() const {
  Pairing pairing;
  pairing.matched = true;
  const auto smaller = static_cast<double>(std::min(baseline_.size(), arm_.size()));
  pairing.pairs = static_cast<std::int64_t>(same_.size());
  pairing.paired = !same_.empty() && static_cast<double>(same_.size()) >= kPairedShare * smaller;
  if (!pairing.paired) {
    for (const LayerTrials* trials : {&baseline_, &arm_}) {
      pairing.by_fault |= units(*trials).size() < trials->size();
    }
    return pairing;
  }
  paired_units(pairing.by_fault);
  if (pairing.by_fault) return pairing;
  pairing.mismatches = discordance(&TrialSums::mismatches);
  pairing.dues = discordance(&TrialSums::dues);
  return pairing;
}

Discordance TrialPairs::discordance(double TrialSums::* events) const {
  Discordance split;
  split.pairs = static_cast<std::int64_t>(same_.size());
  for (const auto& [a, b] : same_) {
    const bool left = baseline_.trials_[a].sums().*events > 0;
    const bool right = arm_.trials_[b].sums().*events > 0;
    split.only_baseline += left && !right;
    split.only_arm += right && !left;
  }
  split.p = mcnemar_exact(split.only_baseline, split.only_arm);
  return split;
}

std::vector<TrialPairs::Unit> TrialPairs::units(const LayerTrials& arm) {
  std::vector<Unit> units;
  std::int64_t fault = -1;
  for (const LayerTrials::SampledTrial& trial : arm.trials_) {
    if (units.empty() || trial.fault != fault) units.emplace_back();
    fault = trial.fault;
    units.back().arm += trial.sums();
  }
  return units;
}

std::vector<TrialPairs::Unit> TrialPairs::paired_units(bool& by_fault) const {
  std::vector<Unit> units;
  std::int64_t fault = -1;
  for (const auto& [a, b] : same_) {
    if (units.empty() || baseline_.trials_[a].fault != fault) units.emplace_back();
    fault = baseline_.trials_[a].fault;
    units.back().baseline += baseline_.trials_[a].sums();
    units.back().arm += arm_.trials_[b].sums();
  }
  by_fault = units.size() < same_.size();
  return units;
}

// Of each unit its largest part of any sum of the two arms; 1 where it has an event, or another
// number of trials than the first.
std::vector<double> TrialPairs::shares(const std::vector<Unit>& units, const Unit& all) {
  const auto share = [](const TrialSums& unit, const TrialSums& of, const TrialSums& first) {
    if (unit.mismatches > 0 || unit.dues > 0 || unit.trials != first.trials ||
        unit.finite != first.finite) {
      return 1.0;
    }
    return std::max(unit.loss > 0 ? unit.loss / of.loss : 0,
                    unit.clipped > 0 ? unit.clipped / of.clipped : 0);
  };
  std::vector<double> shares;
  for (const Unit& unit : units) {
    shares.push_back(std::max(share(unit.baseline, all.baseline, units.front().baseline),
                              share(unit.arm, all.arm, units.front().arm)));
  }
  return shares;
}

std::pair<Resamples, Resamples> TrialPairs::draw(const std::vector<Unit>& units,
                                                 std::uint64_t stream) {
  std::pair<Resamples, Resamples> samples;
  auto& [baseline, arm] = samples;
  Unit all;
  for (const Unit& unit : units) {
    all.baseline += unit.baseline;
    all.arm += unit.arm;
    add_spread(baseline, unit.baseline);
    add_spread(arm, unit.arm);
  }
  baseline.point = all.baseline.means();
  arm.point = all.arm.means();
  finish_spread(baseline, all.baseline);
  finish_spread(arm, all.arm);
  std::vector<Unit> groups(std::min(units.size(), kMostSeparateDraws));
  for (std::size_t i = 0; i < units.size(); ++i) {
    groups[i % kMostSeparateDraws].baseline += units[i].baseline;
    groups[i % kMostSeparateDraws].arm += units[i].arm;
  }
  const UnitChoice choice(shares(groups, all));
  Unit usual;  // the sum of those alike, then their average
  for (const std::size_t i : choice.alike()) {
    usual.baseline += groups[i].baseline;
    usual.arm += groups[i].arm;
  }
  const double one = choice.alike().empty() ? 0 : 1 / static_cast<double>(choice.alike().size());
  Bootstrap bootstrap(stream);
  for (int r = 0; r < kTailResamples; ++r) {
    Unit drawn;
    const auto alike = static_cast<double>(bootstrap.draw(choice, [&](std::size_t i) {
      drawn.baseline += groups[i].baseline;
      drawn.arm += groups[i].arm;
    }));
    drawn.baseline += usual.baseline.times(alike * one);
    drawn.arm += usual.arm.times(alike * one);
    baseline.replicates.push_back(drawn.baseline.means());
    arm.replicates.push_back(drawn.arm.means());
  }
  return samples;
}

Resamples TrialPairs::sample(const LayerTrials& arm, std::uint64_t stream) {
  return draw(units(arm), stream).second;
}

std::pair<Resamples, Resamples> TrialPairs::samples(std::uint64_t stream) const {
  if (!pairing().paired) return {sample(baseline_, stream), sample(arm_, stream + 1)};
  bool by_fault = false;
  return draw(paired_units(by_fault), stream);
}

void add_limits(Resamples& sample, const GroupSummary& summary, double clip, double confidence) {
  const Values values = values_of(sample, confidence);
  sample.lower = {values.loss.interval.low, values.clipped.interval.low,
                  summary.mismatch.headline.low, summary.due.headline.low};
  const double most = summary.delta_loss.changes.headline.high * clip;
  sample.upper = {kNan, std::max(values.clipped.interval.high, summary.trials > 0 ? most : kNan),
                  summary.mismatch.headline.high, summary.due.headline.high};
}

Resamples weighted_mean(const std::vector<const Resamples*>& layers,
                        const std::vector<double>& weights) {
  Resamples mean;
  mean.point = average(layers, weights, [](const Resamples& layer) { return layer.point; });
  mean.lower = average(layers, weights, [](const Resamples& layer) { return layer.lower; });
  mean.upper = average(layers, weights, [](const Resamples& layer) { return layer.upper; });
  for (std::size_t r = 0; r < kTailResamples; ++r) {
    mean.replicates.push_back(
        average(layers, weights, [r](const Resamples& layer) { return layer.replicates[r]; }));
  }
  mean.loss = weighted_carried(layers, weights, &Resamples::loss, kReliableDraws);
  mean.clipped = weighted_carried(layers, weights, &Resamples::clipped, kReliableDraws);
  mean.mismatch = weighted_carried(layers, weights, &Resamples::mismatch, kReliableEvents);
  mean.due = weighted_carried(layers, weights, &Resamples::due, kReliableEvents);
  return mean;
}

Values values_of(const Resamples& sample, double confidence) {
  Values values;
  for (const Quantity& of : kQuantities) {
    values.*of.value = {sample.point.*of.mean,
                        percentile_interval(replicates_of(sample, of.mean), confidence)};
  }
  return values;
}

Improvement improvement_of(const Resamples& baseline, const Resamples& arm, double confidence) {
  Improvement improvement;
  for (const Quantity& of : kQuantities) {
    Ratio& result = improvement.*of.ratio;
    const double before = baseline.point.*of.mean, after = arm.point.*of.mean;
    result.value = quotient(before, after);
    result.both_zero = before == 0 && after == 0;
    std::vector<double> replicates;
    for (std::size_t r = 0; r < baseline.replicates.size(); ++r) {
      replicates.push_back(quotient(baseline.replicates[r].*of.mean, arm.replicates[r].*of.mean));
    }
    result.interval = percentile_interval(std::move(replicates), confidence);
    result.bound = std::isinf(result.value) ? baseline.lower.*of.mean / arm.upper.*of.mean
                   : result.value == 0      ? baseline.upper.*of.mean / arm.lower.*of.mean
                                            : kNan;
    result.unreliable = of.unreliable(baseline) || of.unreliable(arm);
  }
  return improvement;
}

}  // namespace bitfall
