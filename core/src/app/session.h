// Everything that a campaign needs, opened and checked against each other: what `run`, `resume` and
// `replay` start from.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config.h"
#include "dataset.h"
#include "engine.h"
#include "kept_plugins.h"
#include "measurer.h"
#include "model.h"
#include "plan.h"
#include "plugin_calls.h"
#include "plugin_host.h"
#include "protected_arm.h"
#include "store.h"
#include "tuning.h"

namespace bitfall {

/// What a run that is opened again holds to, in place of what its file says or leaves to be chosen.
struct StoredRun {
  Tuning shape;  // batch, threads, workers
  std::vector<PluginFact> plugins;
  PluginPlaces plugin_places;
  std::string fault_list;                // the text of its list; empty where faults were drawn
  std::vector<std::string> images = {};  // by name, where the campaign keeps only some
  std::filesystem::path model =
      {};                           // in place of the file's, to meet the same faults; empty = that
  std::filesystem::path pack = {};  // where the file's paths lie (pack_of()); empty = as it says
  std::vector<std::vector<std::int64_t>> rounds = {};  // of a campaign with a goal (SamplingFact)
};

struct SiteName {
  Target target = Target::kActivation;
  std::string name;
};

class Session {
 public:
  /// Parses the campaign text, then opens plugins, data, model and sites in this order;
  /// the plan follows when golden data are profiled.
  /// Problems of the campaign file are reported all at once; anything else throws as it is met.
  /// file: for relative paths and messages. fault_list: runs exactly this list. stored: of a run
  /// that is opened again, with its own text of the list. plugins: libraries beside those that the
  /// file names. arm: with which of the file's protections; all of them are checked. looked_at:
  /// sites whose values pass through their formats though no fault is drawn for them.
  Session(const std::filesystem::path& file, const std::string& text,
          const std::optional<std::filesystem::path>& fault_list,
          const std::optional<StoredRun>& stored = std::nullopt,
          const std::vector<std::filesystem::path>& plugins = {}, const ArmRequest& arm = {},
          const std::vector<SiteName>& looked_at = {});
  ~Session();

  /// With batch, threads and workers as they were chosen.
  const Campaign& campaign() const { return campaign_; }
  /// Whether the file names what decides last bits (batch and threads), so that other machines
  /// choose alike.
  bool names_shape() const { return names_shape_; }
  const Dataset& dataset() const { return *dataset_; }
  const Model& model() const { return *model_; }
  const SiteFormats& formats() const { return *site_formats_; }
  /// Of a site.
  const NumberFormat& format(std::int32_t site) const { return site_formats_->of(site); }
  /// "int8 (granularity = channel)".
  std::string format_name(std::int32_t site) const;
  /// Only after profile() or use_profiles().
  const Plan& plan() const { return *plan_; }
  Engine& engine() { return *engine_; }
  /// What the engine of a protected run is given; null without a protection.
  Guarding* guarding() { return arm_ ? &arm_->guarding() : nullptr; }
  const std::vector<StoredColumn>& columns() const { return columns_; }
  /// Verbatim; empty where faults are drawn.
  const std::string& fault_list_text() const { return fault_list_text_; }

  /// Throws where a run with one of the file's protections could not be: it guards no site, learns
  /// from images and none are named, or they cannot be opened.
  void check_protections() const;
  /// Profiles golden data where needed and completes the plan. False if stopped.
  bool profile(const std::atomic<bool>& stop, std::int64_t most_images = 0);
  /// The same for a run with a protection: what it shares with that without, which `run` describes,
  /// is taken from there (profiles, and the answers in plain FP32), where it is of these images.
  bool profile_beside(const RunDescription& run, const std::vector<GoldenResult>& golden,
                      const std::atomic<bool>& stop);
  /// Takes the profiles of a stored run instead.
  void use_profiles(std::vector<SiteProfile> profiles);

  /// Plans a further round: so many more trials of each stratum. Of a campaign with a goal, after
  /// profile() or use_profiles().
  void extend_plan(const std::vector<std::int64_t>& more);

  /// Only after profile() or use_profiles().
  const std::vector<SiteProfile>& profiles() const { return engine_->profiles(); }
  /// The network in its number formats.
  const EmulatedModel& emulated() const { return engine_->emulated(); }

  /// What it reads while trials run: the network, images, the files of plugins and their options.
  std::vector<std::filesystem::path> files() const;

  const Measurer& measure() const { return measurer_; }
  /// Seconds that opening it has taken.
  double opening_s() const { return opening_s_; }

  /// The same campaign with all components made anew, sharing network and data. After profile().
  std::unique_ptr<Session> fresh() const;
  /// The campaign with one of its protections, sharing network, data and fault-free values, for
  /// profile_beside() to follow. Borrows this session, which is of the run without and has ended.
  std::unique_ptr<Session> protected_by(const std::string& name);
  /// Whether a plugin in use does not come with the program.
  bool uses_foreign_plugins() const;
  /// The files of those.
  std::vector<std::filesystem::path> foreign_plugins() const;
  /// "format 'nf4'": the components in use that do not come with the program.
  std::vector<std::string> foreign_uses() const;
  /// "error model 'bit_flip'", of a [[faults]] entry.
  std::string error_model_name(std::int32_t entry) const;

  /// As they were when the session opened: what is loaded, and from which bytes.
  const RunFacts& facts() const { return facts_; }
  RunDescription describe() const;
  /// Files that options of components in use name.
  std::vector<FileInUse> option_files() const { return host_->files_in_use(); }
  /// Copies the plugins in use that do not come with the program into the run.
  void keep_plugins(const std::filesystem::path& run, bool beside = false) const;

 private:
  Session(const Session& of, const ArmRequest& arm);
  void make_components(Diagnostics& diagnostics);
  void divide_faults(Diagnostics& diagnostics);
  std::vector<FaultsConfig> parts_of(const FaultsConfig& whole);
  void divide_by_values(std::vector<std::vector<std::int32_t>>& entries, Diagnostics& diagnostics);
  bool hit_any_element(const std::vector<std::vector<std::int32_t>>& entries) const;
  void check_goal(const std::set<std::string>& columns, Diagnostics& diagnostics) const;
  static Campaign smallest(Campaign campaign);
  void set_pilot(const Plan& smallest);
  bool by_values() const;
  bool profile_all(const std::atomic<bool>& stop, std::int64_t most_images);
  bool count_values(const std::atomic<bool>& stop);
  void check_division(const SiteFormats& formats) const;
  void add_condition_columns(Diagnostics& diagnostics);
  void describe_guarded(RunDescription& run) const;
  std::vector<ProtectionEntry> entries_of(const std::string& arm, Diagnostics& diagnostics) const;
  void open_protections(const ArmRequest& arm, Diagnostics& diagnostics);
  void open_plugins(const std::optional<StoredRun>& stored, Diagnostics& diagnostics);
  void open_data();
  void open_calibration();
  void keep_images(const std::optional<StoredRun>& stored);
  void open_model();
  std::vector<float> first_images() const;
  ModelOptions model_options(const std::vector<float>& images) const;
  void tune_and_open(const Tuning& given, const std::vector<float>& images);
  void open_network(const std::vector<float>& images);
  void look_at_answer();
  /// Returns the sites that [[formats]] names.
  std::set<std::int32_t> choose_formats(Diagnostics& diagnostics);
  std::vector<const NumberFormat*> guardable_formats() const;
  void guard_sites(Diagnostics& diagnostics);
  void check_formats(const std::vector<std::int32_t>& emulated, Diagnostics& diagnostics) const;
  void select(Diagnostics& diagnostics);
  void complete_plan();
  bool formats_learn() const;
  DataConfig images_to_learn() const;  // by protections
  std::string calibration_text() const;
  std::vector<PluginFact> plugins_in_use() const;
  void limit_memory_of_plugins() const;
  void tell_provenance();
  void name_components_in_full();

  std::unique_ptr<PluginWatch> watch_;  // outlives what it looks at
  Campaign campaign_;
  RunFacts facts_;  // filled as each part is opened
  bool names_shape_ = false;
  double opening_s_ = 0;
  std::optional<std::filesystem::path> fault_list_;
  std::vector<SiteName> looked_at_;
  std::string fault_list_text_;  // of a run that is opened again, else read with the sites
  std::shared_ptr<PluginHost> host_ = std::make_shared<PluginHost>();
  std::vector<std::unique_ptr<NumberFormat>> formats_;  // [0] the default, then one an entry
  std::vector<std::int32_t> format_of_;                 // by site: index into formats_
  std::vector<std::int32_t> stored_;                    // sites that are stored in their format
  std::optional<SiteFormats> site_formats_;
  std::vector<std::unique_ptr<ErrorModel>> error_models_;
  std::optional<FaultsConfig> undivided_;  // the entry with a goal whose parts campaign_ has
  std::unique_ptr<ProtectedArm> arm_;      // of a run with a protection
  std::vector<const NumberFormat*> bare_;  // by site: the format without it
  bool conditions_ = false;                // an error model asks for the values that it hits
  bool memory_code_ = false;               // a format's words are stored with a code
  Measurer measurer_;
  std::vector<StoredColumn> columns_;
  std::shared_ptr<Dataset> dataset_;
  std::shared_ptr<Dataset> calibration_;  // what is learned from; empty = the attacked images
  std::shared_ptr<Model> model_;
  std::vector<std::vector<std::int32_t>> entries_;  // sites that each [[faults]] entry selects
  std::unique_ptr<Plan> plan_;
  std::unique_ptr<Engine> engine_;
};

/// Throws Error(kInput) naming every fact that decides results and differs between a stored run and
/// this session.
void check_same_facts(const RunFacts& stored, const RunFacts& now);

}  // namespace bitfall
