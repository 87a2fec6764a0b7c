#include "combined_group.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

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
  for (const WeightedGroup& part : parts) {
    const Proportion& own = rate(*part.group);
    strata.push_back({part.weight, own.trials, own.events});
  }
  return stratified_proportion(strata, confidence);
}

/// The parts with the weight of those of their trials that a mean is of: one over trials where it is
/// finite is so of the whole, too.
std::vector<WeightedGroup> counted(WeightedGroups parts,
                                   const std::function<std::int64_t(const GroupSummary&)>& of) {
  std::vector<WeightedGroup> kept;
  for (WeightedGroup part : parts) {
    if (part.group->trials == 0) continue;
    part.weight *= static_cast<double>(of(*part.group)) / static_cast<double>(part.group->trials);
    kept.push_back(part);
  }
  return kept;
}

/// Of a mean with its interval.
struct Mean {
  double value = kNan;
  Interval interval = {kNan, kNan};
};

Mean mean_of(WeightedGroups parts, const std::function<Mean(const GroupSummary&)>& mean) {
  const auto kept =
      normalised(parts, [&](const GroupSummary& group) { return !std::isnan(mean(group).value); });
  std::vector<WeightedTerm> terms;
  for (const WeightedGroup& part : kept) {
    const Mean own = mean(*part.group);
    terms.push_back(
        {part.weight, own.value, known_interval(own.value, own.interval, part.group->trials)});
  }
  const WeightedSum sum = weighted_sum(terms);
  return {sum.value, sum.interval};
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

DeltaLossSummary loss_of(WeightedGroups parts, double confidence) {
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
  loss.changes = rate_of(parts, confidence,
                         [](const Group& g) -> const Proportion& { return g.delta_loss.changes; });
  const auto finite_trials = [](const Group& g) {
    return g.delta_loss.trials - g.delta_loss.nonfinite - g.delta_loss.no_answer;
  };
  const std::vector<WeightedGroup> finite = counted(parts, finite_trials);
  const Mean mean = mean_of(finite, [](const Group& g) {
    return Mean{g.delta_loss.mean, g.delta_loss.interval};
  });
  const Mean clipped = mean_of(parts, [](const Group& g) {
    return Mean{g.delta_loss.mean_clipped, g.delta_loss.clipped_interval};
  });
  loss.mean = mean.value;
  loss.interval = mean.interval;
  loss.mean_clipped = clipped.value;
  loss.clipped_interval = clipped.interval;
  loss.signed_mean =
      mean_of(finite, [](const Group& g) { return Mean{g.delta_loss.signed_mean}; }).value;
  const double changing =
      mean_of(finite, [&](const Group& g) {
        const auto count = static_cast<double>(finite_trials(g));
        return Mean{count > 0 ? static_cast<double>(g.delta_loss.changing) / count : kNan};
      }).value;
  loss.mean_given_change = changing > 0 ? loss.mean / changing : kNan;
  loss.median = loss.p99 = kNan;
  loss.carried = carried(
      finite, [](const Group& g) { return g.delta_loss.mean; },
      [](const Group& g) -> const Concentration& { return g.delta_loss.carried; });
  loss.clipped_carried = carried(
      parts, [](const Group& g) { return g.delta_loss.mean_clipped; },
      [](const Group& g) -> const Concentration& { return g.delta_loss.clipped_carried; });
  loss.unreliable = loss.carried.effective < kReliableDraws;
  loss.clipped_unreliable = loss.clipped_carried.effective < kReliableDraws;
  return loss;
}

MetricSummary metric_of(WeightedGroups parts, double confidence, std::size_t index) {
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
    metric.rate = rate_of(parts, confidence, [&](const GroupSummary& group) -> const Proportion& {
      return group.metrics[index].rate;
    });
    return metric;
  }
  const auto finite = counted(parts, [&](const GroupSummary& group) {
    const MetricSummary& own = group.metrics[index];
    return own.trials - own.nonfinite - own.missing;
  });
  const Mean mean = mean_of(finite, [&](const GroupSummary& group) {
    return Mean{group.metrics[index].mean, group.metrics[index].interval};
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

Interval known_interval(double mean, const Interval& own, std::int64_t trials) {
  constexpr double kOpen = std::numeric_limits<double>::infinity();
  if (!std::isnan(own.low)) return own;
  return trials < 2 ? Interval{-kOpen, kOpen} : Interval{mean, mean};
}

GroupSummary combined(WeightedGroups parts, double confidence) {
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
    return rate_of(parts, confidence,
                   [of](const GroupSummary& group) -> const Proportion& { return group.*of; });
  };
  all.mismatch = rate(&GroupSummary::mismatch);
  all.nonfinite_rate = rate(&GroupSummary::nonfinite_rate);
  all.due = rate(&GroupSummary::due);
  all.misclassified = rate(&GroupSummary::misclassified);
  all.delta_loss = loss_of(parts, confidence);
  for (std::size_t i = 0; i < all.metrics.size(); ++i) {
    all.metrics[i] = metric_of(parts, confidence, i);
  }
  return all;
}

}  // namespace bitfall
