#include "compare_tables.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <set>

#include "report_number.h"
#include "report_text.h"

namespace bitfall {
namespace {

constexpr std::size_t kShortSite = 20;  // of a name in a table that has other columns to show

std::string print(const char* format, double value) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string with_interval(const Estimate& estimate) {
  return std::isnan(estimate.value) ? "-"
                                    : quantity(estimate.value) + interval_text(estimate.interval);
}

// Of a share, in percent.
std::string share_text(const Estimate& share, bool interval) {
  if (std::isnan(share.value)) return "-";
  std::string text = print("%.2f", 100 * share.value) + " %";
  if (!interval || std::isnan(share.interval.low)) return text;
  return text + " [" + print("%.2f", 100 * share.interval.low) + ", " +
         print("%.2f", 100 * share.interval.high) + "]";
}

// "+0.12 [-0.30, +0.54]" in `unit`s of 1 / scale.
std::string change_text(const GoldenChange& change, double scale, int decimals) {
  if (change.images == 0) return "-";
  const auto number = [&](double value) {
    std::array<char, 64> text;
    std::snprintf(text.data(), text.size(), "%+.*f", decimals, scale * value);
    return std::string(text.data());
  };
  return number(change.difference.value) + " [" + number(change.difference.interval.low) + ", " +
         number(change.difference.interval.high) + "]";
}

std::string p_text(const std::optional<Discordance>& test) {
  if (!test) return "-";
  return test->p < 1e-4 ? "<1e-4" : print("%.2g", test->p);
}

std::string difference_text(const std::optional<std::int64_t>& count,
                            const std::optional<std::int64_t>& baseline) {
  if (!count || !baseline || count == baseline) return count_text(count);
  const std::int64_t change = *count - *baseline;
  return count_text(count) + " (" + (change >= 0 ? "+" : "") + std::to_string(change) + ")";
}

class Tables {
 public:
  Tables(const CompareData& data, Detail detail)
      : data_(data),
        full_(detail == Detail::kFull),
        level_(" [" + confidence_text(data.arms.front().report) + "]") {}

  ReportTable summary() const {
    ReportTable table;
    table.title = "Summary";
    table.note =
        "x: baseline / arm of " + headline_name(data_) + ", with its " +
        confidence_text(data_.arms.front().report) +
        " interval; above 1 the arm is better. The network is the plain mean over layers; by bits: "
        "each layer weighted by its bits. Delta loss and top2diff follow the scale of the "
        "logits: read x with NLL, the mean loss without a fault; an arm at another scale has no x "
        "here unless the rescaled baseline is an arm too.";
    const std::string level = full_ ? level_ : "";  // the terminal has no room
    table.columns = {"arm",
                     "accuracy",
                     "parameters",
                     "operations",
                     "last layer x" + level,
                     "network x" + level,
                     "by bits x" + level,
                     "top2diff",
                     "NLL"};
    const Arm& first = data_.arms.front();
    for (const Arm& arm : data_.arms) {
      const bool baseline = &arm == &first;
      const auto ratio = [&](const Improvement* improvement) {
        if (baseline) return std::string("1");
        if (arm.other_scale) return std::string("other scale");
        return improvement ? ratio_text(headline(data_, *improvement)) : std::string("-");
      };
      const auto cost = [&](const Arm& of, std::optional<std::int64_t> RunFacts::* count) {
        const auto& value = of.report.facts.*count;
        return full_ ? difference_text(value, first.report.facts.*count) : count_text(value);
      };
      const Improvement* last =
          arm.last.combinations.empty() ? nullptr : &arm.last.combinations.front().improvement;
      table.rows.push_back(
          {arm.label, percent(arm.report.golden_accuracy.rate, 2), cost(arm, &RunFacts::parameters),
           cost(arm, &RunFacts::operations), ratio(last), ratio(&arm.networks.front().improvement),
           ratio(by_bits(arm)), quantity(arm.top2diff.value), quantity(arm.nll.value)});
    }
    return table;
  }

  ReportTable golden() const {
    ReportTable table;
    table.title = "Without a fault";
    table.note =
        "Changes are against the baseline, on the images that both have, with intervals of a "
        "paired "
        "bootstrap; p of McNemar's exact test. top2diff: softmax probability of the first class "
        "minus the second; NLL: the loss in nats; means over the golden images in the campaign's "
        "format.";
    table.columns = {"arm", "of", "value" + level_, "change" + level_, "images", "p"};
    table.text_columns = 2;
    for (const Arm& arm : data_.arms) {
      const bool baseline = &arm == &data_.arms.front();
      const auto add = [&](const std::string& what, const std::string& value,
                           const GoldenChange& change, double scale, int decimals) {
        table.rows.push_back({arm.label, what, value,
                              baseline ? "" : change_text(change, scale, decimals),
                              std::to_string(arm.golden_images),
                              baseline || !change.wrong ? "" : p_text(change.wrong)});
      };
      add("accuracy, " + format_text(arm.report.facts), percent(arm.report.golden_accuracy, 2),
          arm.accuracy_change, 100, 2);
      add("accuracy, plain FP32", percent(arm.report.fp32_accuracy, 2), arm.fp32_change, 100, 2);
      add("top2diff", with_interval(arm.top2diff), arm.top2diff_change, 1, 4);
      add("NLL", with_interval(arm.nll), arm.nll_change, 1, 4);
    }
    return table;
  }

  ReportTable equal_scale() const {
    ReportTable table;
    table.title = "At equal scale";
    table.note =
        "x of the arm against the baseline with its logits divided by T: what the arm does beyond "
        "a "
        "change of scale. The row counts where the arm's top2diff or NLL is the rescaled "
        "baseline's (=: the interval of the change holds 0).";
    table.columns = {"arm",
                     "baseline / T",
                     "top2diff" + level_,
                     "NLL" + level_,
                     "last layer x" + level_,
                     "network x" + level_,
                     "by bits x" + level_};
    table.text_columns = 2;
    for (const EqualScale& row : data_.equal_scale) {
      const auto change = [](const GoldenChange& of, bool same) {
        return change_text(of, 1, 4) + (same ? " =" : "");
      };
      table.rows.push_back({row.arm, row.rescaled + " (T = " + quantity(row.temperature) + ")",
                            change(row.top2diff, row.same_top2diff), change(row.nll, row.same_nll),
                            row.last ? ratio_text(headline(data_, *row.last)) : "-",
                            ratio_text(headline(data_, row.network)),
                            ratio_text(headline(data_, row.by_bits))});
    }
    return table;
  }

  ReportTable kept() const {
    ReportTable table;
    table.title = "Accuracy kept";
    table.note =
        "Without a fault: images that are right with a top2diff at or above the threshold, of all "
        "images.";
    table.columns = {"arm"};
    for (const AccuracyKept& point : shown_thresholds(data_.arms.front().report.accuracy_kept)) {
      table.columns.push_back(point.threshold == 0 ? "accuracy" + (full_ ? level_ : "")
                                                   : percent(point.threshold, 0));
    }
    for (const Arm& arm : data_.arms) {
      std::vector<std::string> row = {arm.label};
      for (const AccuracyKept& point : shown_thresholds(arm.report.accuracy_kept)) {
        row.push_back(full_ ? percent(point.kept, 2) : percent(point.kept.rate, 2));
      }
      table.rows.push_back(std::move(row));
    }
    return table;
  }

  ReportTable due() const {
    ReportTable table;
    table.title = "Without an answer";
    table.note =
        "DUE: trials that crashed or hung, of all trials. x: baseline / arm of the plain mean over "
        "layers; p: McNemar's exact test, where both arms ran the same trials.";
    table.columns = {"arm", "trials", "crashed", "hung", "DUE" + level_, "network x" + level_, "p"};
    for (const Arm& arm : data_.arms) {
      const bool baseline = &arm == &data_.arms.front();
      const GroupSummary& all = arm.report.network;
      table.rows.push_back({arm.label, std::to_string(all.trials),
                            std::to_string(all.count(Outcome::kCrashed)),
                            std::to_string(all.count(Outcome::kHung)), percent(all.due, 2),
                            baseline ? "1" : ratio_text(arm.networks.front().improvement.due),
                            baseline ? "" : p_text(arm.dues)});
    }
    return table;
  }

  ReportTable protections() const {
    ReportTable table;
    table.title = "Protections";
    table.note =
        "Prevented, caused: trials that mismatch in the baseline alone, and in the arm alone, "
        "where both ran the same trials; p: McNemar's exact test of these. Detected, false alarm: "
        "share of trials in which the protection noticed the fault, or doubts the image without "
        "one.";
    if (has_due(data_)) table.note += " Trials that gave no answer mismatch in no arm: see DUE.";
    table.columns = {"arm"};
    if (full_) table.columns.insert(table.columns.end(), {"protection", "costs"});
    table.text_columns = table.columns.size();
    table.columns.insert(table.columns.end(), {"detected" + level_, "false alarm" + level_,
                                               "prevented", "caused", "p"});
    for (const Arm& arm : data_.arms) {
      const RunFacts& facts = arm.report.facts;
      const bool pairs = arm.mismatches && &arm != &data_.arms.front();
      const auto count = [&](std::int64_t Discordance::* of) {
        return pairs ? std::to_string((*arm.mismatches).*of) : std::string();
      };
      std::vector<std::string> row = {arm.label};
      if (full_) {
        row.push_back(facts.protection_detail.value_or("none"));
        row.push_back(facts.protection_cost.value_or(""));
      }
      row.insert(row.end(),
                 {event_text(arm, "protect_detected"), event_text(arm, "protect_false_alarm"),
                  count(&Discordance::only_baseline), count(&Discordance::only_arm),
                  pairs ? p_text(arm.mismatches) : ""});
      table.rows.push_back(std::move(row));
    }
    return table;
  }

  // On the terminal of all trials, else by the class of the bit, too.
  ReportTable metrics() const {
    ReportTable table = metrics_table("Metrics");
    table.note =
        "Every column of the campaigns' metrics, each arm by itself: of an event the share of "
        "trials, of a quantity the mean of the finite ones.";
    Lists<MetricSummary> all, common;
    for (const Arm& arm : data_.arms) {
      all.push_back(&arm.report.network.metrics);
      if (arm.common) common.push_back(&arm.common->metrics);
    }
    if (!common.empty()) {
      add_metrics(table, "in common", common);
      table.note += " In common: the mean over the " +
                    (data_.common_layers == 1 ? std::string("layer")
                                              : std::to_string(data_.common_layers) + " layers") +
                    " that all arms have. All trials: each arm's own, of layers too that another "
                    "lacks.";
    }
    add_metrics(table, "all trials", all);
    if (!full_) return table;
    std::set<std::string> seen;
    for (const Arm& named : data_.arms) {
      for (const GroupSummary& of_class : named.report.bit_classes) {
        if (!seen.insert(of_class.name).second) continue;
        Lists<MetricSummary> groups;
        for (const Arm& arm : data_.arms) {
          const auto& classes = arm.report.bit_classes;
          const auto found = std::ranges::find(classes, of_class.name, &GroupSummary::name);
          groups.push_back(found == classes.end() ? nullptr : &found->metrics);
        }
        add_metrics(table, of_class.name, groups);
      }
    }
    return table;
  }

  ReportTable metrics_by_layer() const {
    ReportTable table = metrics_table("Metrics by layer");
    table.note = "Of each layer's trials, each arm by itself.";
    for (const LayerRow& row : data_.layers) {
      Lists<MetricSummary> groups;
      for (const auto& layer : row.arms) groups.push_back(layer ? &layer->summary.metrics : nullptr);
      add_metrics(table, row.name, groups);
    }
    return table;
  }

  // Empty where no arm ran trials of the baseline. On the terminal of all layers, else by layer, too.
  ReportTable metric_changes() const {
    ReportTable table = metrics_table("Change of the metrics", 1);
    table.note =
        "Arm minus baseline over the trials that both ran (same image, edits and place), of all "
        "layers that have such: of a quantity the mean with its interval, over those where both "
        "are finite; of an event the share, and how many of the trials had it in the arm : in the "
        "baseline alone, p of McNemar's exact test.";
    Lists<MetricChange> all;
    for (std::size_t i = 1; i < data_.arms.size(); ++i) {
      all.push_back(&data_.arms[i].metric_changes);
    }
    add_metrics(table, "all pairs", all);
    if (!full_) return table;
    for (const LayerRow& row : data_.layers) {
      Lists<MetricChange> changes;
      for (std::size_t i = 1; i < row.arms.size(); ++i) {
        changes.push_back(row.arms[i] ? &row.arms[i]->metric_changes : nullptr);
      }
      add_metrics(table, row.name, changes);
    }
    return table;
  }

  ReportTable last_layer() const {
    ReportTable table;
    table.title = "Last layer";
    table.note =
        "v: the final linear layer, with its outputs. Of a head of two, v1 (E outputs) and v2 (C "
        "outputs) are "
        "combined with the outputs as weights; the other rows show what another rule would give.";
    table.columns = quantity_columns({"arm", "of"});
    table.text_columns = 2;
    for (const Arm& arm : data_.arms) {
      const LastLayer& last = arm.last;
      if (!last.note.empty()) table.note += " " + arm.label + ": " + last.note;
      for (std::size_t i = 0; i < last.sites.size(); ++i) {
        const LastLayer::OutputSite& site = last.sites[i];
        const std::string v = last.sites.size() > 1 ? "v" + std::to_string(i + 1) : "v";
        const bool alone = last.combinations.size() == 1;
        add_quantities(
            table, arm,
            {arm.label, v + ": " + (full_ ? site.name : shortened(site.name, kShortSite)) + " (" +
                            std::to_string(site.neurons) + ")"},
            site.values, alone ? improvement(arm, last.combinations[0].improvement) : nullptr);
      }
      if (last.combinations.size() == 1) continue;
      for (const LastLayer::Combination& combination : last.combinations) {
        add_quantities(table, arm, {arm.label, combination.name}, combination.values,
                       improvement(arm, combination.improvement));
      }
    }
    return table;
  }

  ReportTable network() const {
    ReportTable table;
    table.title = "Network";
    table.note =
        "Means over layers, with equal weights (as published) or weighted by the layers' bits. "
        "\"Before the last\": without the last layer and what follows. \"All\": also over outputs "
        "of other operations than conv, linear and matmul that belong to a head (normalise, scale) "
        "or that some arm lacks; the published set-up never hit these.";
    table.columns = quantity_columns({"arm", "mean over"});
    table.text_columns = 2;
    for (const Arm& arm : data_.arms) {
      for (const NetworkValue& network : arm.networks) {
        add_quantities(table, arm, {arm.label, network_name(network)}, network.values,
                       improvement(arm, network.improvement));
      }
    }
    return table;
  }

  ReportTable layers() const {
    ReportTable table;
    table.title = "Layers";
    table.note =
        "No match: the baseline lacks the layer. p: McNemar's exact test of the mismatches, where "
        "both arms ran the same trials; these are resampled together. i: other faults, so the arms "
        "are resampled separately. *: under 40 effective trials carry the mean, (sum d)^2 / sum "
        "d^2, or "
        "under 5 mismatched, in one of the two (faults, where these meet several images). ^: at "
        "another scale than the baseline.";
    if (!full_) table.note = "Median, mean, clipped: of delta loss. " + table.note;
    if (full_) {
      table.columns = {"layer",      "arm",        "trials",  "changing",   "median",
                       "delta loss", "x" + level_, "clipped", "x" + level_, "mismatch" + level_,
                       "x" + level_};
      table.text_columns = 2;
    } else {
      // The ratio of the headline alone; a plain mean that says nothing has its mark.
      const bool clipped = headline_is_clipped();
      const std::string x = "x of it" + level_;
      table.columns = {"layer / arm",
                       "changing",
                       "median",
                       clipped ? "~ mean" : "mean",
                       clipped ? "clipped" : x,
                       clipped ? x : "clipped",
                       "mismatch" + level_,
                       "mismatch x" + level_};
    }
    if (has_due(data_)) table.columns.push_back("DUE");
    table.columns.push_back("p");
    for (const LayerRow& row : data_.layers) add_layer(table, row);
    return table;
  }

 private:
  bool headline_is_clipped() const { return data_.plain_mean_misleads; }

  // The terminal has no room for the interval of the ratio that is not the headline.
  bool shows_interval(bool clipped) const { return full_ || clipped == headline_is_clipped(); }
  std::string interval_of(bool clipped) const { return shows_interval(clipped) ? level_ : ""; }

  /// Of an event that a metric column counts; empty where the arm has none.
  static std::string event_text(const Arm& arm, const std::string& column) {
    const MetricSummary* metric = arm.report.network.metric(column);
    return metric ? percent(metric->rate, 2) : "";
  }

  // The network's mean by bits; null where the arm has none.
  static const Improvement* by_bits(const Arm& arm) {
    for (const NetworkValue& network : arm.networks) {
      if (network.by_bits && network.over == NetworkValue::Over::kLayers) {
        return &network.improvement;
      }
    }
    return nullptr;
  }

  const Improvement* improvement(const Arm& arm, const Improvement& improvement) const {
    return &arm == &data_.arms.front() ? nullptr : &improvement;
  }

  std::vector<std::string> quantity_columns(std::vector<std::string> first) const {
    const std::string level = full_ ? level_ : "";
    first.insert(first.end(), {"delta loss" + level, "x" + interval_of(false), "clipped" + level,
                               "x" + interval_of(true), "mismatch" + level, "x" + level_});
    return first;
  }

  // Behind a ratio of delta loss that holds a difference of scale.
  static std::string scale_mark(const Arm& arm) { return arm.other_scale ? " ^" : ""; }

  void add_quantities(ReportTable& table, const Arm& arm, std::vector<std::string> cells,
                      const Values& values, const Improvement* improvement) const {
    const auto add = [&](const std::string& value, const Ratio Improvement::* ratio,
                         bool interval) {
      cells.push_back(value);
      const std::string text = improvement ? ratio_text(improvement->*ratio) : "";
      cells.push_back(interval ? text : text.substr(0, text.find(" [")));
      const bool follows_scale = ratio == &Improvement::loss || ratio == &Improvement::clipped;
      if (improvement && follows_scale) cells.back() += scale_mark(arm);
    };
    add(full_ ? with_interval(values.loss) : quantity(values.loss.value), &Improvement::loss,
        shows_interval(false));
    // A ratio of plain means that says nothing.
    if (improvement && data_.plain_mean_misleads) cells.back() += " ~";
    add(full_ ? with_interval(values.clipped) : quantity(values.clipped.value),
        &Improvement::clipped, shows_interval(true));
    add(share_text(values.mismatch, full_), &Improvement::mismatch, true);
    table.rows.push_back(std::move(cells));
  }

  void add_layer(ReportTable& table, const LayerRow& row) const {
    if (!full_) table.rows.push_back({row.name});
    for (std::size_t i = 0; i < data_.arms.size(); ++i) {
      if (!row.arms[i]) continue;
      const LayerOfArm& layer = *row.arms[i];
      const bool shared = layer.pairing.matched;
      const auto loss_ratio = [&](const Ratio& of) {
        return shared  ? ratio_text(of) + scale_mark(data_.arms[i])
               : i > 0 ? std::string("no match")
                       : std::string();
      };
      const auto ratio = [&](const Ratio& of) {
        return shared ? ratio_text(of) : i > 0 ? std::string("no match") : std::string();
      };
      const GroupSummary& summary = layer.summary;
      const std::string changing = percent(summary.delta_loss.changes.rate, 1);
      const std::string mismatch = percent(summary.mismatch, 2);
      const Improvement& x = layer.improvement;
      const std::string& label = data_.arms[i].label;
      if (full_) {
        table.rows.push_back({row.name, label, std::to_string(summary.trials), changing,
                              quantity(summary.delta_loss.median),
                              quantity(layer.values.loss.value),
                              loss_ratio(x.loss) + (shared && headline_is_clipped() ? " ~" : ""),
                              quantity(layer.values.clipped.value), loss_ratio(x.clipped), mismatch,
                              ratio(x.mismatch)});
      } else {
        std::vector<std::string> ends = {quantity(layer.values.clipped.value),
                                         loss_ratio(headline(data_, x))};
        if (!headline_is_clipped()) std::swap(ends[0], ends[1]);
        table.rows.push_back({"  " + label, changing, quantity(summary.delta_loss.median),
                              quantity(layer.values.loss.value), ends[0], ends[1], mismatch,
                              ratio(x.mismatch)});
      }
      if (has_due(data_)) table.rows.back().push_back(percent(summary.due.rate, 2));
      table.rows.back().push_back(!shared                 ? ""
                                  : !layer.pairing.paired ? "i"
                                                          : p_text(layer.pairing.mismatches));
    }
  }

  template <typename Column>  // MetricSummary, MetricChange
  using Lists = std::vector<const std::vector<Column>*>;  // by arm; null: it has none

  ReportTable metrics_table(const char* title, std::size_t first_arm = 0) const {
    ReportTable table;
    table.title = title;
    table.columns = {"of", "metric"};
    table.text_columns = 2;
    for (std::size_t i = first_arm; i < data_.arms.size(); ++i) {
      table.columns.push_back(data_.arms[i].label + level_);
    }
    return table;
  }

  // A row for each column that any of them has.
  template <typename Column>
  static void add_metrics(ReportTable& table, const std::string& of, const Lists<Column>& lists) {
    std::set<std::string> seen;
    for (const auto* named : lists) {
      if (!named) continue;
      for (const Column& metric : *named) {
        if (!seen.insert(metric.column).second) continue;
        std::vector<std::string> row = {of, metric.column};
        for (const auto* list : lists) {
          std::string cell = "-";
          if (list) {
            const auto found = std::ranges::find(*list, metric.column, &Column::column);
            if (found != list->end()) cell = cell_text(*found);
          }
          row.push_back(std::move(cell));
        }
        table.rows.push_back(std::move(row));
      }
    }
  }

  static std::string with_sign(double value, std::string text) {
    return value > 0 ? "+" + std::move(text) : std::move(text);
  }

  static std::string cell_text(const MetricSummary& metric) { return metric_text(metric, 2); }
  static std::string cell_text(const MetricChange& change) {
    if (!change.event) {
      std::string text = with_sign(change.difference, quantity(change.difference));
      if (std::isnan(change.interval.low)) return text;
      return text + " [" + with_sign(change.interval.low, quantity(change.interval.low)) + ", " +
             with_sign(change.interval.high, quantity(change.interval.high)) + "]";
    }
    const std::string text = with_sign(change.difference, percent(change.difference, 2));
    if (!change.split) return text;
    return text + " (" + std::to_string(change.split->only_arm) + " : " +
           std::to_string(change.split->only_baseline) + ", p " + p_text(change.split) + ")";
  }

  const CompareData& data_;
  bool full_;
  std::string level_;
};

}  // namespace

std::vector<ReportTable> compare_tables(const CompareData& data, Detail detail) {
  const Tables tables(data, detail);
  std::vector<ReportTable> list = {tables.summary(),    tables.golden(),  tables.kept(),
                                   tables.last_layer(), tables.network(), tables.layers(),
                                   tables.metrics()};
  ReportTable changes = tables.metric_changes();
  if (!changes.rows.empty()) list.push_back(std::move(changes));
  if (detail == Detail::kFull) list.push_back(tables.metrics_by_layer());
  if (has_due(data)) list.insert(list.begin() + 3, tables.due());
  if (std::any_of(data.arms.begin(), data.arms.end(),
                  [](const Arm& arm) { return arm.report.facts.protection.has_value(); })) {
    list.insert(list.begin() + 3, tables.protections());
  }
  if (!data.equal_scale.empty()) list.insert(list.begin() + 1, tables.equal_scale());
  return list;
}

std::string headline_name(const CompareData& data) {
  return data.plain_mean_misleads ? "delta loss cut at " + quantity(data.clip) + " nats"
                                  : "mean delta loss";
}

const Ratio& headline(const CompareData& data, const Improvement& improvement) {
  return data.plain_mean_misleads ? improvement.clipped : improvement.loss;
}

const Estimate& headline(const CompareData& data, const Values& values) {
  return data.plain_mean_misleads ? values.clipped : values.loss;
}

std::string ratio_text(const Ratio& ratio) {
  const bool bounded = std::isfinite(ratio.bound) && ratio.bound > 0;
  if (ratio.both_zero) return "none in either";
  if (std::isnan(ratio.value)) return "-";
  if (std::isinf(ratio.value)) return bounded ? "> " + quantity(ratio.bound) : "none left";
  if (ratio.value == 0) return bounded ? "< " + quantity(ratio.bound) : "0";
  return quantity(ratio.value) + interval_text(ratio.interval) + (ratio.unreliable ? "*" : "");
}

std::string network_name(const NetworkValue& network) {
  return std::to_string(network.layers) + (network.by_bits ? " by bits" : " layers") +
         (network.over == NetworkValue::Over::kBeforeLast ? ", before the last"
          : network.over == NetworkValue::Over::kWithHead ? ", all"
                                                          : "");
}

std::string count_text(const std::optional<std::int64_t>& count) {
  if (!count) return "not recorded";
  const auto value = static_cast<double>(*count);
  if (value >= 1e9) return print("%.3f G", value / 1e9);
  if (value >= 1e6) return print("%.3f M", value / 1e6);
  return std::to_string(*count);
}

}  // namespace bitfall
