#include "report.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "error.h"
#include "report_number.h"
#include "words.h"

namespace bitfall {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kReliableChanges = 40;
constexpr std::size_t kWorst = 10;
constexpr std::size_t kRaised = 10;

// Percentile by linear interpolation between the ordered values (as numpy's default).
double percentile(const std::vector<double>& ordered, double q) {
  if (ordered.empty()) return kNan;
  const double position = q * static_cast<double>(ordered.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const auto above = std::min(below + 1, ordered.size() - 1);
  return ordered[below] +
         (position - static_cast<double>(below)) * (ordered[above] - ordered[below]);
}

// Collects the trials of one group.
class Tally {
 public:
  Tally() = default;
  explicit Tally(const std::vector<StoredColumn>& columns)
      : metrics_(columns.begin(), columns.end()) {}

  void add(const TrialEffect& effect, const TrialResult& trial) {
    for (std::size_t i = 0; i < metrics_.size(); ++i) {
      const bool answered = !is_due(effect.outcome);
      metrics_[i].add(effect.fault, answered, answered ? trial.metrics[i] : kNan);
    }
    ++group.trials;
    group.activated += effect.activated;
    ++group.outcomes[static_cast<std::size_t>(effect.outcome)];
    mismatches_.add(effect.fault, effect.mismatch);
    misclassified_.add(effect.fault, effect.misclassified);
    nonfinites_.add(effect.fault, effect.outcome == Outcome::kNonfinite);
    dues_.add(effect.fault, is_due(effect.outcome));
    changes_.add(effect.fault, effect.change != 0);
    const double delta = std::abs(effect.change);
    if (std::isfinite(delta)) {
      deltas_.push_back(delta);
      group.delta_loss.changing += delta > 0;
      sum_ += delta;
      signed_sum_ += effect.change;
    }
    clipped_sum_ += effect.clipped;
  }

  GroupSummary finish(double confidence) {
    const std::int64_t n = group.trials;
    group.mismatch = mismatches_.proportion(confidence);
    group.nonfinite_rate = nonfinites_.proportion(confidence);
    group.due = dues_.proportion(confidence);
    group.misclassified = misclassified_.proportion(confidence);
    DeltaLossSummary& loss = group.delta_loss;
    const auto finite = static_cast<double>(deltas_.size());
    std::sort(deltas_.begin(), deltas_.end());
    loss.trials = n;
    loss.no_answer = group.due.events;
    loss.nonfinite = n - loss.no_answer - static_cast<std::int64_t>(deltas_.size());
    loss.changes = changes_.proportion(confidence);
    loss.mean = deltas_.empty() ? kNan : sum_ / finite;
    loss.signed_mean = deltas_.empty() ? kNan : signed_sum_ / finite;
    loss.mean_given_change = loss.changing ? sum_ / static_cast<double>(loss.changing) : kNan;
    loss.mean_clipped = n ? clipped_sum_ / static_cast<double>(n) : kNan;
    loss.median = percentile(deltas_, 0.5);
    loss.p99 = percentile(deltas_, 0.99);
    loss.maximum = deltas_.empty() ? kNan : deltas_.back();
    loss.unreliable = loss.changing < kReliableChanges;
    for (const MetricTally& metric : metrics_) group.metrics.push_back(metric.finish(confidence));
    return std::move(group);
  }

  GroupSummary group;

 private:
  ClusterCount mismatches_, misclassified_, nonfinites_, dues_, changes_;
  double sum_ = 0;
  double signed_sum_ = 0;
  double clipped_sum_ = 0;
  std::vector<double> deltas_;
  std::vector<MetricTally> metrics_;
};

// A value as people write it: 2048, 6.1e-05.
std::string plain(float value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.6g", static_cast<double>(value));
  return text.data();
}

// Null if the store names one that its formats do not have.
const StoredRegister* register_of(const TrialResult& trial, const EditRecord& record,
                                  const RunDescription& run) {
  const auto site = static_cast<std::size_t>(trial.site);
  if (site >= run.site_formats.size()) return nullptr;
  const auto& registers = run.formats[static_cast<std::size_t>(run.site_formats[site])].registers;
  const auto index = static_cast<std::size_t>(record.edit.register_index);
  return index < registers.size() ? &registers[index] : nullptr;
}

std::string edit_text(const TrialResult& trial, const RunDescription& run) {
  if (trial.edits.empty()) return "";
  const EditRecord& record = trial.edits.front();
  const StoredRegister* kind = register_of(trial, record, run);
  std::string text = kind ? kind->name : std::to_string(record.edit.register_index);
  text += "[" + std::to_string(record.edit.element) + "] " + to_string(record.edit.operation);
  for (int bit = 31; bit >= 0; --bit) {
    if (std::popcount(edited_bits(record)) == 1 && (edited_bits(record) >> bit & 1)) {
      text += " bit " + std::to_string(bit);
    }
  }
  text += ": " + plain(record.value_before) + " → " + plain(record.value_after);
  const std::size_t more = trial.edits.size() - 1;
  return more == 0 ? text : text + ", and " + std::to_string(more) + " more";
}

class Summary {
 public:
  Summary(const Store& store, const SummaryOptions& options)
      : store_(store), options_(options), run_(store.description()) {
    data_.facts = run_.facts;
    data_.directory = store.directory().string();
    data_.planned = run_.trials;
    data_.confidence = options.confidence.value_or(run_.facts.confidence);
    data_.clip = options.clip.value_or(run_.facts.clip);
    find_mismatch_column();
    network_ = Tally(run_.metric_columns);
    prepare_layers();
  }

  ReportData finish() {
    store_.for_each_trial([&](const TrialResult& trial) { add(trial); });
    for (Tally& layer : layers_) data_.layers.push_back(layer.finish(data_.confidence));
    for (auto& [key, bit] : bits_) data_.bits.push_back(bit.finish(data_.confidence));
    for (auto& [key, tally] : classes_) data_.bit_classes.push_back(tally.finish(data_.confidence));
    network_.group.name = "all";
    for (const Stratum& stratum : run_.strata) network_.group.population += stratum.population;
    data_.network = network_.finish(data_.confidence);
    data_.done = data_.network.trials;
    data_.raised = raised_.commonest(kRaised);
    data_.kinds_raised = raised_.kinds();
    finish_means();
    finish_accuracy();
    add_warnings();
    return std::move(data_);
  }

 private:
  void find_mismatch_column() {
    for (std::size_t i = 0; i < run_.metric_columns.size(); ++i) {
      if (run_.metric_columns[i].name == "mismatch" &&
          run_.metric_columns[i].metric == "mismatch") {
        mismatch_column_ = static_cast<int>(i);
      }
    }
  }

  void prepare_layers() {
    std::map<std::int32_t, int> strata_of_site;
    for (const Stratum& stratum : run_.strata) ++strata_of_site[stratum.site];
    for (const Stratum& stratum : run_.strata) {
      const auto site = static_cast<std::size_t>(stratum.site);
      if (site >= run_.sites.size()) damaged("a stratum", "site", stratum.site);
      layer_of_[{stratum.entry, stratum.site}] = layers_.size();
      permanent_.push_back(stratum.permanent);
      formats_hit_.insert(run_.site_formats[site]);
      GroupSummary& group = layers_.emplace_back(run_.metric_columns).group;
      group.name = run_.sites[site].name;
      // An entry is called by its number in the file, counted from 1.
      if (strata_of_site[stratum.site] > 1)
        group.name += " (faults " + std::to_string(stratum.entry + 1) + ")";
      group.operation = run_.sites[site].operation;
      group.population = stratum.population;
      weights_.push_back(run_.bits(stratum));
    }
  }

  [[noreturn]] void damaged(const std::string& who, const char* what, std::int64_t index) const {
    throw Error(ExitCode::kInput, data_.directory + ": is damaged: " + who + " names " + what +
                                      " " + std::to_string(index) +
                                      ", which the run does not have");
  }

  TrialEffect effect_of(const TrialResult& trial) const {
    TrialEffect effect;
    effect.outcome = trial.outcome;
    effect.activated = trial.activated;
    // A masked trial of an image with an infinite golden loss has changed nothing, though Inf - Inf
    // is NaN. The faulty loss is NaN where there is no answer.
    effect.change = trial.outcome == Outcome::kMasked ? 0 : trial.faulty_loss - trial.golden_loss;
    const double delta = std::abs(effect.change);
    effect.clipped = std::isfinite(delta) ? std::min(delta, data_.clip) : data_.clip;
    // The metric knows a NaN among the logits from an infinite one, the loss alone does not.
    effect.mismatch = mismatch_column_ >= 0 && !is_due(trial.outcome)
                          ? trial.metrics[static_cast<std::size_t>(mismatch_column_)] == 1
                          : is_mismatch(trial);
    const auto image = static_cast<std::size_t>(trial.image);
    if (image >= run_.labels.size()) {
      damaged("trial " + std::to_string(trial.trial), "image", trial.image);
    }
    effect.misclassified = trial.golden_top1 == run_.labels[image] && effect.mismatch;
    return effect;
  }

  void add(const TrialResult& trial) {
    const auto layer = layer_of_.find({trial.entry, trial.site});
    if (layer == layer_of_.end()) {
      damaged("trial " + std::to_string(trial.trial), "site", trial.site);
    }
    TrialEffect effect = effect_of(trial);
    effect.fault = permanent_[layer->second] ? trial.trial - trial.image : trial.trial;
    layers_[layer->second].add(effect, trial);
    network_.add(effect, trial);
    raised_.add(trial);
    if (options_.visit) options_.visit(layer->second, effect, trial);
    add_to_bit(trial, effect);
    add_to_worst(trial, std::abs(effect.change));
  }

  void add_to_bit(const TrialResult& trial, const TrialEffect& effect) {
    if (trial.edits.size() != 1) return;
    const EditRecord& record = trial.edits.front();
    const std::uint32_t bits = edited_bits(record);
    const StoredRegister* kind = register_of(trial, record, run_);
    if (bits == 0 || !kind) return;
    const int bit = static_cast<int>(std::bit_width(bits)) - 1;
    if (static_cast<std::size_t>(bit) >= kind->bit_classes.size()) return;
    const auto name_of = [](std::size_t bit_class) {
      return bit_class < kBitClassNames.size() ? kBitClassNames[bit_class] : "other";
    };
    const std::string place_class =
        name_of(static_cast<std::size_t>(kind->bit_classes[static_cast<std::size_t>(bit)]));
    const std::int32_t format = run_.site_formats[static_cast<std::size_t>(trial.site)];

    Tally& of_bit =
        bits_.try_emplace({format, record.edit.register_index, bit}, run_.metric_columns)
            .first->second;
    of_bit.group.register_name = kind->name;
    if (formats_hit_.size() > 1) {
      of_bit.group.register_name =
          run_.formats[static_cast<std::size_t>(format)].id + " " + kind->name;
    }
    of_bit.group.bit = bit;
    of_bit.group.bit_class = place_class;
    const bool named = record.edit.register_index > 0 || formats_hit_.size() > 1;
    of_bit.group.name = (named ? of_bit.group.register_name + " " : "") + "bit " +
                        std::to_string(bit) + " (" + place_class + ")";
    of_bit.add(effect, trial);
    const auto bit_class = static_cast<std::size_t>(record.bit_class);
    Tally& of_class = classes_.try_emplace(bit_class, run_.metric_columns).first->second;
    of_class.group.name = of_class.group.bit_class = name_of(bit_class);
    of_class.add(effect, trial);
  }

  void add_to_worst(const TrialResult& trial, double delta) {
    auto& worst = data_.worst;
    if (!std::isfinite(delta) || delta == 0) return;
    if (worst.size() == kWorst && delta <= worst.back().delta_loss) return;
    WorstTrial entry;
    entry.trial = trial.trial;
    entry.site = run_.sites[static_cast<std::size_t>(trial.site)].name;
    entry.image = run_.image_names[static_cast<std::size_t>(trial.image)];
    entry.edit = edit_text(trial, run_);
    entry.golden_class = class_name(trial.golden_top1);
    entry.faulty_class = class_name(trial.faulty_top1);
    entry.golden_loss = trial.golden_loss;
    entry.faulty_loss = trial.faulty_loss;
    entry.delta_loss = delta;
    const auto place = std::find_if(worst.begin(), worst.end(),
                                    [&](const WorstTrial& w) { return w.delta_loss < delta; });
    worst.insert(place, std::move(entry));
    if (worst.size() > kWorst) worst.pop_back();
  }

  std::string class_name(std::int32_t index) const {
    const auto i = static_cast<std::size_t>(index);
    return index >= 0 && i < run_.classes.size() ? run_.classes[i] : std::to_string(index);
  }

  void finish_means() {
    double sum = 0, weighted = 0, weight = 0;
    int layers = 0;
    for (std::size_t i = 0; i < data_.layers.size(); ++i) {
      const double mean = data_.layers[i].delta_loss.mean;
      if (std::isnan(mean)) continue;
      sum += mean;
      ++layers;
      weighted += mean * weights_[i];
      weight += weights_[i];
    }
    data_.delta_loss_layer_mean = layers ? sum / layers : kNan;
    data_.delta_loss_bit_weighted = weight > 0 ? weighted / weight : kNan;
  }

  void finish_accuracy() {
    std::int64_t golden = 0, fp32 = 0;
    const std::vector<GoldenResult> rows = store_.golden_rows();
    for (const GoldenResult& row : rows) {
      const auto image = static_cast<std::size_t>(row.image);
      if (image >= run_.labels.size()) damaged("a golden row", "image", row.image);
      golden_nonfinite_ += !std::isfinite(row.loss);
      golden += row.top1 == run_.labels[image];
      fp32 += row.fp32_top1 == run_.labels[image];
    }
    data_.images = static_cast<std::int64_t>(run_.image_names.size());
    const auto n = static_cast<std::int64_t>(rows.size());
    data_.golden_accuracy = proportion(golden, n, data_.confidence);
    data_.fp32_accuracy = proportion(fp32, n, data_.confidence);
  }

  void add_warnings() {
    auto& warnings = data_.warnings;
    const std::optional<Shard>& shard = run_.facts.shard;
    if (shard) {
      warnings.push_back("This is shard " + to_string(*shard) + " of a campaign of " +
                         std::to_string(data_.planned) +
                         " trials; bitfall merge joins the shards to the whole.");
    }
    if (data_.done < data_.planned && (!shard || !run_.facts.finished)) {
      warnings.push_back(
          "Unfinished: " + std::to_string(data_.done) + " of " + std::to_string(data_.planned) +
          " trials are in. Continue with: bitfall resume " + shell_word(data_.directory));
    }
    if (golden_nonfinite_ > 0) {
      warnings.push_back("The network without a fault gives no finite loss on " +
                         std::to_string(golden_nonfinite_) + " of " + std::to_string(data_.images) +
                         " images (NaN or Inf in the model, the data or the format). Trials on "
                         "these say nothing about faults.");
    }
    data_.plain_mean_misleads = wide_exponent() && run_.facts.hit_value == HitValue::kRaw;
    if (data_.plain_mean_misleads) {
      warnings.push_back(
          "In this number format a flip in the exponent makes values near 1e38, so the plain mean "
          "of "
          "delta loss says nothing. Read the mismatch rate, the share of changing trials, the "
          "median "
          "and the clipped mean.");
    }
    const auto few = std::count_if(data_.layers.begin(), data_.layers.end(), [](const auto& layer) {
      return layer.trials > 0 && layer.delta_loss.unreliable;
    });
    if (few > 0) {
      warnings.push_back(
          "Delta loss is unreliable in " + std::to_string(few) + " of " +
          std::to_string(data_.layers.size()) +
          " layers (marked *): fewer than 40 trials there changed the loss. The rates "
          "and their intervals hold.");
    }
    add_refusals();
    const bool listed =
        !run_.strata.empty() && std::all_of(run_.strata.begin(), run_.strata.end(),
                                            [](const Stratum& s) { return s.population == 0; });
    if (listed) {
      warnings.push_back(
          "The faults came from a list. The intervals hold for a wider population only if the list "
          "was drawn from it at random.");
    }
  }

  bool wide_exponent() const {
    return std::any_of(formats_hit_.begin(), formats_hit_.end(), [&](std::int32_t format) {
      const auto& classes =
          run_.formats[static_cast<std::size_t>(format)].registers.front().bit_classes;
      return std::count(classes.begin(), classes.end(), BitClass::kExponent) >= 8;
    });
  }

  void add_refusals() {
    std::string names;
    std::int64_t refused = 0;
    for (const Site& site : run_.sites) {
      if (site.refusal.empty() || is_helper(site)) continue;
      if (++refused <= 3) names += (refused > 1 ? ", " : "") + site.name;
    }
    if (refused == 0) return;
    data_.warnings.push_back(std::to_string(refused) +
                             " site(s) of the model cannot be hit and are not in these figures (" +
                             names + (refused > 3 ? ", ..." : "") + "); bitfall sites says why.");
  }

  const Store& store_;
  const SummaryOptions& options_;
  RunDescription run_;
  ReportData data_;
  int mismatch_column_ = -1;
  std::int64_t golden_nonfinite_ = 0;  // images whose loss without a fault is NaN or Inf
  std::map<std::pair<std::int32_t, std::int32_t>, std::size_t> layer_of_;  // (entry, site) -> layer
  std::vector<Tally> layers_;
  std::vector<double> weights_;  // by layer: its bits
  std::vector<bool> permanent_;  // by layer
  std::set<std::int32_t> formats_hit_;
  std::map<std::tuple<std::int32_t, std::int32_t, int>, Tally> bits_;  // (format, register, bit)
  std::map<std::size_t, Tally> classes_;
  Tally network_;
  RaisedCount raised_;
};

}  // namespace

ReportData summarise(const Store& store, const SummaryOptions& options) {
  return Summary(store, options).finish();
}

}  // namespace bitfall
