#include "report.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include "bit_parts.h"
#include "bootstrap.h"
#include "combined_group.h"
#include "error.h"
#include "loss_sample.h"
#include "report_number.h"
#include "trials_ahead.h"
#include "words.h"
#include "worker_threads.h"

namespace bitfall {
namespace {

constexpr std::size_t kWorst = 10;
constexpr std::uint64_t kMeanStreams = std::uint64_t{1} << 61;  // far above those of comparisons
constexpr std::size_t kRaised = 10;

struct Effect : TrialEffect {
  bool shared = false;  // of a permanent fault
};

// Collects the trials of one group.
class Tally {
 public:
  Tally() = default;
  explicit Tally(const std::vector<StoredColumn>& columns)
      : metrics_(columns.begin(), columns.end()) {}

  void add(const Effect& effect, const TrialResult& trial) {
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
    losses.add(effect.fault, effect.shared, delta, effect.clipped);
    if (std::isfinite(delta)) {
      sum_ += delta;
      signed_sum_ += effect.change;
    }
    clipped_sum_ += effect.clipped;
  }

  /// The means with their intervals, `stream` and the next number of resamples apart.
  void estimate(double confidence, double clip, std::uint64_t stream) {
    loss_estimate = estimate_mean(losses.losses(), confidence, stream);
    clipped_estimate = estimate_mean(losses.clipped(), confidence, stream + 1, clip);
  }

  GroupSummary finish(double confidence, double clip) {
    const std::int64_t n = group.trials;
    group.mismatch = mismatches_.proportion(confidence);
    group.nonfinite_rate = nonfinites_.proportion(confidence);
    group.due = dues_.proportion(confidence);
    group.misclassified = misclassified_.proportion(confidence);
    DeltaLossSummary& loss = group.delta_loss;
    const LossSample::Spread spread = losses.spread(clip);
    const auto finite = static_cast<double>(spread.finite);
    loss.trials = n;
    loss.no_answer = group.due.events;
    loss.nonfinite = n - loss.no_answer - spread.finite;
    loss.changing = spread.changing;
    loss.changes = changes_.proportion(confidence);
    loss.mean = spread.finite == 0 ? kNan : sum_ / finite;
    loss.signed_mean = spread.finite == 0 ? kNan : signed_sum_ / finite;
    loss.mean_given_change = loss.changing ? sum_ / static_cast<double>(loss.changing) : kNan;
    loss.mean_clipped = n ? clipped_sum_ / static_cast<double>(n) : kNan;
    loss.median = spread.median;
    loss.p99 = spread.p99;
    loss.maximum = spread.maximum;
    loss.interval = loss_estimate.interval;
    loss.clipped_interval = clipped_estimate.interval;
    loss.carried = spread.carried;
    loss.clipped_carried = spread.clipped_carried;
    loss.unreliable = loss.carried.effective < kReliableDraws;
    loss.clipped_unreliable = loss.clipped_carried.effective < kReliableDraws;
    for (const MetricTally& metric : metrics_) group.metrics.push_back(metric.finish(confidence));
    return std::move(group);
  }

  GroupSummary group;
  LossSample losses;
  // NaN before estimate().
  MeanEstimate loss_estimate{kNan, {kNan, kNan}}, clipped_estimate{kNan, {kNan, kNan}};

 private:
  ClusterCount mismatches_, misclassified_, nonfinites_, dues_, changes_;
  double sum_ = 0;
  double signed_sum_ = 0;
  double clipped_sum_ = 0;
  std::vector<MetricTally> metrics_;
};

// A value as people write it: 2048, 6.1e-05.
std::string plain(float value) {
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.6g", static_cast<double>(value));
  return text.data();
}

const char* class_name_of(std::size_t bit_class) {
  return bit_class < kBitClassNames.size() ? kBitClassNames[bit_class] : "other";
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
    if (!options.images.empty()) {
      data_.images_counted = std::count(options.images.begin(), options.images.end(), true);
    }
    find_mismatch_column();
    network_ = Tally(run_.metric_columns);
    network_.losses.keep_nothing();  // its layers keep all
    if (options.estimate_means) network_.losses.keep_draws();
    answers_.fill(Tally(run_.metric_columns));
    directions_.fill(Tally(run_.metric_columns));
    prepare_layers();
    if (run_.facts.sampling) prepare_strata();
    refuse_other_weights();
  }

  ReportData finish() {
    for_each_trial_ahead(store_, [&](const TrialResult& trial) { add(trial); });
    if (options_.estimate_means) estimate_means();
    if (data_.sampling) {
      finish_strata();
    } else {
      finish_groups();
    }
    finish_layer_bits();
    data_.raised = raised_.commonest(kRaised);
    data_.kinds_raised = raised_.kinds();
    finish_means();
    finish_accuracy();
    add_warnings();
    return std::move(data_);
  }

 private:
  // Strata by the values that faults find have their weights of all images.
  void refuse_other_weights() const {
    const std::vector<bool>& images = options_.images;
    const bool some = std::find(images.begin(), images.end(), false) != images.end();
    const bool by_values =
        run_.facts.sampling && std::any_of(run_.profiles.begin(), run_.profiles.end(),
                                           [](const SiteProfile& one) { return !one.values.empty(); });
    if (!some || !by_values) return;
    throw Error(ExitCode::kUsage,
                data_.directory +
                    ": a part of the images cannot be counted alone: trials were drawn by the values "
                    "that faults find, with weights that hold for all images. A campaign with [data] "
                    "only = \"correct\" is of those that the network gets right");
  }

  // Each cell from the strata that have trials in it.
  void finish_layer_bits() {
    std::map<std::pair<std::size_t, int>, std::vector<std::size_t>> cells;  // by row and bit
    for (const auto& [place, _] : layer_bits_) {
      const auto& [stratum, bit] = place;
      cells[{data_.sampling ? row_of_stratum_[stratum] : stratum, bit}].push_back(stratum);
    }
    for (const auto& [place, strata] : cells) {
      LayerBit cell{place.first, place.second};
      std::vector<SampledStratum> parts;
      double weights = 0;
      for (const std::size_t stratum : strata) {
        const BitSums& part = layer_bits_[{stratum, place.second}];
        const double weight = data_.sampling ? run_.strata[stratum].population : 1;
        cell.rate = part.mismatches.proportion(data_.confidence);
        parts.push_back({weight, cell.rate.trials, cell.rate.events});
        cell.trials += cell.rate.trials;
        cell.mismatches += cell.rate.events;
        cell.clipped += weight * part.clipped / static_cast<double>(cell.rate.trials);
        weights += weight;
      }
      cell.clipped /= weights;
      if (parts.size() > 1) cell.rate = stratified_proportion(parts, data_.confidence);
      data_.layer_bits.push_back(cell);
    }
  }

  void finish_groups() {
    for (Tally& layer : layers_) network_.losses.collect(layer.losses);
    for (Tally& layer : layers_) data_.layers.push_back(layer.finish(data_.confidence, data_.clip));
    for (auto& [key, bit] : bits_) data_.bits.push_back(bit.finish(data_.confidence, data_.clip));
    for (auto& [key, tally] : classes_)
      data_.bit_classes.push_back(tally.finish(data_.confidence, data_.clip));
    finish_parts(answers_, {"right", "wrong"}, data_.answers);
    finish_parts(directions_, {"0 to 1", "1 to 0"}, data_.directions);
    network_.group.name = "all";
    for (const Stratum& stratum : run_.strata) network_.group.population += stratum.population;
    data_.network = network_.finish(data_.confidence, data_.clip);
  }

  // Of a run with a goal: which trials count, and which strata are of one layer.
  void prepare_strata() {
    const SampledRun counts = count_strata(store_, run_);
    data_.sampling = summarise_sampling(counts, run_);
    const std::int64_t pilot = data_.sampling->pilot;
    if (data_.sampling->pilot_alone) {
      counted_ = {0, pilot};
    } else {
      counted_ = {pilot, std::numeric_limits<std::int64_t>::max()};
    }
    std::map<std::int32_t, std::size_t> sites;
    for (const Stratum& stratum : run_.strata) {
      row_of_stratum_.push_back(sites.try_emplace(stratum.site, sites.size()).first->second);
    }
  }

  // Layers, parts of the bits and the network, each from its strata.
  void finish_strata() {
    const Combination how = {data_.confidence, data_.clip};
    for (Tally& stratum : layers_) {
      strata_.push_back(stratum.finish(data_.confidence, data_.clip));
    }
    const std::vector<double> weights = stratum_weights(run_, run_.facts.sampling->over_layers);
    std::map<std::size_t, std::vector<WeightedGroup>> layers, classes;
    std::map<std::pair<int, int>, std::vector<WeightedGroup>> parts;  // by first and last bit
    std::vector<WeightedGroup> all;
    for (std::size_t i = 0; i < strata_.size(); ++i) {
      layers[row_of_stratum_[i]].push_back({run_.strata[i].population, &strata_[i]});
      all.push_back({weights[i], &strata_[i]});
      const auto entry = static_cast<std::size_t>(run_.strata[i].entry);
      if (entry >= run_.facts.sampling->parts.size() || strata_[i].trials == 0) continue;
      const BitRange& bits = run_.facts.sampling->parts[entry].bits;
      parts[{bits.first, bits.last}].push_back(all.back());
    }
    // By what the trial's own code says of the bit: of a stratum's weight the share of its trials.
    std::map<std::pair<std::size_t, std::size_t>, GroupSummary> cells;
    for (auto& [place, tally] : cells_) {
      const auto& [stratum, bit_class] = place;
      const double part = share(tally.group.trials, strata_[stratum].trials);
      const GroupSummary* cell = &strata_[stratum];
      if (part < 1) {
        cell = &cells.emplace(place, tally.finish(data_.confidence, data_.clip)).first->second;
      }
      classes[bit_class].push_back({weights[stratum] * part, cell});
    }
    std::vector<std::int64_t> done(layers.size(), 0);
    for (std::size_t i = 0; i < strata_.size(); ++i) {
      done[row_of_stratum_[i]] += data_.layers_done[i];
    }
    data_.layers_done = std::move(done);
    for (const auto& [row, of] : layers) {
      GroupSummary& layer = data_.layers.emplace_back(combined(of, how));
      layer.name = of.front().group->name;
      layer.operation = of.front().group->operation;
      layer.bits = of.front().group->bits;
    }
    for (const auto& [range, of] : parts) {
      GroupSummary& row = data_.bits.emplace_back(combined(of, how));
      const BitRange bits{range.first, range.second};
      row.name = to_string(bits);
      row.bit = bits.last;
      if (bits.first < bits.last) row.first_bit = bits.first;
      row.register_name = "payload";
      const std::string bit_class = class_of(of);
      if (bit_class.empty()) continue;
      row.bit_class = bit_class;
      row.name += " (" + bit_class + ")";
    }
    for (const auto& [bit_class, of] : classes) {
      GroupSummary& row = data_.bit_classes.emplace_back(combined(of, how));
      row.name = row.bit_class = class_name_of(bit_class);
    }
    data_.network = combined(all, how);
    data_.network.name = "all";
  }

  // Of the bits of these strata, where all are of one as the formats have them; else empty.
  std::string class_of(const std::vector<WeightedGroup>& strata) const {
    std::set<std::size_t> found;
    for (const WeightedGroup& part : strata) {
      const Stratum& stratum = run_.strata[static_cast<std::size_t>(part.group - strata_.data())];
      const auto format = run_.site_formats[static_cast<std::size_t>(stratum.site)];
      const auto& registers = run_.formats[static_cast<std::size_t>(format)].registers;
      const BitRange& bits =
          run_.facts.sampling->parts[static_cast<std::size_t>(stratum.entry)].bits;
      for (int bit = bits.first; bit <= bits.last && !registers.empty(); ++bit) {
        const auto& classes = registers.front().bit_classes;
        const auto place = static_cast<std::size_t>(bit);
        if (place < classes.size()) found.insert(static_cast<std::size_t>(classes[place]));
      }
    }
    return found.size() == 1 ? class_name_of(*found.begin()) : "";
  }

  void finish_parts(std::array<Tally, 2>& parts, std::array<const char*, 2> names,
                    std::vector<GroupSummary>& out) {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (parts[i].group.trials == 0) continue;
      parts[i].group.name = names[i];
      out.push_back(parts[i].finish(data_.confidence, data_.clip));
    }
  }

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
      Tally& layer = layers_.emplace_back(run_.metric_columns);
      if (options_.estimate_means) layer.losses.keep_draws();
      GroupSummary& group = layer.group;
      group.name = run_.sites[site].name;
      // An entry is called by its number in the file, counted from 1.
      if (strata_of_site[stratum.site] > 1 && !run_.facts.sampling)
        group.name += " (faults " + std::to_string(stratum.entry + 1) + ")";
      group.operation = run_.sites[site].operation;
      group.population = stratum.population;
      group.entry = stratum.entry;
      group.bits = run_.bits(stratum);
      data_.layers_done.push_back(0);
    }
  }

  [[noreturn]] void damaged(const std::string& who, const char* what, std::int64_t index) const {
    throw Error(ExitCode::kInput, data_.directory + ": is damaged: " + who + " names " + what +
                                      " " + std::to_string(index) +
                                      ", which the run does not have");
  }

  Effect effect_of(const TrialResult& trial) const {
    Effect effect;
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
    ++data_.done;
    ++data_.layers_done[layer->second];
    Effect effect = effect_of(trial);
    if (!options_.images.empty() && !options_.images[static_cast<std::size_t>(trial.image)]) return;
    if (trial.trial < counted_.first || trial.trial >= counted_.second) return;
    effect.shared = permanent_[layer->second];
    effect.fault = effect.shared ? trial.trial - trial.image : trial.trial;
    layers_[layer->second].add(effect, trial);
    if (!data_.sampling) {
      network_.add(effect, trial);
      const auto image = static_cast<std::size_t>(trial.image);
      answers_[trial.golden_top1 == run_.labels[image] ? 0 : 1].add(effect, trial);
    }
    raised_.add(trial);
    if (options_.visit) options_.visit(layer->second, effect, trial);
    add_to_bit(trial, effect);
    add_to_worst(trial, std::abs(effect.change));
  }

  void add_to_bit(const TrialResult& trial, const Effect& effect) {
    if (trial.edits.size() != 1) return;
    const EditRecord& record = trial.edits.front();
    const std::uint32_t bits = edited_bits(record);
    const StoredRegister* kind = register_of(trial, record, run_);
    if (bits == 0 || !kind) return;
    const int bit = static_cast<int>(std::bit_width(bits)) - 1;
    if (static_cast<std::size_t>(bit) >= kind->bit_classes.size()) return;
    if (data_.sampling) {  // within a stratum all bits are as likely
      if (record.edit.register_index == 0) add_to_layer_bit(trial, effect, bit);
      const std::size_t stratum = layer_of_.at({trial.entry, trial.site});
      const auto [cell, first] = cells_.try_emplace(
          {stratum, static_cast<std::size_t>(record.bit_class)}, run_.metric_columns);
      if (first && options_.estimate_means) cell->second.losses.keep_draws();
      cell->second.add(effect, trial);
      return;
    }
    const std::string place_class =
        class_name_of(static_cast<std::size_t>(kind->bit_classes[static_cast<std::size_t>(bit)]));
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
    if (record.edit.register_index == 0) add_to_layer_bit(trial, effect, bit);
    if (record.edit.operation == EditOperation::kFlip && std::popcount(record.edit.mask) == 1) {
      directions_[record.code_before & record.edit.mask ? 1 : 0].add(effect, trial);
    }
    const auto bit_class = static_cast<std::size_t>(record.bit_class);
    Tally& of_class = classes_.try_emplace(bit_class, run_.metric_columns).first->second;
    of_class.group.name = of_class.group.bit_class = class_name_of(bit_class);
    of_class.add(effect, trial);
  }

  void add_to_layer_bit(const TrialResult& trial, const Effect& effect, int bit) {
    BitSums& sums = layer_bits_[{layer_of_.at({trial.entry, trial.site}), bit}];
    sums.mismatches.add(effect.fault, effect.mismatch);
    sums.clipped += effect.clipped;
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

  // Layer by layer, several at a time: each has resamples of its own. A cell that is all of its
  // stratum is counted as that.
  void estimate_means() {
    std::vector<Tally*> tallies;
    for (Tally& layer : layers_) tallies.push_back(&layer);
    if (!data_.sampling) tallies.push_back(&network_);
    for (auto& [place, cell] : cells_) {
      if (cell.group.trials < layers_[place.first].group.trials) tallies.push_back(&cell);
    }
    std::atomic<std::size_t> next = 0;
    const auto workers = std::min<std::size_t>(
        tallies.size(), std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, 8));
    run_on(static_cast<std::int64_t>(workers), [&] {
      for (std::size_t i = next++; i < tallies.size(); i = next++) {
        tallies[i]->estimate(data_.confidence, data_.clip, kMeanStreams + 2 * i);
      }
    });
  }

  WeightedSum rate_over_strata(Proportion GroupSummary::* rate, bool over_layers) const {
    const std::vector<double> weights = stratum_weights(run_, over_layers);
    std::vector<SampledStratum> strata;
    for (std::size_t i = 0; i < strata_.size(); ++i) {
      const Proportion& own = strata_[i].*rate;
      strata.push_back({weights[i], own.trials, own.events});
    }
    return stratified_rate(strata, data_.confidence);
  }

  OverLayers rate_over_layers(Proportion GroupSummary::* rate) const {
    if (data_.sampling) return {rate_over_strata(rate, true), rate_over_strata(rate, false)};
    std::vector<WeightedRate> plain, by_bits;
    double bits = 0;
    for (const GroupSummary& layer : data_.layers) {
      if (layer.trials == 0) continue;
      plain.push_back({1, layer.*rate});
      by_bits.push_back({layer.bits, layer.*rate});
      bits += layer.bits;
    }
    for (WeightedRate& part : plain) part.weight /= static_cast<double>(plain.size());
    for (WeightedRate& part : by_bits) part.weight /= bits;
    return {weighted_rate(plain, data_.confidence), weighted_rate(by_bits, data_.confidence)};
  }

  // The mean over layers, from their own intervals: a layer that is too thin to know its own upper
  // end leaves the network's as open as its weight makes it. One where nothing changed counts as 0.
  // most: nats, of any trial.
  WeightedSum mean_over_layers(double DeltaLossSummary::* mean,
                               Interval DeltaLossSummary::* interval, double most,
                               bool by_bits) const {
    constexpr std::int64_t kSeveral = 2;  // a layer's only draw without a change is as several
    std::vector<WeightedTerm> terms;
    double weight = 0;
    for (const GroupSummary& layer : data_.layers) {
      const double own = layer.delta_loss.*mean;
      if (std::isnan(own) || !options_.estimate_means) continue;
      const double bits = data_.sampling ? layer.population : layer.bits;
      terms.push_back(
          {by_bits ? bits : 1, own, known_loss(own, layer.delta_loss.*interval, kSeveral, most)});
      weight += terms.back().weight;
    }
    for (WeightedTerm& term : terms) term.weight /= weight;
    return weighted_sum(terms);
  }

  void finish_means() {
    data_.mismatch_over_layers = rate_over_layers(&GroupSummary::mismatch);
    data_.nonfinite_over_layers = rate_over_layers(&GroupSummary::nonfinite_rate);
    data_.due_over_layers = rate_over_layers(&GroupSummary::due);
    using Loss = DeltaLossSummary;
    constexpr double kAny = std::numeric_limits<double>::infinity();
    const auto over = [&](double Loss::* mean, Interval Loss::* interval, double most) {
      return OverLayers{mean_over_layers(mean, interval, most, false),
                        mean_over_layers(mean, interval, most, true)};
    };
    data_.loss_over_layers = over(&Loss::mean, &Loss::interval, kAny);
    data_.clipped_over_layers = over(&Loss::mean_clipped, &Loss::clipped_interval, data_.clip);
  }

  void finish_accuracy() {
    std::int64_t golden = 0, fp32 = 0;
    std::vector<MeanUnit> golden_losses, fp32_losses;
    const std::vector<GoldenResult> rows = store_.golden_rows();
    for (const GoldenResult& row : rows) {
      const auto image = static_cast<std::size_t>(row.image);
      if (image >= run_.labels.size()) damaged("a golden row", "image", row.image);
      golden_nonfinite_ += !std::isfinite(row.loss);
      if (std::isfinite(row.loss)) golden_losses.push_back({row.loss, 1});
      if (std::isfinite(row.fp32_loss)) fp32_losses.push_back({row.fp32_loss, 1});
      golden += row.top1 == run_.labels[image];
      fp32 += row.fp32_top1 == run_.labels[image];
    }
    data_.images = static_cast<std::int64_t>(run_.image_names.size());
    const auto n = static_cast<std::int64_t>(rows.size());
    data_.golden_accuracy = proportion(golden, n, data_.confidence);
    data_.fp32_accuracy = proportion(fp32, n, data_.confidence);
    const auto mean = [&](const std::vector<MeanUnit>& losses) {
      const MeanEstimate estimate = estimate_mean(losses, data_.confidence, kMeanStreams - 1);
      return WeightedSum{estimate.mean, estimate.interval};
    };
    data_.golden_nll = mean(golden_losses);
    data_.fp32_nll = mean(fp32_losses);
    data_.accuracy_kept = accuracy_kept(rows, run_.labels, data_.confidence);
  }

  void add_warnings() {
    auto& warnings = data_.warnings;
    const std::optional<Shard>& shard = run_.facts.shard;
    if (shard) {
      warnings.push_back("This is shard " + to_string(*shard) + " of a campaign of " +
                         std::to_string(data_.planned) +
                         " trials; bitfall merge joins the shards to the whole.");
    }
    if (data_.sampling && data_.done == data_.planned && !run_.facts.finished) {
      warnings.push_back(
          "Unfinished: whether another round is needed is still to be seen. "
          "Continue with: bitfall resume " +
          shell_word(data_.directory));
    }
    if (data_.done < data_.planned && (!shard || !run_.facts.finished)) {
      warnings.push_back(
          "Unfinished: " + std::to_string(data_.done) + " of " + std::to_string(data_.planned) +
          " trials are in. Continue with: bitfall resume " + shell_word(data_.directory));
    }
    if (data_.images_counted) {
      warnings.push_back("Only trials on the " + std::to_string(*data_.images_counted) + " of " +
                         std::to_string(data_.images) +
                         " images that are right without a fault count here.");
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
    warn_of_few_draws();
    warn_of_idle_layers();
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

  // What carries the means that are read: in a format where the plain one says nothing, the
  // clipped.
  void warn_of_few_draws() {
    if (data_.sampling) {
      data_.warnings.push_back(
          "Trials were drawn for the rate of " + data_.sampling->goal.of +
          ", more where that was uncertain; all rates and means are weighted so that they are of "
          "faults as likely as the campaign says. Means of delta loss and of metrics may be known "
          "badly: their intervals are open where a stratum has too few trials to tell, and too "
          "narrow where none of its trials met a rare large value.");
      return;
    }
    const bool clipped = data_.plain_mean_misleads;
    std::int64_t few = 0, with_changes = 0;
    std::vector<std::int64_t> halves;
    for (const GroupSummary& layer : data_.layers) {
      const DeltaLossSummary& loss = layer.delta_loss;
      const Concentration& carried = clipped ? loss.clipped_carried : loss.carried;
      if (carried.half == 0) continue;
      ++with_changes;
      halves.push_back(carried.half);
      few += clipped ? loss.clipped_unreliable : loss.unreliable;
    }
    if (few == 0) return;
    std::nth_element(halves.begin(),
                     halves.begin() + static_cast<std::ptrdiff_t>(halves.size() / 2), halves.end());
    data_.warnings.push_back(
        std::string("A few trials carry the ") + (clipped ? "clipped means" : "means") +
        " of delta loss: in " + std::to_string(few) + " of " + std::to_string(with_changes) +
        " layers fewer than 40 effective ones (column 'half': how many make half of a mean, " +
        std::to_string(halves[halves.size() / 2]) +
        " in the middle layer). Such a mean may be far below the truth, and its interval too "
        "narrow. Rates and their intervals hold.");
  }

  // As of an error model that writes what is there already.
  void warn_of_idle_layers() {
    constexpr std::int64_t kFew = 20;  // trials
    std::int64_t idle = 0, tried = 0;
    std::string names;
    for (const GroupSummary& layer : data_.layers) {
      if (layer.trials < kFew) continue;
      ++tried;
      if (layer.activated > 0) continue;
      if (++idle <= 3) names += (idle > 1 ? ", " : "") + layer.name;
    }
    if (idle == 0) return;
    data_.warnings.push_back("No fault changed a value in " + std::to_string(idle) + " of " +
                             std::to_string(tried) + " layers (" + names +
                             (idle > 3 ? ", ..." : "") +
                             "): what was written there is what the format holds. Their rates say "
                             "nothing about the network.");
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
  std::vector<bool> permanent_;  // by layer
  // Of a run with a goal, whose tallies are of strata: ids that count, the layer's row of each
  // stratum, and what was counted of each.
  std::pair<std::int64_t, std::int64_t> counted_ = {0, std::numeric_limits<std::int64_t>::max()};
  std::vector<std::size_t> row_of_stratum_;
  std::map<std::pair<std::size_t, std::size_t>, Tally> cells_;  // by stratum and class of bit
  std::vector<GroupSummary> strata_;
  std::set<std::int32_t> formats_hit_;
  std::map<std::tuple<std::int32_t, std::int32_t, int>, Tally> bits_;  // (format, register, bit)
  std::map<std::size_t, Tally> classes_;
  struct BitSums {
    ClusterCount mismatches;
    double clipped = 0;
  };
  std::map<std::pair<std::size_t, int>, BitSums> layer_bits_;  // by stratum and bit
  std::array<Tally, 2> answers_, directions_;
  Tally network_;
  RaisedCount raised_;
};

}  // namespace

const MetricSummary* GroupSummary::metric(const std::string& column) const {
  const auto found = std::ranges::find(metrics, column, &MetricSummary::column);
  return found == metrics.end() ? nullptr : &*found;
}

std::vector<bool> right_answers(const Store& store) {
  const RunDescription run = store.description();
  std::vector<bool> right(run.labels.size(), false);
  for (const GoldenResult& row : store.golden_rows()) {
    const auto image = static_cast<std::size_t>(row.image);
    if (image < right.size()) right[image] = row.top1 == run.labels[image];
  }
  return right;
}

ReportData summarise(const Store& store, const SummaryOptions& options) {
  return Summary(store, options).finish();
}

}  // namespace bitfall
