#include "protection_rows.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "report.h"
#include "report_number.h"
#include "report_table.h"
#include "report_text.h"
#include "store.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

struct ArmTrial {
  std::int32_t site = 0;
  std::int64_t fault = 0;
  std::uint64_t place = 0;  // of its fault
  std::int32_t golden_top1 = 0, faulty_top1 = 0;
  double faulty_loss = 0;
  bool mismatch = false;
  bool due = false;
  bool detected = false;

  /// right: the top-1 that is. With NaN among the logits none is, which `mismatch` knows where the
  /// answer without a fault is right, too.
  bool is_right(std::int32_t right) const {
    if (due) return false;
    return golden_top1 == right ? !mismatch : faulty_top1 == right && !std::isnan(faulty_loss);
  }
};

struct ArmData {
  ReportData data;
  std::map<std::int64_t, ArmTrial> trials;  // by number
};

ArmData arm_of(const fs::path& run, SummaryOptions options) {
  const auto store = Store::open_read_only(run);
  ArmData arm;
  options.estimate_means = false;
  const auto columns = store->description().metric_columns;
  const auto detected =
      std::find_if(columns.begin(), columns.end(),
                   [](const auto& column) { return column.name == "protect_detected"; }) -
      columns.begin();
  options.visit = [&](std::size_t, const TrialEffect& effect, const TrialResult& trial) {
    const auto column = static_cast<std::size_t>(detected);
    arm.trials[trial.trial] = {trial.site,
                               effect.fault,
                               place_of_fault(trial),
                               trial.golden_top1,
                               trial.faulty_top1,
                               trial.faulty_loss,
                               effect.mismatch,
                               is_due(trial.outcome),
                               column < trial.metrics.size() && trial.metrics[column] > 0};
  };
  arm.data = summarise(*store, options);
  return arm;
}

std::optional<Proportion> event(const ReportData& data, const std::string& column) {
  const MetricSummary* metric = data.network.metric(column);
  return metric ? std::optional(metric->rate) : std::nullopt;
}

ProtectionRow row_of(const ArmData& arm) {
  const RunFacts& facts = arm.data.facts;
  ProtectionRow row;
  row.name = facts.protection.value_or("");
  row.detail = facts.protection_detail.value_or("");
  row.cost = facts.protection_cost.value_or("");
  row.learned_from = facts.learned_from.value_or("");
  if (row.learned_from.ends_with(", " + facts.data_digest)) {
    row.learned_from += ", the images that are attacked";
  }
  row.accuracy = arm.data.golden_accuracy;
  row.nll = arm.data.golden_nll;
  row.mismatch = arm.data.network.mismatch;
  row.due = arm.data.network.due;
  row.clipped = arm.data.network.delta_loss.mean_clipped;
  row.detected = event(arm.data, "protect_detected");
  row.false_alarm = event(arm.data, "protect_false_alarm");
  return row;
}

bool same_campaign(const ReportData& a, const ReportData& b) {
  return a.planned == b.planned && a.facts.seed == b.facts.seed &&
         a.facts.data_digest == b.facts.data_digest && a.facts.model_sha256 == b.facts.model_sha256;
}

// Trials of one number and one fault, where nearly all are, as in `compare`. Where a protection's
// own registers can be hit, the numbers name other faults.
void pair(const ArmData& base, const ArmData& arm, ProtectionRow& row) {
  if (!same_campaign(base.data, arm.data)) return;
  std::int64_t both = 0, same = 0, fault = -1;
  bool shared = false;  // a fault by trials
  ClusterCount corrected, covered;
  for (const auto& [number, trial] : arm.trials) {
    const auto found = base.trials.find(number);
    if (found == base.trials.end()) continue;
    const ArmTrial& without = found->second;
    ++both;
    if (without.site != trial.site || without.place != trial.place) continue;
    ++same;
    shared |= without.fault == fault;
    fault = without.fault;
    const bool right = trial.is_right(without.golden_top1);
    row.caused += !without.mismatch && !without.due && trial.mismatch && !right;
    if (!without.mismatch) continue;
    row.prevented += right;
    corrected.add(fault, right);
    covered.add(fault, right || trial.due || trial.detected);
  }
  row.paired = same > 0 && static_cast<double>(same) >= kPairedShare * static_cast<double>(both);
  if (!row.paired) return;
  if (!shared) row.p = mcnemar_exact(row.prevented, row.caused);
  row.corrected = corrected.proportion(base.data.confidence);
  row.covered = covered.proportion(base.data.confidence);
}

}  // namespace

std::vector<ProtectionRow> protection_rows(const fs::path& run, const SummaryOptions& options) {
  std::error_code error;
  std::vector<fs::path> runs;
  for (fs::directory_iterator entry(run / "protected", error), end; !error && entry != end;
       entry.increment(error)) {
    if (holds_run(entry->path())) runs.push_back(entry->path());
  }
  if (runs.empty()) return {};
  std::sort(runs.begin(), runs.end());
  const ArmData base = arm_of(run, options);
  std::vector<ProtectionRow> rows = {row_of(base)};
  for (const fs::path& path : runs) {
    const ArmData arm = arm_of(path, options);
    rows.push_back(row_of(arm));
    pair(base, arm, rows.back());
  }
  return rows;
}

ReportTable protections_table(const std::vector<ProtectionRow>& rows,
                              const std::string& confidence) {
  ReportTable table;
  table.title = "Protections";
  table.note =
      "The same trials without and with each. Prevented: trials that mismatch without it and have "
      "the right answer with it, the network's own without a fault. Caused: those right without "
      "it, of which with it the fault makes a wrong answer. p: McNemar's exact test of these, "
      "where "
      "no trials share a fault. -: its trials have other faults, as where its own registers are "
      "hit.";
  const std::string level = " [" + confidence + "]";
  const bool due =
      std::ranges::any_of(rows, [](const ProtectionRow& row) { return row.due.events > 0; });
  table.columns = {"protection", "accuracy", "NLL", "mismatch" + level};
  if (due) {
    table.note += " DUE: trials that gave no answer; they are neither.";
    table.columns.push_back("DUE" + level);
  }
  table.columns.insert(table.columns.end(), {"clipped", "prevented", "caused", "p"});
  for (const ProtectionRow& row : rows) {
    std::vector<std::string> cells = {row.name.empty() ? "none" : row.name,
                                      percent(row.accuracy.rate, 2), quantity(row.nll.value),
                                      percent(row.mismatch, 2)};
    if (due) cells.push_back(percent(row.due, 2));
    cells.insert(cells.end(),
                 {quantity(row.clipped), row.paired ? std::to_string(row.prevented) : "-",
                  row.paired ? std::to_string(row.caused) : "-", row.p ? quantity(*row.p) : "-"});
    table.rows.push_back(std::move(cells));
  }
  return table;
}

ReportTable detection_table(const std::vector<ProtectionRow>& rows, const std::string& confidence) {
  ReportTable table;
  table.title = "Detection";
  table.note =
      "Detected, false alarm: share of the trials in which the protection noticed the fault, or "
      "doubts the image without one. Corrected, covered: of the trials that mismatch without it, "
      "the share whose answer is the right one again, and of those with that or noticed, be it by "
      "a crash.";
  const std::string level = " [" + confidence + "]";
  table.columns = {"protection", "detected" + level, "false alarm" + level, "corrected" + level,
                   "covered" + level};
  for (const ProtectionRow& row : rows) {
    if (row.name.empty()) continue;
    const auto rate = [](const std::optional<Proportion>& share) {
      return share ? percent(*share, 2) : "-";
    };
    table.rows.push_back({row.name, rate(row.detected), rate(row.false_alarm),
                          row.paired ? percent(row.corrected, 2) : "-",
                          row.paired ? percent(row.covered, 2) : "-"});
  }
  return table;
}

std::string protections_text(const std::vector<ProtectionRow>& rows, double confidence) {
  if (rows.empty()) return "";
  const std::string level = confidence_text(confidence);
  std::string text = table_text(protections_table(rows, level), 120) + "\n" +
                     table_text(detection_table(rows, level), 120) + "\n";
  for (const ProtectionRow& row : rows) {
    if (row.name.empty()) continue;
    text += row.name + ": " + row.detail + "\n  costs " + row.cost + "\n";
    if (!row.learned_from.empty()) text += "  learned from " + row.learned_from + "\n";
  }
  return text;
}

}  // namespace bitfall
