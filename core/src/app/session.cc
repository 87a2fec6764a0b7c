#include "session.h"

#include <algorithm>
#include <set>
#include <span>

#include "bitfall/extensions/edit_condition.h"
#include "bitfall/extensions/memory_code.h"
#include "error.h"
#include "fault_free.h"
#include "gpu_facts.h"
#include "log.h"
#include "model_card.h"
#include "plain_values.h"
#include "plan_pack.h"
#include "preprocess.h"
#include "progress.h"
#include "recipe.h"
#include "sandbox.h"
#include "sha256.h"
#include "stop.h"
#include "text_file.h"
#include "timer.h"
#include "torch_runtime.h"
#include "words.h"

namespace bitfall {
namespace {

// What the file and the fault list say.
RunFacts facts_of(const Campaign& campaign,
                  const std::optional<std::filesystem::path>& fault_list) {
  RunFacts facts;
  facts.bitfall_version = BITFALL_VERSION;
  facts.campaign_file = std::filesystem::absolute(campaign.file).string();
  facts.draws = 2;
  facts.seed = campaign.seed;
  facts.confidence = campaign.confidence;
  facts.clip = campaign.clip;
  facts.hit_value = campaign.hit_value;
  facts.suffix = campaign.suffix;
  facts.device = campaign.device;
  facts.model_path = campaign.model.string();
  facts.data_path = campaign.data.path.string();
  facts.format = campaign.format.id;
  facts.format_options = options_text(component_fact(campaign.format));
  for (const FormatsConfig& entry : campaign.formats) {
    facts.site_formats.push_back(
        {component_fact(entry.format), entry.target, entry.operations, entry.sites});
  }
  if (fault_list) {
    facts.fault_list = fault_list->string();
    return facts;
  }
  for (const FaultsConfig& entry : campaign.faults) {
    facts.error_models.push_back(
        {component_fact(entry.error_model), entry.target, entry.permanent});
  }
  return facts;
}

/// How long a plugin may take, of [run] plugin_limit.
WatchLimits watch_limits(const Campaign& campaign) {
  WatchLimits limits;
  limits.limit_s = campaign.plugin_limit;
  limits.warn_s = std::min(limits.warn_s, limits.limit_s / 2);
  return limits;
}

}  // namespace

Session::Session(const std::filesystem::path& file, const std::string& text,
                 const std::optional<std::filesystem::path>& fault_list,
                 const std::optional<StoredRun>& stored,
                 const std::vector<std::filesystem::path>& plugins, const ArmRequest& arm,
                 const std::vector<SiteName>& looked_at)
    : fault_list_(fault_list), looked_at_(looked_at) {
  const auto start = Clock::now();
  Diagnostics diagnostics(file.string(), text);
  campaign_ = parse_campaign(file, text, diagnostics);
  watch_ = std::make_unique<PluginWatch>(stop_requested, watch_limits(campaign_));
  if (stored && !stored->pack.empty()) point_into(stored->pack, campaign_);
  campaign_.plugins.insert(campaign_.plugins.end(), plugins.begin(), plugins.end());
  if (campaign_.cpu == CpuInstructions::kAvx2) TorchRuntime::get().keep_to_avx2();
  names_shape_ = campaign_.batch > 0 && campaign_.threads > 0;
  if (stored) {
    campaign_.batch = stored->shape.batch;
    campaign_.threads = stored->shape.threads;
    campaign_.workers = stored->shape.workers;
    fault_list_text_ = stored->fault_list;
    if (!stored->model.empty()) campaign_.model = stored->model;
  }
  open_plugins(stored, diagnostics);
  if (stored && facts_.sampling) facts_.sampling->rounds = stored->rounds;
  open_protections(arm, diagnostics);
  facts_.plugins = plugins_in_use();
  tell_provenance();
  diagnostics.throw_if_any();
  check_metric_columns(columns_);
  open_data();
  open_model();
  limit_memory_of_plugins();
  keep_images(stored);
  select(diagnostics);
  if (arm_) arm_->set_answer_state(arm.answer_state);
  opening_s_ = seconds_since(start);
}

Session::~Session() = default;

Session::Session(const Session& of, const ArmRequest& arm)
    : campaign_(of.campaign_),
      facts_(of.facts_),
      names_shape_(of.names_shape_),
      fault_list_(of.fault_list_),
      looked_at_(of.looked_at_),
      fault_list_text_(of.fault_list_text_),
      host_(of.host_),
      undivided_(of.undivided_),
      dataset_(of.dataset_),
      calibration_(of.calibration_),
      model_(of.model_) {
  Diagnostics diagnostics(campaign_.file.string(), campaign_.text);
  make_components(diagnostics);
  open_protections(arm, diagnostics);
  diagnostics.throw_if_any();
  select(diagnostics);
  if (arm_) arm_->set_answer_state(arm.answer_state);
}

std::unique_ptr<Session> Session::fresh() const {
  ArmRequest arm;
  if (arm_) arm = {arm_->name(), arm_->answer_state()};
  std::unique_ptr<Session> session(new Session(*this, arm));
  session->use_profiles(engine_->profiles());
  return session;
}

std::unique_ptr<Session> Session::protected_by(const std::string& name) {
  std::unique_ptr<Session> session(new Session(*this, ArmRequest{name, ""}));
  session->engine_->begin_beside(*engine_);
  return session;
}

std::vector<std::filesystem::path> Session::files() const {
  std::vector<std::filesystem::path> files{campaign_.model, campaign_.file};
  for (const DataConfig* data : data_of(campaign_)) {
    for (const auto& path : {data->path, data->list, data->labels, data->classes}) {
      if (!path.empty()) files.push_back(path);
    }
  }
  for (const auto& library : campaign_.model_libraries) files.push_back(library);
  for (const auto& [component, file] : host_->files_in_use()) files.emplace_back(file.path);
  for (const std::size_t index : host_->plugins_in_use()) {
    files.emplace_back(host_->plugins()[index].path);
  }
  return files;
}

bool Session::uses_foreign_plugins() const { return !foreign_uses().empty(); }

std::vector<std::filesystem::path> Session::foreign_plugins() const {
  std::vector<std::filesystem::path> files;
  for (const std::size_t index : host_->plugins_in_use()) {
    const std::filesystem::path& file = host_->plugins()[index].path;
    if (!comes_with_the_program(file)) files.push_back(file);
  }
  return files;
}

std::vector<std::string> Session::foreign_uses() const {
  std::vector<std::string> all;
  for (const std::size_t index : host_->plugins_in_use()) {
    if (comes_with_the_program(host_->plugins()[index].path)) continue;
    const std::vector<std::string> uses = host_->uses_of(index);
    all.insert(all.end(), uses.begin(), uses.end());
  }
  return all;
}

std::string Session::error_model_name(std::int32_t entry) const {
  const auto index = static_cast<std::size_t>(std::max(entry, 0));
  if (fault_list_ || index >= campaign_.faults.size()) return "the fault list";
  return "error model '" + campaign_.faults[index].error_model.id + "'";
}

void Session::open_plugins(const std::optional<StoredRun>& stored, Diagnostics& diagnostics) {
  if (stored) {
    PluginPlaces places = stored->plugin_places;
    places.named = campaign_.plugins;
    load_wanted(*host_, stored->plugins, places);
  } else {
    load_plugins(*host_, campaign_.plugins);
  }
  name_components_in_full();
  facts_ = facts_of(campaign_, fault_list_);
  make_components(diagnostics);
  std::vector<std::string> files;
  for (const auto& [component, file] : host_->files_in_use()) {
    files.push_back(component + " " + file.option + " " + sha256_file(file.path));
  }
  if (!files.empty()) facts_.option_files = joined(files, "; ");
}

void Session::make_components(Diagnostics& diagnostics) {
  formats_.push_back(host_->make_format(campaign_.format, diagnostics));
  for (const FormatsConfig& entry : campaign_.formats) {
    formats_.push_back(host_->make_format(entry.format, diagnostics));
  }
  divide_faults(diagnostics);
  for (const FaultsConfig& entry : campaign_.faults) {
    error_models_.push_back(host_->make_error_model(entry.error_model, diagnostics));
  }
  std::set<std::string> names;
  for (const PluginChoice& choice : campaign_.metrics) {
    auto metric = host_->make_metric(choice, diagnostics);
    if (!metric) continue;
    for (const MetricColumn& column : metric->columns()) {
      if (!names.insert(column.name).second) {
        diagnostics.add(choice.where,
                        std::string("metric column '") + column.name + "' is given twice",
                        "name each metric once, or with options by which its columns differ");
      }
      columns_.push_back({column.name, choice.id, column.kind, column.unit});
    }
    measurer_.add(std::move(metric));
  }
  add_condition_columns(diagnostics);
  check_goal(names, diagnostics);
  memory_code_ = std::any_of(formats_.begin(), formats_.end(), [](const auto& format) {
    return format != nullptr && format->extension(kMemoryCode) != nullptr;
  });
  if (!memory_code_) return;
  for (const GuardColumn& column : kMemoryColumns) {
    columns_.push_back({column.name, "memory_code", ColumnKind::kEvent, "1"});
  }
}

// Of error models that ask for the values that their edits find.
void Session::add_condition_columns(Diagnostics& diagnostics) {
  if (fault_list_) return;  // its edits are drawn
  for (std::size_t i = 0; i < error_models_.size(); ++i) {
    const auto& model = error_models_[i];
    if (!model || model->extension(kEditCondition) == nullptr) continue;
    conditions_ = true;
    const FaultsConfig& entry = campaign_.faults[i];
    const std::string name =
        "error model '" + entry.error_model.id + "' asks for the values that it hits";
    if (entry.permanent && entry.target != Target::kWeight) {
      diagnostics.add(entry.where,
                      name + ", and those of one permanent fault differ from image to image",
                      "leave out permanent, or hit weights");
    }
    if (!campaign_.protect.empty()) {
      diagnostics.add(
          campaign_.protect.front().where,
          name + ", which a protection may change, so that the runs would meet other faults",
          "run without [[protect]], export the trials (bitfall export RUN --csv) and give "
          "them to a campaign with it by --faults");
    }
  }
  if (!conditions_) return;
  const auto& [draws, missed] = kConditionColumns;
  columns_.push_back({draws.name, "condition", ColumnKind::kQuantity, "1"});
  columns_.push_back({missed.name, "condition", ColumnKind::kEvent, "1"});
}

std::vector<ProtectionEntry> Session::entries_of(const std::string& arm,
                                                 Diagnostics& diagnostics) const {
  std::vector<ProtectionEntry> entries;
  for (const ProtectConfig& entry : campaign_.protect) {
    if (entry.name != arm) continue;
    auto protection = host_->make_protection(entry.protection, diagnostics);
    if (protection) entries.push_back({std::move(protection), entry});
  }
  return entries;
}

// All of the file's, so that an error of any is told before the first run.
void Session::open_protections(const ArmRequest& arm, Diagnostics& diagnostics) {
  for (const std::string& name : campaign_.protected_runs()) {
    std::vector<ProtectionEntry> entries = entries_of(name, diagnostics);
    if (entries.empty() || name != arm.name) continue;
    arm_ = std::make_unique<ProtectedArm>(std::move(entries), campaign_.faults);
    facts_.protection = name;
    for (const GuardColumn& column : kGuardColumns) {
      columns_.push_back({column.name, "protection", ColumnKind::kEvent, "1"});
    }
  }
  if (!arm.name.empty() && !arm_ && diagnostics.empty()) {
    throw Error(ExitCode::kInput,
                campaign_.file.string() + ": has no [[protect]] entry '" + arm.name + "'");
  }
}

// What a protected run would stumble over when the run without is finished: sites that there are
// none of, images to learn from that are missing.
void Session::check_protections() const {
  Diagnostics diagnostics(campaign_.file.string(), campaign_.text);
  bool learns = false;
  for (const std::string& name : campaign_.protected_runs()) {
    std::vector<ProtectionEntry> entries = entries_of(name, diagnostics);
    if (entries.empty()) continue;
    const SourceRange where = entries.front().config.where;
    ProtectedArm arm(std::move(entries), campaign_.faults);
    std::vector<const NumberFormat*> formats = guardable_formats();
    arm.choose_sites(*model_, formats, diagnostics);
    if (!arm.learns()) continue;
    learns = true;
    if (campaign_.learn.path.empty()) {
      diagnostics.add(where, "protection '" + name + "' learns from images, and none are named",
                      "give [learn] path, images of the training set, not those that are attacked");
    }
  }
  diagnostics.throw_if_any();
  if (!learns && !campaign_.learn.path.empty()) {
    log_warning("[learn]: no [[protect]] entry learns from images; these are not looked at");
  }
  if (!learns) return;
  const Dataset images = open_learned(images_to_learn());
  std::error_code ignored;
  if (std::filesystem::equivalent(campaign_.learn.path, campaign_.data.path, ignored) &&
      images.digest() == dataset_->digest()) {
    log_warning(
        "[learn]: these are the images that are attacked, on which what was learned from them "
        "shows fewer false alarms than on others; name images of the training set");
  }
}

DataConfig Session::images_to_learn() const {
  DataConfig learn = campaign_.learn;
  learn.preprocess = campaign_.data.preprocess;
  return learn;
}

void Session::open_data() {
  follow_card(campaign_.data, read_model_card(campaign_.model), campaign_.model);
  const auto interpolation = interpolation_of(campaign_.data.preprocess);
  if (interpolation && *interpolation != Interpolation::kBilinear) {
    facts_.interpolation = kInterpolationNames[static_cast<std::size_t>(*interpolation)];
  }
  dataset_ = std::make_shared<Dataset>(Dataset::open(campaign_.data));
  for (const std::string& skipped : dataset_->skipped()) log_warning("left out: " + skipped);
  campaign_.batch = std::min<std::int64_t>(campaign_.batch, dataset_->size());
  facts_.data_digest = dataset_->digest();
  facts_.images = dataset_->size();
  facts_.classes = static_cast<std::int64_t>(dataset_->classes().size());
  open_calibration();
  facts_.calibration = calibration_text();
}

// [calibration] path.
void Session::open_calibration() {
  if (campaign_.calibrate.path.empty()) return;
  if (!formats_learn() && campaign_.hit_value == HitValue::kRaw) {
    log_warning(campaign_.file.string() +
                ": [calibration] names images, but no format learns a scale and hit values are "
                "raw; they serve error models that need golden ranges alone");
  }
  campaign_.calibrate.preprocess = campaign_.data.preprocess;
  try {
    calibration_ = std::make_shared<Dataset>(Dataset::open(campaign_.calibrate));
    if (calibration_->shape() != dataset_->shape()) {
      throw Error(ExitCode::kInput, campaign_.calibrate.path.string() +
                                        ": its images have another size than those of [data]; set "
                                        "preprocess.resize and crop, which hold for both");
    }
  } catch (const Error& error) {
    throw Error(error.code(), "[calibration]: " + std::string(error.what()));
  }
}

// Leaves the images that the campaign is on: of a stored run those that it had.
void Session::keep_images(const std::optional<StoredRun>& stored) {
  if (campaign_.data.only == OnlyImages::kAll) return;
  const std::int32_t all = dataset_->size();
  std::vector<std::int32_t> kept;
  if (stored && !stored->images.empty()) {
    for (const std::string& name : stored->images) {
      if (const std::int32_t image = dataset_->find(name); image >= 0) kept.push_back(image);
    }
  } else {
    Progress progress("images without a fault", all, 0);
    const auto right = right_images(*model_, *dataset_, stop_requested,
                                    [&](std::int64_t images) { progress.update(images); });
    progress.finish();
    if (!right) throw Error(ExitCode::kInterrupted, "stopped before anything was run");
    kept = *right;
  }
  if (kept.empty()) {
    throw Error(ExitCode::kInput, campaign_.model.string() + ": gets none of the " +
                                      std::to_string(all) +
                                      " images right, so [data] only = \"correct\" leaves none");
  }
  dataset_->keep(kept);
  log_info("images kept: " + std::to_string(kept.size()) + " of " + std::to_string(all) +
           ", which the network gets right without a fault");
  facts_.only_images = "correct, " + std::to_string(kept.size()) + " of " + std::to_string(all);
  facts_.data_digest = dataset_->digest();
  facts_.images = dataset_->size();
  facts_.calibration = calibration_text();
}

// The first images, which the network is proven on.
std::vector<float> Session::first_images() const {
  constexpr std::int32_t kMost = 64;  // two batches of the usual size
  const auto [channels, height, width] = dataset_->shape();
  const auto size = static_cast<std::size_t>(channels * height * width);
  const std::int32_t wanted =
      std::max(kMost, static_cast<std::int32_t>(2 * std::min<std::int64_t>(campaign_.batch, 1024)));
  const std::int32_t count = std::min(wanted, dataset_->size());
  std::vector<float> values(static_cast<std::size_t>(count) * size);
  for (std::int32_t i = 0; i < count; ++i) {
    dataset_->load(i, std::span(values).subspan(static_cast<std::size_t>(i) * size, size));
  }
  return values;
}

ModelOptions Session::model_options(const std::vector<float>& images) const {
  ModelOptions options;
  options.input = dataset_->shape();
  options.batch = campaign_.batch;
  options.device = campaign_.device;
  options.images = images;
  options.answer.output = campaign_.model_output;
  const auto classes = static_cast<std::int64_t>(dataset_->classes().size());
  const bool numbers = !campaign_.data.labels.empty() && campaign_.data.classes.empty();
  (numbers ? options.answer.labels : options.answer.classes) = classes;
  return options;
}

// Chooses what is left to choose, and opens the network.
void Session::tune_and_open(const Tuning& given, const std::vector<float>& images) {
  const Tuning chosen =
      tune(given, campaign_.model, dataset_->shape(), campaign_.device, dataset_->size(), images);
  campaign_.batch = chosen.batch;
  campaign_.threads = chosen.threads;
  campaign_.workers = chosen.workers;
  if (!chosen.reason.empty()) {
    log_info("[run] batch = " + std::to_string(chosen.batch) +
             ", threads = " + std::to_string(chosen.threads) +
             ", workers = " + std::to_string(chosen.workers) + " (" + chosen.reason + ")");
  }
  TorchRuntime::get().set_threads(campaign_.threads);
  model_ = std::make_shared<Model>(campaign_.model, model_options(images));
}

// Also where it runs on one batch alone, as a trace may, or must not share a pass among images.
void Session::open_network(const std::vector<float>& images) {
  if (campaign_.device != "cpu") set_cuda_arithmetic(campaign_.tf32, true);
  const Tuning given{campaign_.batch, campaign_.threads, campaign_.workers, ""};
  try {
    tune_and_open(given, images);
  } catch (const Error& error) {
    if (error.code() != ExitCode::kInput) throw;
    ModelOptions options = model_options(images);
    options.batch = std::max<std::int64_t>(given.batch, 1);
    options.images.clear();
    const auto fixed = find_fixed_batch(campaign_.model, options);
    if (!fixed || *fixed == given.batch) throw;
    const std::string holds = "its trace holds a batch of " + std::to_string(*fixed);
    if (given.batch > 0 || *fixed > dataset_->size()) {
      throw Error(ExitCode::kInput, std::string(error.what()) + "\n  " + holds +
                                        ": set [run] batch = " + std::to_string(*fixed) +
                                        ", or export it with a batch of any size");
    }
    log_info("[run] batch = " + std::to_string(*fixed) + ": " + holds);
    tune_and_open({*fixed, given.threads, given.workers, ""}, images);
  }
  if (model_->unfit().empty() || given.batch > 0 || campaign_.batch == 1) return;
  const std::string reason = model_->unfit();
  tune_and_open({1, given.threads, given.workers, ""}, images);
  if (model_->unfit().empty()) log_info("[run] batch = 1: " + reason);
}

// Which of several results is the answer, and whether it is of the kind that it is taken for.
void Session::look_at_answer() {
  const AnswerTaken& answer = model_->answer();
  facts_.output = answer.name;
  facts_.answer = campaign_.answer;
  if (answer.results.size() > 1) {
    log_info("the answer is \"" + answer.name + "\" of " + joined(answer.results, ", "));
  }
  if (model_->answers_probabilities() && campaign_.answer == AnswerKind::kLogits) {
    log_warning(campaign_.model.string() +
                ": its answers look like probabilities, yet losses are taken of them as of logits; "
                "set [model] answer = \"probabilities\", or export the network without its last "
                "softmax");
  }
}

// A plugin that takes without end is told that there is no more, and has a name then; the system
// would end any process for it. Memory of a GPU's driver looks like one's own, so not there.
void Session::limit_memory_of_plugins() const {
  if (!uses_foreign_plugins() || campaign_.device != "cpu") return;
  std::optional<std::int64_t> most = memory_for_plugins();
  if (campaign_.plugin_memory > 0) most = campaign_.plugin_memory << 20;
  if (most) limit_memory(*most);
}

void Session::open_model() {
  facts_.model_sha256 = sha256_file(campaign_.model);
  for (const auto& library : campaign_.model_libraries) TorchRuntime::get().load_library(library);
  open_network(first_images());
  if (!model_->unfit().empty()) {
    throw Error(ExitCode::kInput, campaign_.model.string() + ": " + model_->unfit());
  }
  look_at_answer();
  TorchRuntime& torch = TorchRuntime::get();
  const ModelCard card = read_model_card(campaign_.model);
  check_classes(*dataset_, campaign_.data, campaign_.model, model_->classes(), card.classes);
  if (card.head) {
    facts_.head_module = card.head->module;
    const PluginOfHead& made_by = card.head->plugin;
    if (!made_by.name.empty()) {
      facts_.provenance->push_back({made_by.name,
                                    made_by.version,
                                    made_by.sha256,
                                    "",
                                    "",
                                    false,
                                    {"the model's head, as it was attached"}});
    }
  }
  facts_.temperature = card.temperature;
  facts_.rescaled_from = card.rescaled_from;
  // All of it was read from one file, or else the hash is not of what runs.
  if (sha256_file(campaign_.model) != facts_.model_sha256) {
    throw Error(ExitCode::kInput, campaign_.model.string() +
                                      ": was replaced while it was being opened; run it again");
  }
  facts_.torch_version = torch.version();
  facts_.cpu = torch.cpu();
  if (const auto gpu = gpu_facts(campaign_.device)) {
    const auto known = [](const std::string& text) {
      return text.empty() ? std::nullopt : std::optional(text);
    };
    facts_.gpu = known(gpu->name);
    facts_.compute_capability = known(gpu->compute_capability);
    facts_.cuda = known(gpu->cuda);
    facts_.cudnn = known(gpu->cudnn);
    facts_.driver = known(gpu->driver);
    facts_.tf32 = campaign_.tf32 ? "on" : "off";
  }
  facts_.threads = torch.threads();
  facts_.batch = campaign_.batch;
  facts_.workers = campaign_.workers;
}

std::set<std::int32_t> Session::choose_formats(Diagnostics& diagnostics) {
  const auto& sites = model_->sites();
  format_of_.assign(sites.size(), 0);
  std::set<std::int32_t> named;
  for (std::size_t e = 0; e < campaign_.formats.size(); ++e) {
    for (const std::int32_t site : select_sites(sites, campaign_.formats[e], diagnostics)) {
      format_of_[static_cast<std::size_t>(site)] = static_cast<std::int32_t>(e) + 1;
      named.insert(site);
    }
  }
  std::vector<const NumberFormat*> by_site;
  for (const std::int32_t format : format_of_) {
    by_site.push_back(formats_[static_cast<std::size_t>(format)].get());
  }
  bare_ = by_site;
  site_formats_.emplace(std::move(by_site));
  return named;
}

// Without a guard: where the campaign stores no values, they stay as they are under one, so that
// the runs with and without differ by what guards do alone.
std::vector<const NumberFormat*> Session::guardable_formats() const {
  static const PlainValues plain;
  std::vector<const NumberFormat*> formats(bare_.size(), &plain);
  for (const std::int32_t site : stored_) {
    formats[static_cast<std::size_t>(site)] = bare_[static_cast<std::size_t>(site)];
  }
  return formats;
}

void Session::guard_sites(Diagnostics& diagnostics) {
  std::vector<const NumberFormat*> by_site = guardable_formats();
  const std::vector<const NumberFormat*> unguarded = by_site;
  arm_->choose_sites(*model_, by_site, diagnostics);
  for (std::size_t site = 0; site < by_site.size(); ++site) {
    if (by_site[site] == unguarded[site]) by_site[site] = bare_[site];
  }
  site_formats_.emplace(std::move(by_site));
}

// Tells every format that cannot hold one of its sites, with the first such site.
void Session::check_formats(const std::vector<std::int32_t>& emulated,
                            Diagnostics& diagnostics) const {
  std::vector<bool> told(formats_.size(), false);
  for (const std::int32_t site : emulated) {
    const Site& place = model_->sites()[static_cast<std::size_t>(site)];
    const auto format = static_cast<std::size_t>(format_of_[static_cast<std::size_t>(site)]);
    if (told[format]) continue;
    const char* of_shape = formats_[format]->refusal(place.shape);
    const std::string refusal = of_shape ? of_shape : misfit(*formats_[format], place.type);
    if (refusal.empty()) continue;
    told[format] = true;
    std::string shape;
    for (const std::int64_t size : place.shape) {
      shape += (shape.empty() ? "[" : ", ") + std::to_string(size);
    }
    const PluginChoice& choice =
        format == 0 ? campaign_.format : campaign_.formats[format - 1].format;
    const std::string native = place.type == ValueType::kFloat16 ? "fp16" : "bf16";
    diagnostics.add(choice.where,
                    "format '" + choice.id + "' cannot hold " + to_string(place.target) +
                        " site '" + place.name + "' of shape " + shape + "]: " + refusal,
                    place.type == ValueType::kFloat32 || of_shape
                        ? "choose another format or option for it in a [[formats]] entry"
                        : "choose one that it holds, as " + native +
                              " (by [format] id, or by a "
                              "[[formats]] entry for it), or save the network as model.float()");
  }
}

std::string Session::format_name(std::int32_t site) const {
  const auto format = static_cast<std::size_t>(format_of_[static_cast<std::size_t>(site)]);
  const PluginChoice& choice =
      format == 0 ? campaign_.format : campaign_.formats[format - 1].format;
  return to_string(component_fact(choice));
}

void Session::select(Diagnostics& diagnostics) {
  const auto& sites = model_->sites();
  std::set<std::int32_t> emulated = choose_formats(diagnostics);
  std::vector<std::vector<std::int32_t>> entries;
  // A list names its own sites: the entry that stands in for missing [[faults]] may then match
  // nothing.
  Diagnostics ignored("", "");
  Diagnostics& problems = fault_list_ && !campaign_.faults_given ? ignored : diagnostics;
  for (const FaultsConfig& entry : campaign_.faults) {
    const bool again = entry.part && !entries.empty();  // the parts of one entry
    entries.push_back(again ? entries.back() : select_sites(sites, entry, problems));
    emulated.insert(entries.back().begin(), entries.back().end());
  }
  diagnostics.throw_if_any();
  if (!fault_list_) divide_by_values(entries, diagnostics);
  for (const SiteName& site : looked_at_) {
    const std::int32_t index = find_site(sites, site.target, site.name);
    // Whoever asked for a refused one is told so once the session is open.
    if (index >= 0 && sites[static_cast<std::size_t>(index)].refusal.empty()) {
      emulated.insert(index);
    }
  }
  bool needs_ranges = false;
  if (fault_list_) {
    if (fault_list_text_.empty()) fault_list_text_ = read_text(*fault_list_);
    auto faults = read_fault_list(*fault_list_, fault_list_text_, sites, *dataset_, *site_formats_);
    for (const ListedFault& fault : faults) emulated.insert(fault.site);
    plan_ = std::make_unique<Plan>(Plan::from_list(std::move(faults), sites));
  } else {
    for (const auto& model : error_models_) needs_ranges |= model->needs_golden_range();
    entries_ = std::move(entries);
  }
  stored_.assign(emulated.begin(), emulated.end());
  check_formats(stored_, diagnostics);
  if (arm_) {
    guard_sites(diagnostics);
    const std::vector<std::int32_t> guarded = arm_->guarded_sites();
    emulated.insert(guarded.begin(), guarded.end());
  }
  EngineOptions options{campaign_};  // its RunSettings
  options.needs_ranges = needs_ranges;
  options.memory_code = memory_code_;
  options.conditions = conditions_;
  if (by_values()) {
    for (const FaultsConfig& entry : campaign_.faults) {
      const FaultPart& part = *entry.part;
      if (part.finds == 0) options.counted_bits.push_back(part.bits.first);
    }
    options.counted_sites = entries_.front();
  }
  if (arm_) options.guarding = &arm_->guarding();
  options.emulated.assign(emulated.begin(), emulated.end());
  diagnostics.throw_if_any();
  engine_ = std::make_unique<Engine>(*model_, *dataset_, *site_formats_, std::move(options));
}

// Populations may depend on the profiles, so that the plan is drawn when these are known.
void Session::complete_plan() {
  if (plan_) {
    plan_->set_profiles(engine_->profiles());
    return;
  }
  std::vector<const ErrorModel*> models;
  for (const auto& model : error_models_) models.push_back(model.get());
  Diagnostics diagnostics(campaign_.file.string(), campaign_.text);
  // Of the formats without a protection, so that its runs have the trials of the run without.
  const bool exposed = arm_ && arm_->exposed();
  const SiteFormats formats = exposed ? *site_formats_ : SiteFormats(bare_);
  const auto draw = [&](const Campaign& campaign) {
    Plan plan = Plan::draw(campaign, model_->sites(), formats, dataset_->size(), entries_, models,
                           diagnostics, engine_->profiles());
    diagnostics.throw_if_any();
    return plan;
  };
  if (facts_.sampling) {
    set_pilot(draw(smallest(campaign_)));
  }
  Plan plan = draw(campaign_);
  plan_ = std::make_unique<Plan>(std::move(plan));
  if (undivided_) check_division(formats);
  if (!facts_.sampling) return;
  for (const std::vector<std::int64_t>& round : facts_.sampling->rounds) {
    if (round.size() != plan_->strata().size()) {
      throw Error(ExitCode::kInput, campaign_.file.string() +
                                        ": the run's trials were drawn from other strata than the "
                                        "campaign has now; restore what it began with");
    }
    plan_->extend(round);
  }
}

bool Session::profile_beside(const RunDescription& run, const std::vector<GoldenResult>& golden,
                             const std::atomic<bool>& stop) {
  engine_->know_plain_answers(golden);
  if (!arm_->learn(images_to_learn(), stop)) return false;
  if (run.profiles.size() != model_->sites().size()) return profile_all(stop, 0);
  std::vector<SiteProfile> profiles = arm_->with_state(run.profiles);
  // A site that is guarded and not hit has none there.
  const auto known = [&](std::int32_t site) {
    const auto place = static_cast<std::size_t>(site);
    const auto& shape = model_->sites()[place].shape;
    return !format(site).calibrated() ||
           std::ssize(profiles[place].metadata) == metadata_size(format(site), shape);
  };
  if (!std::all_of(stored_.begin(), stored_.end(), known)) return profile_all(stop, 0);
  use_profiles(std::move(profiles));
  return true;
}

bool Session::profile(const std::atomic<bool>& stop, std::int64_t most_images) {
  if (arm_ && !arm_->learn(images_to_learn(), stop)) return false;
  return profile_all(stop, most_images);
}

bool Session::profile_all(const std::atomic<bool>& stop, std::int64_t most_images) {
  const Dataset* others = calibration_.get();
  Progress progress("profile: images", engine_->images_to_profile(most_images, others), 0);
  bool ticked = false;
  const bool done = engine_->profile(
      stop,
      [&](std::int64_t images) {
        ticked = true;
        progress.update(images);
      },
      most_images, others);
  if (ticked) progress.finish();
  if (!done || !count_values(stop)) return false;
  complete_plan();
  return true;
}

// Of all images, as faults are drawn from all.
bool Session::count_values(const std::atomic<bool>& stop) {
  if (!by_values()) return true;
  Progress progress("count values: images", dataset_->size(), 0);
  const bool done =
      engine_->count_values(stop, [&](std::int64_t images) { progress.update(images); });
  progress.finish();
  return done;
}

void Session::use_profiles(std::vector<SiteProfile> profiles) {
  engine_->set_profiles(std::move(profiles));
  complete_plan();
}

}  // namespace bitfall
