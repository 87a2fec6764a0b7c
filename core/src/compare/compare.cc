#include "compare.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <utility>

#include "combined_group.h"
#include "compare_golden.h"
#include "compare_last.h"
#include "compare_match.h"
#include "error.h"
#include "report_number.h"

namespace bitfall {
namespace {

// The layers of an arm against the baseline's.
struct Matched {
  std::vector<int> baseline_layer;     // by the arm's layer; -1 = only the arm has it
  std::vector<Resamples> of_baseline;  // by the baseline's layer
  std::vector<Resamples> of_arm;       // by the arm's layer
  std::vector<Pairing> pairings;       // by the arm's layer
  std::vector<std::vector<MetricChange>> metric_changes;  // by the arm's layer
  std::vector<MetricChange> all_metric_changes;
};

std::string label_of(const ArmSource& source) {
  if (!source.label.empty()) return source.label;
  const auto path = std::filesystem::absolute(source.run).lexically_normal();
  return (path.has_filename() ? path : path.parent_path()).filename().string();
}

std::vector<std::string> labels_of(const std::vector<ArmSource>& sources) {
  std::vector<std::string> labels;
  for (const ArmSource& source : sources) {
    const std::string label = label_of(source);
    std::string unique = label;
    for (int n = 2; std::find(labels.begin(), labels.end(), unique) != labels.end(); ++n) {
      unique = label + " (" + std::to_string(n) + ")";
    }
    labels.push_back(unique);
  }
  return labels;
}

// Adds a layer's trials to those of other layers.
void pool(std::optional<Discordance>& all, const std::optional<Discordance>& layer) {
  if (!layer) return;
  if (!all) all.emplace();
  all->pairs += layer->pairs;
  all->only_baseline += layer->only_baseline;
  all->only_arm += layer->only_arm;
  all->p = mcnemar_exact(all->only_baseline, all->only_arm);
}

class Comparison {
 public:
  // Two arms of another comparison: `arm` against `baseline`.
  Comparison(const Comparison& whole, std::size_t baseline, std::size_t arm) {
    data_.confidence = whole.data_.confidence;
    for (const std::size_t i : {baseline, arm}) {
      runs_.push_back(whole.runs_[i]);
      Arm& of = data_.arms.emplace_back();
      of.label = whole.data_.arms[i].label;
      of.report = whole.data_.arms[i].report;
    }
    data_.clip = whole.data_.clip;
  }

  Comparison(const std::vector<ArmSource>& sources, bool only_correct) {
    if (sources.size() < 2) {
      throw Error(ExitCode::kUsage,
                  "a comparison takes two runs or more: the baseline first, then the others");
    }
    const std::vector<std::string> labels = labels_of(sources);
    if (only_correct) find_right_images(sources);
    for (std::size_t i = 0; i < sources.size(); ++i) read(sources[i], labels[i]);
    for (std::size_t i = 1; i < runs_.size(); ++i) check_comparable(*runs_[0], *runs_[i]);
  }

  CompareData finish() {
    for (const Arm& arm : data_.arms) data_.plain_mean_misleads |= arm.report.plain_mean_misleads;
    for (std::size_t i = 0; i < runs_.size(); ++i) warn_of_arm(i);
    for (std::size_t i = 1; i < runs_.size(); ++i) {
      for (const std::string& text :
           differences(*runs_[0], data_.arms[0].label, *runs_[i], data_.arms[i].label)) {
        warn(text);
      }
    }
    find_common_layers();
    for (std::size_t i = 0; i < runs_.size(); ++i) {
      const Matched matched = i == 0 ? baseline_alone() : match(i);
      add_rows(i, matched);
      finish_networks(i, matched);
      finish_last_layer(i, matched);
      finish_common(i, matched);
      finish_golden(i);
    }
    note_layers();
    warn_of_dues();
    compare_at_equal_scale();
    return std::move(data_);
  }

 private:
  // Those that every arm gets right; arms with other images are refused later.
  void find_right_images(const std::vector<ArmSource>& sources) {
    for (const ArmSource& source : sources) {
      const std::vector<bool> right = right_answers(*Store::open_read_only(source.run));
      if (images_.empty()) images_.assign(right.size(), true);
      if (right.size() != images_.size()) {
        images_.clear();
        return;
      }
      std::transform(images_.begin(), images_.end(), right.begin(), images_.begin(),
                     std::logical_and<>());
    }
    data_.images_counted = std::count(images_.begin(), images_.end(), true);
    warn("Only trials on the " + std::to_string(*data_.images_counted) + " of " +
         std::to_string(images_.size()) +
         " images that every arm gets right without a fault count here.");
  }

  void read(const ArmSource& source, const std::string& label) {
    const auto store = Store::open_read_only(source.run);
    const auto kept = std::make_shared<ComparedRun>();
    runs_.push_back(kept);
    ComparedRun& run = *kept;
    run.run = store->description();
    if (run.run.facts.sampling) {
      throw Error(ExitCode::kUsage,
                  store->directory().string() +
                      ": its trials were drawn by strata, some more often than others, until a "
                      "rate was known well enough; compare takes the same faults in every run\n  "
                      "give both campaigns per_site, total or a number as precision");
    }
    run.golden = store->golden_rows();
    run.trials.resize(run.run.strata.size());
    run.directory = store->directory().string();
    SummaryOptions options;
    options.images = images_;
    options.estimate_means = false;  // the comparison resamples the arms together
    if (!data_.arms.empty()) {
      options.confidence = data_.confidence;
      options.clip = data_.clip;
    }
    options.visit = [&](std::size_t layer, const TrialEffect& effect, const TrialResult& trial) {
      run.trials[layer].add(effect, trial);
    };
    Arm& arm = data_.arms.emplace_back();
    arm.label = label;
    arm.report = summarise(*store, options);
    data_.confidence = arm.report.confidence;
    data_.clip = arm.report.clip;
    for (std::size_t i = 0; i < run.trials.size(); ++i) {
      run.trials[i].complete = data_.arms.back().report.layers_done[i] == run.run.strata[i].trials;
    }
  }

  void warn(const std::string& text) { data_.warnings.push_back(text); }
  void note(const std::string& text) { data_.notes.push_back(text); }

  void warn_of_arm(std::size_t i) {
    const Arm& arm = data_.arms[i];
    if (arm.report.done < arm.report.planned) {
      warn(arm.label + " is not complete: " + std::to_string(arm.report.done) + " of " +
           std::to_string(arm.report.planned) + " trials are in.");
    }
    const auto nonfinite =
        std::count_if(runs_[i]->golden.begin(), runs_[i]->golden.end(),
                      [](const GoldenResult& row) { return !std::isfinite(row.loss); });
    if (nonfinite > 0) {
      warn(arm.label + " gives no finite loss without a fault on " + std::to_string(nonfinite) +
           " images; trials on these say nothing about faults.");
    }
    if (i == 0 && data_.plain_mean_misleads) {
      warn(
          "In this number format a flip in the exponent makes values near 1e38, so a ratio of "
          "plain means of delta loss says nothing. The headline ratios are of means with each "
          "trial cut at " +
          quantity(data_.clip) + " nats; ratios of plain means are marked ~.");
    }
  }

  Matched baseline_alone() {
    Matched matched;
    const ComparedRun& run = *runs_[0];
    for (std::size_t layer = 0; layer < run.trials.size(); ++layer) {
      matched.of_arm.push_back(TrialPairs::sample(run.trials[layer], 2 * layer));
      limit(matched.of_arm.back(), 0, layer);
    }
    matched.baseline_layer.assign(run.trials.size(), -1);
    matched.pairings.resize(run.trials.size());
    matched.metric_changes.resize(run.trials.size());
    baseline_samples_ = matched.of_arm;
    return matched;
  }

  void limit(Resamples& sample, std::size_t i, std::size_t layer) const {
    add_limits(sample, data_.arms[i].report.layers[layer], data_.clip, data_.confidence);
  }

  Matched match(std::size_t i) const {
    const ComparedRun &first = *runs_[0], &other = *runs_[i];
    Matched matched;
    matched.baseline_layer = matching_layers(first, other);
    matched.of_baseline = baseline_samples_;
    matched.metric_changes.resize(other.trials.size());
    const MetricChanges none(first.run.metric_columns, other.run.metric_columns);
    MetricChanges all = none;
    for (std::size_t layer = 0; layer < other.trials.size(); ++layer) {
      const std::uint64_t stream = (static_cast<std::uint64_t>(i) << 32) + 2 * layer;
      const int partner = matched.baseline_layer[layer];
      if (partner < 0) {
        matched.pairings.emplace_back();
        matched.of_arm.push_back(TrialPairs::sample(other.trials[layer], stream));
      } else {
        const auto p = static_cast<std::size_t>(partner);
        const TrialPairs pairs(first.trials[p], other.trials[layer]);
        const Pairing pairing = pairs.pairing();
        matched.pairings.push_back(pairing);
        if (pairing.paired) {
          MetricChanges changes = none;
          changes.add(pairs, pairing.by_fault);
          matched.metric_changes[layer] = changes.finish(data_.confidence);
          all.add(pairs, pairing.by_fault);
        }
        auto [baseline, arm] = pairs.samples(stream);
        limit(baseline, 0, p);
        matched.of_baseline[p] = std::move(baseline);
        matched.of_arm.push_back(std::move(arm));
      }
      limit(matched.of_arm.back(), i, layer);
    }
    matched.all_metric_changes = all.finish(data_.confidence);
    return matched;
  }

  LayerRow& row_of(std::size_t i, std::size_t layer, int partner) {
    const GroupSummary& summary = data_.arms[i].report.layers[layer];
    if (i > 0 && partner >= 0) return data_.layers[static_cast<std::size_t>(partner)];
    for (std::size_t r = i == 0 ? data_.layers.size() : runs_[0]->trials.size();
         r < data_.layers.size(); ++r) {
      LayerRow& row = data_.layers[r];
      if (row.name == summary.name && row.operation == summary.operation && !row.arms[i])
        return row;
    }
    LayerRow& row = data_.layers.emplace_back();
    row.name = summary.name;
    row.operation = summary.operation;
    row.arms.resize(runs_.size());
    return row;
  }

  void add_rows(std::size_t i, const Matched& matched) {
    Arm& arm = data_.arms[i];
    arm.metric_changes = matched.all_metric_changes;
    std::optional<Discordance> mismatches, dues;
    bool whole = true;
    for (std::size_t layer = 0; layer < matched.of_arm.size(); ++layer) {
      LayerOfArm cell;
      cell.site = runs_[i]->site(layer).name;
      cell.summary = arm.report.layers[layer];
      cell.values = values_of(matched.of_arm[layer], data_.confidence);
      cell.pairing = matched.pairings[layer];
      cell.metric_changes = matched.metric_changes[layer];
      const int partner = matched.baseline_layer[layer];
      if (cell.pairing.matched) {
        cell.improvement = improvement_of(matched.of_baseline[static_cast<std::size_t>(partner)],
                                          matched.of_arm[layer], data_.confidence);
        whole &= cell.pairing.mismatches.has_value();
      }
      pool(mismatches, cell.pairing.mismatches);
      pool(dues, cell.pairing.dues);
      row_of(i, layer, partner).arms[i] = std::move(cell);
    }
    if (!whole) return;
    arm.mismatches = mismatches;
    arm.dues = dues;
  }

  // Which of the baseline's layers all arms have.
  void find_common_layers() {
    common_.assign(runs_[0]->trials.size(), true);
    for (std::size_t i = 1; i < runs_.size(); ++i) {
      std::vector<bool> met(common_.size(), false);
      for (const int partner : matching_layers(*runs_[0], *runs_[i])) {
        if (partner >= 0) met[static_cast<std::size_t>(partner)] = true;
      }
      std::transform(common_.begin(), common_.end(), met.begin(), common_.begin(),
                     std::logical_and<>());
    }
    data_.common_layers = std::count(common_.begin(), common_.end(), true);
    layers_differ_ = std::ranges::any_of(runs_, [&](const auto& run) {
      return static_cast<std::int64_t>(run->trials.size()) != data_.common_layers;
    });
  }

  // The columns of the metrics where all arms were hit: over all trials they are of other places.
  void finish_common(std::size_t i, const Matched& matched) {
    if (!layers_differ_ || data_.common_layers == 0) return;
    Arm& arm = data_.arms[i];
    std::vector<WeightedGroup> parts;
    for (std::size_t layer = 0; layer < arm.report.layers.size(); ++layer) {
      const int of_baseline = i == 0 ? static_cast<int>(layer) : matched.baseline_layer[layer];
      if (of_baseline < 0 || !common_[static_cast<std::size_t>(of_baseline)]) continue;
      parts.push_back({1, &arm.report.layers[layer]});
    }
    arm.common = combined(parts, {data_.confidence, data_.clip, true});
  }

  // Whether the layer counts in the usual mean: no arithmetic of a head other than its products,
  // nor of anything else that some arm lacks.
  bool is_usual(std::size_t i, std::size_t layer, const Matched& matched) const {
    if (runs_[i]->site(layer).target != Target::kActivation) return true;
    if (runs_[i]->is_product(layer)) return true;
    if (runs_[i]->in_head(layer)) return false;
    const int of_baseline = i == 0 ? static_cast<int>(layer) : matched.baseline_layer[layer];
    return of_baseline >= 0 && common_[static_cast<std::size_t>(of_baseline)];
  }

  void finish_networks(std::size_t i, const Matched& matched) {
    using Over = NetworkValue::Over;
    const auto all = [](std::size_t) { return true; };
    const auto usual = [&](std::size_t layer) { return is_usual(i, layer, matched); };
    const auto usual_before = [&](std::size_t layer) { return is_usual(0, layer, matched); };
    bool more = false;
    for (std::size_t layer = 0; layer < runs_[i]->trials.size(); ++layer) {
      more |= !usual(layer) && runs_[i]->trials[layer].size() > 0;
    }
    for (std::size_t layer = 0; layer < runs_[0]->trials.size(); ++layer) {
      more |= !usual_before(layer) && runs_[0]->trials[layer].size() > 0;
    }
    for (const bool by_bits : {false, true}) {
      add_network(i, matched, Over::kLayers, by_bits, usual, usual_before);
    }
    const auto last = last_layers(*runs_[0], *runs_[i], matched.baseline_layer).layers;
    const auto last_before = last_layers(*runs_[0]).layers;
    if (!last.empty()) {
      const auto in_arm = before_layer(*runs_[i], last.front());
      const auto in_baseline = before_layer(*runs_[0], last_before.front());
      add_network(
          i, matched, Over::kBeforeLast, false,
          [&](std::size_t layer) { return usual(layer) && in_arm[layer]; },
          [&](std::size_t layer) { return usual_before(layer) && in_baseline[layer]; });
    }
    for (const bool by_bits : {false, true}) {
      if (more) add_network(i, matched, Over::kWithHead, by_bits, all, all);
    }
  }

  // in_arm, in_baseline: of a layer, whether it counts.
  template <typename InArm, typename InBaseline>
  void add_network(std::size_t i, const Matched& matched, NetworkValue::Over over, bool by_bits,
                   InArm in_arm, InBaseline in_baseline) {
    NetworkValue network;
    network.over = over;
    network.by_bits = by_bits;
    const auto weight = [&](std::size_t arm, std::size_t layer) {
      const RunDescription& run = runs_[arm]->run;
      return by_bits ? run.bits(run.strata[layer]) : 1.0;
    };
    std::vector<const Resamples*> of_arm, of_baseline;
    std::vector<double> arm_weights, baseline_weights;
    for (std::size_t layer = 0; layer < matched.of_arm.size(); ++layer) {
      if (!in_arm(layer)) continue;
      of_arm.push_back(&matched.of_arm[layer]);
      arm_weights.push_back(weight(i, layer));
      network.layers += runs_[i]->trials[layer].size() > 0;
    }
    if (of_arm.empty() && over != NetworkValue::Over::kLayers) return;
    const Resamples arm = weighted_mean(of_arm, arm_weights);
    network.values = values_of(arm, data_.confidence);
    if (i > 0) {
      for (std::size_t layer = 0; layer < matched.of_baseline.size(); ++layer) {
        if (!in_baseline(layer)) continue;
        of_baseline.push_back(&matched.of_baseline[layer]);
        baseline_weights.push_back(weight(0, layer));
      }
      network.improvement =
          improvement_of(weighted_mean(of_baseline, baseline_weights), arm, data_.confidence);
    }
    data_.arms[i].networks.push_back(std::move(network));
  }

  void finish_last_layer(std::size_t i, const Matched& matched) {
    LastLayer& last = data_.arms[i].last;
    const auto [layers, note] = last_layers(*runs_[0], *runs_[i], matched.baseline_layer);
    last.note = note;
    if (layers.empty()) return;
    const auto samples = [](const std::vector<Resamples>& all,
                            const std::vector<std::size_t>& chosen) {
      std::vector<const Resamples*> list;
      for (const std::size_t layer : chosen) list.push_back(&all[layer]);
      return list;
    };
    for (const std::size_t layer : layers) {
      const Site& site = runs_[i]->site(layer);
      last.sites.push_back(
          {site.name, site.values, values_of(matched.of_arm[layer], data_.confidence)});
    }
    const std::vector<std::size_t> before = last_layers(*runs_[0]).layers;
    const std::vector<LastRule> rules_before = last_rules(*runs_[0], before);
    for (const LastRule& rule : last_rules(*runs_[i], layers)) {
      LastLayer::Combination& combination = last.combinations.emplace_back();
      const Resamples value = weighted_mean(samples(matched.of_arm, layers), rule.weights);
      combination.name = rule.name;
      combination.values = values_of(value, data_.confidence);
      if (i == 0) continue;
      const auto same =
          std::find_if(rules_before.begin(), rules_before.end(),
                       [&](const LastRule& other) { return other.name == rule.name; });
      const LastRule& of_baseline = same == rules_before.end() ? rules_before.front() : *same;
      combination.improvement =
          improvement_of(weighted_mean(samples(matched.of_baseline, before), of_baseline.weights),
                         value, data_.confidence);
    }
  }

  void finish_golden(std::size_t i) {
    Arm& arm = data_.arms[i];
    const GoldenAnswers mine(*runs_[i]);
    arm.top2diff = mine.top2diff(i, data_.confidence);
    arm.nll = mine.nll(i, data_.confidence);
    arm.golden_images = static_cast<std::int64_t>(runs_[i]->golden.size());
    if (i == 0) return;
    const GoldenAnswers first(*runs_[0]);
    arm.accuracy_change = mine.accuracy_change(first, data_.confidence);
    arm.fp32_change = mine.fp32_change(first, data_.confidence);
    arm.top2diff_change = mine.top2diff_change(first, data_.confidence);
    arm.nll_change = mine.nll_change(first, data_.confidence);
  }

  // Whether the arm is the baseline with its logits divided.
  bool is_rescaled(std::size_t i) const {
    const RunFacts &first = runs_[0]->run.facts, &other = runs_[i]->run.facts;
    return i > 0 && other.rescaled_from && *other.rescaled_from == first.model_sha256;
  }

  static bool holds_zero(const GoldenChange& change) {
    return change.images == 0 ||
           (change.difference.interval.low <= 0 && change.difference.interval.high >= 0);
  }

  void compare_at_equal_scale() {
    for (std::size_t i = 1; i < runs_.size(); ++i) {
      if (is_rescaled(i)) continue;
      bool same = !differs_in_scale(i);
      for (std::size_t r = 1; r < runs_.size(); ++r) {
        if (!is_rescaled(r)) continue;
        add_equal_scale(i, r);
        same |= data_.equal_scale.back().same_top2diff || data_.equal_scale.back().same_nll;
      }
      data_.arms[i].other_scale = !same;
      if (!same) warn_of_scale(i);
    }
  }

  bool differs_in_scale(std::size_t i) const {
    const Arm& arm = data_.arms[i];
    return runs_[i]->run.facts.model_sha256 != runs_[0]->run.facts.model_sha256 &&
           !(holds_zero(arm.top2diff_change) && holds_zero(arm.nll_change));
  }

  void warn_of_scale(std::size_t i) {
    const Arm &first = data_.arms[0], &arm = data_.arms[i];
    warn(arm.label + " is not at the scale of " + first.label + ": top2diff " +
         quantity(arm.top2diff.value) + " against " + quantity(first.top2diff.value) + ", NLL " +
         quantity(arm.nll.value) + " against " + quantity(first.nll.value) +
         ". Ratios of delta loss hold that difference too, and stand in the tables below the "
         "summary alone, marked ^. A row at equal scale needs a run of the rescaled baseline as a "
         "further arm: bitfall head rescale MODEL --match top2diff " +
         runs_[i]->directory + " --data CAMPAIGN.toml -o RESCALED.pt");
  }

  void add_equal_scale(std::size_t i, std::size_t r) {
    Comparison apart(*this, r, i);
    apart.find_common_layers();
    for (const std::size_t arm : {std::size_t{0}, std::size_t{1}}) {
      const Matched matched = arm == 0 ? apart.baseline_alone() : apart.match(arm);
      apart.finish_networks(arm, matched);
      apart.finish_last_layer(arm, matched);
      apart.finish_golden(arm);
    }
    const Arm& arm = apart.data_.arms[1];
    EqualScale& row = data_.equal_scale.emplace_back();
    row.arm = data_.arms[i].label;
    row.rescaled = data_.arms[r].label;
    row.temperature = runs_[r]->run.facts.temperature.value_or(1);
    row.top2diff = arm.top2diff_change;
    row.nll = arm.nll_change;
    row.same_top2diff = holds_zero(row.top2diff);
    row.same_nll = holds_zero(row.nll);
    for (const NetworkValue& network : arm.networks) {
      if (network.over != NetworkValue::Over::kLayers) continue;
      (network.by_bits ? row.by_bits : row.network) = network.improvement;
    }
    if (!arm.last.combinations.empty()) row.last = arm.last.combinations.front().improvement;
  }

  void note_layers() {
    for (std::size_t i = 1; i < runs_.size(); ++i) {
      std::string missing, extra;
      std::int64_t apart = 0, shared = 0;
      for (const LayerRow& row : data_.layers) {
        const auto &before = row.arms[0], &after = row.arms[i];
        if (before && !after) missing += (missing.empty() ? "" : ", ") + row.name;
        if (!before && after) extra += (extra.empty() ? "" : ", ") + after->site;
        if (!before || !after) continue;
        ++shared;
        apart += !after->pairing.paired;
      }
      const std::string& label = data_.arms[i].label;
      if (!missing.empty()) note(label + " lacks these layers of the baseline: " + missing + ".");
      if (!extra.empty()) note("Only " + label + " has these layers: " + extra + ".");
      if (shared == 0) warn(label + " has no layer of the baseline.");
      if (apart > 0) {
        note(std::to_string(apart) + " of the " + std::to_string(shared) + " layers that " + label +
             " shares with the baseline met other faults there, and are compared as independent "
             "samples (marked i).");
      }
    }
  }

  void warn_of_dues() {
    if (!has_due(data_)) return;
    std::string counts;
    for (const Arm& arm : data_.arms) {
      const Proportion& due = arm.report.network.due;
      counts += (counts.empty() ? "" : ", ") + arm.label + " " + std::to_string(due.events) +
                " of " + std::to_string(due.trials);
    }
    warn(
        "Trials gave no answer (DUE): " + counts +
        ". They have no loss and are no mismatches, so an arm that crashes more may look better in "
        "both: read these with the DUE rate, or with the clipped mean, where each counts as " +
        quantity(data_.clip) + " nats.");
  }

  std::vector<std::shared_ptr<const ComparedRun>> runs_;
  std::vector<bool> images_;  // by image: whether its trials count; empty = all do
  std::vector<Resamples> baseline_samples_;
  std::vector<bool> common_;  // by the baseline's layer: whether all arms have it
  bool layers_differ_ = false;
  CompareData data_;
};

}  // namespace

bool has_due(const CompareData& data) {
  return std::any_of(data.arms.begin(), data.arms.end(),
                     [](const Arm& arm) { return has_due(arm.report); });
}

CompareData compare(const std::vector<ArmSource>& sources, bool only_correct) {
  return Comparison(sources, only_correct).finish();
}

}  // namespace bitfall
