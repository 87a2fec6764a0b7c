// Loads plugins and makes their components.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bitfall/plugin.h"
#include "diagnostics.h"
#include "plugin_choice.h"
#include "plugin_options.h"

namespace bitfall {

enum class ComponentKind { kFormat, kErrorModel, kMetric, kHeadInit, kProtection };
/// "format", "error_model", "metric", "head_init", "protection".
const char* to_string(ComponentKind kind);

/// One component, for `bitfall plugin list|info`.
struct ComponentDescription {
  ComponentKind kind;
  std::string id;  // with the plugin's group in front, where it has one: "my_group/nf4"
  std::string summary;
  std::span<const OptionSpec> options;  // empty until its plugin is loaded
  std::size_t plugin;                   // index into plugins()
};

/// Known: by the note in its file, none of its code has run.
enum class PluginState { kKnown, kLoaded, kRefused };

/// One plugin, as its entry or its note tells.
struct PluginDescription {
  std::string name;
  std::string version;
  std::string summary;
  std::filesystem::path path;
  std::string sha256;                      // of the file
  std::string group, licence, url, cite;   // empty where it does not tell
  std::string compiler, standard_library;  // that it was built with
  std::string sources;  // a hash of the files that it was made of; empty where it does not tell
  PluginState state = PluginState::kLoaded;
};

/// A file that an option of a component names.
struct FileInUse {
  std::string component;  // "format 'table'"
  OptionFile file;
};

/// A file that was refused or left alone while scanning a folder, shown as a row and never hidden.
struct RefusedPlugin {
  std::filesystem::path path;
  std::string reason;
};

/// Libraries stay loaded until the process ends (handles are leaked on purpose).
class PluginHost {
 public:
  PluginHost();
  ~PluginHost();
  PluginHost(const PluginHost&) = delete;
  PluginHost& operator=(const PluginHost&) = delete;

  /// Loads one shared library. Throws Error(kPlugin) with the reason; then nothing of it is
  /// registered. A file that is loaded already is left alone.
  void load(const std::filesystem::path& path);

  /// The same, but a refused file is collected in refused().
  void try_load(const std::filesystem::path& path);

  /// Loads every *.so of a folder in name order; refused ones are collected in refused(). A missing
  /// folder is empty.
  void load_folder(const std::filesystem::path& folder);

  /// Reads the note of a file, and runs nothing of it until one of its components is asked for.
  /// What its note refuses, and a file without a note, is collected in refused().
  void know(const std::filesystem::path& path);
  /// The same for every *.so of a folder in name order.
  void know_folder(const std::filesystem::path& folder);

  /// Those that were refused once a component was asked for are among them.
  const std::vector<PluginDescription>& plugins() const;
  /// Of all plugins that are loaded or known.
  std::vector<ComponentDescription> components() const;
  const std::vector<RefusedPlugin>& refused() const;

  /// By its id, or by what stands behind the group where that is of one component alone. Null if
  /// there is none. Loads nothing.
  const ComponentDescription* known(ComponentKind kind, std::string_view id) const;
  /// The same, with its plugin loaded: null where that is refused.
  const ComponentDescription* find(ComponentKind kind, std::string_view id) const;

  /// Checks id and options; problems (unknown id with the nearest known one, unknown option, wrong
  /// type, out of range, a missing required option) go to `diagnostics`, and null is returned.
  /// Throws Error(kPlugin) where the plugin's own code fails.
  std::unique_ptr<NumberFormat> make_format(const PluginChoice& choice,
                                            Diagnostics& diagnostics) const;
  std::unique_ptr<ErrorModel> make_error_model(const PluginChoice& choice,
                                               Diagnostics& diagnostics) const;
  std::unique_ptr<Metric> make_metric(const PluginChoice& choice, Diagnostics& diagnostics) const;
  std::unique_ptr<HeadInit> make_head_init(const PluginChoice& choice,
                                           Diagnostics& diagnostics) const;
  std::unique_ptr<Protection> make_protection(const PluginChoice& choice,
                                              Diagnostics& diagnostics) const;

  /// For who looks by itself: from here on formats and protections are made of which no call is
  /// made twice to see what it leaves unwritten or makes of parts, metrics that are shown the
  /// logits themselves, and what loading and create change of the process stays so.
  void leave_looking();

  /// Of all that was made so far, formats that others stand on included: indices into plugins().
  std::vector<std::size_t> plugins_in_use() const;
  /// What was made of one of them: "format 'fp16'".
  std::vector<std::string> uses_of(std::size_t plugin) const;
  std::vector<FileInUse> files_in_use() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The folder that the program's own plugins lie in: <prefix>/lib/bitfall/plugins beside
/// <prefix>/bin/bitfall.
std::filesystem::path default_plugin_folder();
/// Whether a plugin of this path is one of the program's own there.
bool comes_with_the_program(const std::filesystem::path& plugin);
/// The folders and files of $BITFALL_PLUGIN_PATH, which has colons between them.
std::vector<std::filesystem::path> plugin_search_path();

/// Bitfall's folder below that of a variable of XDG's, or below this one of the user's home.
std::filesystem::path user_folder(const char* variable, const char* below_home);
/// Where `bitfall plugin add` puts packs, a folder each: $XDG_DATA_HOME/bitfall/plugins.
std::filesystem::path installed_pack_folder();
/// Those folders.
std::vector<std::filesystem::path> installed_plugin_folders();

/// Loads the program's own plugins.
void load_own_plugins(PluginHost& host);
/// The program's own plugins, and files of `extra`: loaded, and one of `extra` that is refused
/// throws. Folders of `extra`, $BITFALL_PLUGIN_PATH, packs that were added and whatever else lies
/// in default_plugin_folder(): known, and loaded where a component of theirs is asked for.
void load_plugins(PluginHost& host, std::span<const std::filesystem::path> extra);

}  // namespace bitfall
