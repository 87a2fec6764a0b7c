#include "combined_group.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string_view>
#include <vector>

#include "report_number.h"
#include "statistics.h"
#include "stratified.h"

namespace bitfall {
namespace {

using WeightedGroups = std::span<const WeightedGroup>;

/// Of the parts where `known`, with weights that add up to 1.
std::vector<WeightedGroup> normalised(WeightedGroups parts,
                                      const std::function<bool(const GroupSummary&)>& known) {
  std::vector<WeightedGroup> kept;
  double sum = 0;
  for (const WeightedGroup& part : parts) {
    if (part.weight <= 0 || !known(*part.group)) continue;
    kept.push_back(part);
    sum += part.weight;
  }
  for (WeightedGroup& part : kept) part.weight /= sum;
  return kept;
}

Proportion rate_of(WeightedGroups parts, double confidence,
                   const std::function<const Proportion&(const GroupSummary&)>& rate) {
  std::vector<SampledStratum> strata;
  bool by_fault = false;
  for (const WeightedGroup& part : parts) {
    const Proportion& own = rate(*part.group);
    strata.push_back({part.weight, own.trials, own.events});
    by_fault |= std::string_view(own.method).ends_with("by fault");
  }
  Proportion all = stratified_proportion(strata, confidence);
  if (!by_fault) return all;
  // The counts of trials know nothing of the faults that they share, the parts' intervals do.
  std::vector<WeightedRate> rates;
  const auto known = [&](const GroupSummary& group) { return rate(group).trials > 0; };
  for (const WeightedGroup& part : normalised(parts, known)) {
    rates.push_back({part.weight, rate(*part.group)});
  }
  all.wilson = all.clopper_pearson = all.headline = weighted_rate(rates, confidence).interval;
  all.method = "stratified, by fault";
  return all;
}

/// Of a mean with its interval, over some of a part's trials.
struct Mean {
  double value = kNan;
  Interval interval = {kNan, kNan};
  std::int64_t of = 0;  // trials that it is of
};

/// Means of strata weigh by the trials that they are of: one over trials where it is finite is so
/// of the whole, too. What share these are is an estimate of each part that has others, and leaves
/// the whole as uncertain as the part's mean is far from it (the delta method, ends by ends as in
/// weighted_sum). Trials of strata share no faults.
Mean mean_of(WeightedGroups parts, const Combination& how,
             const std::function<Mean(const GroupSummary&)>& mean) {
  struct Part {
    double weight;  // of all its trials
    Proportion share;
    Mean mean;
  };
  std::vector<Part> kept;
  double sum = 0, weights = 0;
  for (const WeightedGroup& part : parts) {
    const Mean own = mean(*part.group);
    if (part.weight <= 0 || std::isnan(own.value)) continue;
    const std::int64_t of = how.layers ? part.group->trials : own.of;
    kept.push_back({part.weight, proportion(of, part.group->trials, how.confidence), own});
    const double weight = part.weight * kept.back().share.rate;
    weights += weight;
    sum += weight * own.value;
  }
  std::vector<WeightedTerm> terms;
  for (const Part& part : kept) {
    terms.push_back({part.weight * part.share.rate / weights, part.mean.value, part.mean.interval});
    if (part.share.events == part.share.trials) continue;
    const Interval ends = {part.share.rate - part.share.headline.low,
                           part.share.headline.high - part.share.rate};
    const double slope = part.weight / weights * (part.mean.value - sum / weights);
    terms.push_back({std::abs(slope), 0,
                     slope > 0 ? Interval{-ends.low, ends.high} : Interval{-ends.high, ends.low}});
  }
  const WeightedSum all = weighted_sum(terms);
  return {all.value, all.interval};
}

/// Effective draws of a weighted mean, by those of its parts.
Concentration carried(WeightedGroups parts, const std::function<double(const GroupSummary&)>& mean,
                      const std::function<const Concentration&(const GroupSummary&)>& own) {
  double sum = 0, squared = 0;
  for (const WeightedGroup& part : parts) {
    const double effective = own(*part.group).effective;
    if (!(effective > 0)) continue;
    const double share = part.weight * mean(*part.group);
    sum += share;
    squared += share * share / effective;
  }
  return {squared > 0 ? sum * sum / squared : 0, 0};
}

DeltaLossSummary loss_of(WeightedGroups parts, const Combination& how) {
  using Group = GroupSummary;
  DeltaLossSummary loss;
  loss.maximum = kNan;
  for (const WeightedGroup& part : parts) {
    const DeltaLossSummary& own = part.group->delta_loss;
    loss.trials += own.trials;
    loss.nonfinite += own.nonfinite;
    loss.no_answer += own.no_answer;
    loss.changing += own.changing;
    loss.maximum = std::fmax(loss.maximum, own.maximum);
  }
  loss.changes = rate_of(parts, how.confidence,
                         [](const Group& g) -> const Proportion& { return g.delta_loss.changes; });
  const auto finite_trials = [](const DeltaLossSummary& own) {
    return own.trials - own.nonfinite - own.no_answer;
  };
  const Mean mean = mean_of(parts, how, [&](const Group& g) {
    const DeltaLossSummary& own = g.delta_loss;
    const std::int64_t of = finite_trials(own);
    return Mean{own.mean, known_loss(own.mean, own.interval, of), of};
  });
  const Mean clipped = mean_of(parts, how, [&](const Group& g) {
    const DeltaLossSummary& own = g.delta_loss;
    return Mean{own.mean_clipped,
                known_loss(own.mean_clipped, own.clipped_interval, own.trials, how.clip),
                own.trials};
  });
  loss.mean = mean.value;
  loss.interval = mean.interval;
  loss.mean_clipped = clipped.value;
  loss.clipped_interval = clipped.interval;
  const auto plain_mean = [&](const std::function<double(const DeltaLossSummary&)>& of) {
    return mean_of(parts, how, [&](const Group& g) {
             return Mean{of(g.delta_loss), {kNan, kNan}, finite_trials(g.delta_loss)};
           })
        .value;
  };
  loss.signed_mean = plain_mean([](const DeltaLossSummary& own) { return own.signed_mean; });
  const double changing = plain_mean([&](const DeltaLossSummary& own) {
    const auto count = static_cast<double>(finite_trials(own));
    return count > 0 ? static_cast<double>(own.changing) / count : kNan;
  });
  loss.mean_given_change = changing > 0 ? loss.mean / changing : kNan;
  loss.median = loss.p99 = kNan;
  loss.carried = carried(
      parts,
      [&](const Group& g) {
        if (g.trials == 0) return 0.0;
        const double of = how.layers ? 1 : share(finite_trials(g.delta_loss), g.trials);
        return of > 0 ? g.delta_loss.mean * of : 0.0;
      },
      [](const Group& g) -> const Concentration& { return g.delta_loss.carried; });
  loss.clipped_carried = carried(
      parts, [](const Group& g) { return g.delta_loss.mean_clipped; },
      [](const Group& g) -> const Concentration& { return g.delta_loss.clipped_carried; });
  loss.unreliable = loss.carried.effective < kReliableDraws;
  loss.clipped_unreliable = loss.clipped_carried.effective < kReliableDraws;
  return loss;
}

MetricSummary metric_of(WeightedGroups parts, const Combination& how, std::size_t index) {
  MetricSummary metric = parts.front().group->metrics[index];
  metric.trials = metric.nonfinite = metric.missing = 0;
  for (const WeightedGroup& part : parts) {
    const MetricSummary& own = part.group->metrics[index];
    metric.trials += own.trials;
    metric.nonfinite += own.nonfinite;
    metric.missing += own.missing;
    metric.maximum = std::fmax(metric.maximum, own.maximum);
  }
  if (metric.event) {
    metric.rate =
        rate_of(parts, how.confidence, [&](const GroupSummary& group) -> const Proportion& {
          return group.metrics[index].rate;
        });
    return metric;
  }
  const Mean mean = mean_of(parts, how, [&](const GroupSummary& group) {
    constexpr double kOpen = std::numeric_limits<double>::infinity();
    const MetricSummary& own = group.metrics[index];
    const bool known = !std::isnan(own.interval.low);
    return Mean{own.mean, known ? own.interval : Interval{-kOpen, kOpen},
                own.trials - own.nonfinite - own.missing};
  });
  metric.mean = mean.value;
  metric.interval = mean.interval;
  return metric;
}

/// Of so many trials those that the weighted share is of.
std::vector<std::int64_t> weighted_counts(
    WeightedGroups parts, std::int64_t trials, std::size_t kinds,
    const std::function<std::int64_t(const GroupSummary&, std::size_t kind)>& count) {
  const auto kept = normalised(parts, [](const GroupSummary& group) { return group.trials > 0; });
  std::vector<std::int64_t> counts(kinds, 0);
  double shares = 0;
  std::int64_t before = 0;
  for (std::size_t kind = 0; kind < kinds; ++kind) {
    for (const WeightedGroup& part : kept) {
      shares += part.weight * static_cast<double>(count(*part.group, kind)) /
                static_cast<double>(part.group->trials);
    }
    // Rounded up to here, so that all of them add up.
    const std::int64_t here = std::llround(shares * static_cast<double>(trials));
    counts[kind] = here - before;
    before = here;
  }
  return counts;
}

}  // namespace

Interval known_loss(double mean, const Interval& own, std::int64_t draws, double most) {
  if (!std::isnan(own.low)) return own;
  if (draws > 1 && mean == 0) return {0, 0};
  return {0, most};
}

GroupSummary combined(WeightedGroups parts, const Combination& how) {
  if (parts.size() == 1) {
    GroupSummary alone = *parts.front().group;
    alone.name.clear();
    alone.operation.clear();
    alone.bits = 0;
    return alone;
  }
  GroupSummary all;
  all.metrics = parts.front().group->metrics;  // their names
  all.trials = 0;
  for (const WeightedGroup& part : parts) {
    all.population += part.group->population;
    all.trials += part.group->trials;
  }
  all.activated = weighted_counts(parts, all.trials, 1, [](const GroupSummary& group, std::size_t) {
    return group.activated;
  })[0];
  const auto outcomes = weighted_counts(
      parts, all.trials, all.outcomes.size(),
      [](const GroupSummary& group, std::size_t kind) { return group.outcomes[kind]; });
  std::copy(outcomes.begin(), outcomes.end(), all.outcomes.begin());
  const auto rate = [&](Proportion GroupSummary::* of) {
    return rate_of(parts, how.confidence,
                   [of](const GroupSummary& group) -> const Proportion& { return group.*of; });
  };
  all.mismatch = rate(&GroupSummary::mismatch);
  all.nonfinite_rate = rate(&GroupSummary::nonfinite_rate);
  all.due = rate(&GroupSummary::due);
  all.misclassified = rate(&GroupSummary::misclassified);
  all.delta_loss = loss_of(parts, how);
  for (std::size_t i = 0; i < all.metrics.size(); ++i) {
    all.metrics[i] = metric_of(parts, how, i);
  }
  return all;
}

}  // namespace bitfall
