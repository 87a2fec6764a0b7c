// What a session tells of itself, for a run to keep and to hold to.

#include <algorithm>
#include <map>

#include "error.h"
#include "model_costs.h"
#include "numbers.h"
#include "session.h"

namespace bitfall {

bool Session::formats_learn() const {
  return std::any_of(formats_.begin(), formats_.end(),
                     [](const auto& format) { return format != nullptr && format->calibrated(); });
}

// Empty where no format learns anything, and hit values are clamped as always.
std::string Session::calibration_text() const {
  const bool rounds = campaign_.calibration.round != BoundRounding::kNone;
  if (!formats_learn() && !calibration_ && !rounds) return "";
  const Calibration& calibration = campaign_.calibration;
  const std::int64_t images = calibration.images == 0
                                  ? dataset_->size()
                                  : std::min<std::int64_t>(calibration.images, dataset_->size());
  const std::string rule = calibration.rule == CalibrationRule::kPercentile
                               ? "percentile " + exact_text(calibration.percentile)
                               : "absmax";
  std::string text = rule + " over ";
  if (calibration_) {
    text += std::to_string(calibration_->size()) + " other images, " + calibration_->digest();
  } else {
    text += std::to_string(images) + " images";
  }
  return text + (rounds ? ", bounds rounded to FP16" : "");
}

std::vector<PluginFact> Session::plugins_in_use() const {
  std::vector<PluginFact> plugins;
  for (const std::size_t index : host_->plugins_in_use()) {
    const PluginDescription& plugin = host_->plugins()[index];
    plugins.push_back({plugin.name, plugin.version, plugin.sha256, plugin.sources});
  }
  return plugins;
}

// What was loaded, by name.
void Session::tell_provenance() {
  facts_.provenance.emplace();
  for (std::size_t i = 0; i < host_->plugins().size(); ++i) {
    const PluginDescription& plugin = host_->plugins()[i];
    if (plugin.state != PluginState::kLoaded) continue;
    facts_.provenance->push_back({plugin.name, plugin.version, plugin.sha256, plugin.licence,
                                  plugin.compiler + ", " + plugin.standard_library,
                                  comes_with_the_program(plugin.path), host_->uses_of(i)});
  }
  std::sort(facts_.provenance->begin(), facts_.provenance->end());
}

// Ids as the plugins have them: with the group in front, however the file names them.
void Session::name_components_in_full() {
  const auto name = [&](ComponentKind kind, PluginChoice& choice) {
    if (const auto* component = host_->find(kind, choice.id)) choice.id = component->id;
  };
  for (ProtectConfig& entry : campaign_.protect) {
    name(ComponentKind::kProtection, entry.protection);
  }
  name(ComponentKind::kFormat, campaign_.format);
  for (FormatsConfig& entry : campaign_.formats) name(ComponentKind::kFormat, entry.format);
  for (FaultsConfig& entry : campaign_.faults) name(ComponentKind::kErrorModel, entry.error_model);
  for (PluginChoice& metric : campaign_.metrics) name(ComponentKind::kMetric, metric);
}

void Session::keep_plugins(const std::filesystem::path& run, bool beside) const {
  bitfall::keep_plugins(*host_, facts_.plugins, run, beside);
}

RunDescription Session::describe() const {
  RunDescription run;
  run.facts = facts_;
  if (arm_) arm_->tell(run.facts);
  const ModelCosts costs = model_costs(*model_);
  run.facts.parameters = costs.parameters;
  run.facts.operations = costs.operations;
  const Coverage covered = coverage(*model_);
  if (covered.parameters > 0) {
    run.facts.covered_parameters =
        static_cast<double>(covered.covered_parameters) / static_cast<double>(covered.parameters);
  }
  if (covered.operations > 0) {
    run.facts.covered_operations =
        static_cast<double>(covered.covered_operations) / static_cast<double>(covered.operations);
  }
  run.facts.not_covered = missed_text(covered);
  run.campaign_text = campaign_.text;
  run.campaign_file = campaign_.file;
  run.fault_list_text = fault_list_text_;
  run.classes = dataset_->classes();
  for (std::int32_t image = 0; image < dataset_->size(); ++image) {
    run.image_names.push_back(dataset_->name(image));
    run.labels.push_back(dataset_->label(image));
  }
  run.sites = model_->sites();
  run.profiles = engine_->profiles();
  run.strata = plan_->strata();
  run.metric_columns = columns_;
  for (std::size_t i = 0; i < formats_.size(); ++i) {
    const PluginChoice& choice = i == 0 ? campaign_.format : campaign_.formats[i - 1].format;
    StoredFormat& stored = run.formats.emplace_back();
    stored.id = choice.id;
    stored.options = options_text(component_fact(choice));
    for (const Register& kind : formats_[i]->registers()) {
      stored.registers.push_back(
          {kind.name, kind.bits, {kind.bit_classes.begin(), kind.bit_classes.end()}});
    }
  }
  run.site_formats = format_of_;
  if (arm_) describe_guarded(run);
  run.trials = plan_->size();
  return run;
}

// Sites that are stored in a format with the registers of a protection, too.
void Session::describe_guarded(RunDescription& run) const {
  std::map<std::int32_t, std::int32_t> guarded;  // by format: with those registers
  for (const std::int32_t site : arm_->guarded_sites()) {
    if (!std::binary_search(stored_.begin(), stored_.end(), site)) continue;
    const auto place = static_cast<std::size_t>(site);
    const auto registers = format(site).registers();
    std::int32_t& format = run.site_formats[place];
    if (registers.size() == bare_[place]->registers().size()) continue;
    const auto next = static_cast<std::int32_t>(run.formats.size());
    const auto [known, fresh] = guarded.try_emplace(format, next);
    if (fresh) {
      StoredFormat more = run.formats[static_cast<std::size_t>(format)];
      const Register& bound = registers.back();
      more.registers.push_back(
          {bound.name, bound.bits, {bound.bit_classes.begin(), bound.bit_classes.end()}});
      run.formats.push_back(std::move(more));
    }
    format = known->second;
  }
}

void check_same_facts(const RunFacts& stored, const RunFacts& now) {
  std::string differing;
  for (const std::string& difference : differences(stored, now)) differing += "\n  " + difference;
  if (differing.empty()) return;
  if (stored.cpu != now.cpu && (stored.cpu + now.cpu).find("MKL_CBWR") == std::string::npos) {
    differing += "\n  machines of both kinds can share a campaign with [run] cpu = \"avx2\"";
  }
  throw Error(ExitCode::kInput, "the run cannot go on with the same results, since this differs:" +
                                    differing + "\n  restore it, or start a new run");
}

}  // namespace bitfall
