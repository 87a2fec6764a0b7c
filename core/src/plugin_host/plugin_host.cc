#include "plugin_host.h"

#include <cxxabi.h>
#include <link.h>

#include <algorithm>
#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <set>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <variant>

#include "error.h"
#include "log.h"
#include "plugin_guard.h"
#include "plugin_options.h"
#include "sha256.h"
#include "words.h"

namespace bitfall {
namespace fs = std::filesystem;
namespace {

/// Why a file is no usable plugin. Leaves this file as an Error or as a RefusedPlugin.
class Refusal : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <typename Interface>
constexpr ComponentKind kind_of() {
  if constexpr (std::is_same_v<Interface, NumberFormat>) return ComponentKind::kFormat;
  if constexpr (std::is_same_v<Interface, ErrorModel>) return ComponentKind::kErrorModel;
  if constexpr (std::is_same_v<Interface, HeadInit>) return ComponentKind::kHeadInit;
  return ComponentKind::kMetric;
}

std::string component_name(ComponentKind kind, std::string_view id) {
  return to_string(kind) + (" " + in_quotes(id));
}

/// A component as registered.
struct Entry {
  ComponentDescription description;
  std::vector<DeclaredOption> options;
  std::variant<Component<NumberFormat>, Component<ErrorModel>, Component<Metric>,
               Component<HeadInit>>
      component;
};

/// Holds one plugin's components until all of them are known to be good. Problems are collected,
/// not thrown: an exception would have to cross the plugin's code, which may catch it.
class StagingRegistrar final : public Registrar {
 public:
  StagingRegistrar(const PluginHost& host, std::size_t plugin) : host_(host), plugin_(plugin) {}

  void add(const Component<NumberFormat>& component) override { stage(component); }
  void add(const Component<ErrorModel>& component) override { stage(component); }
  void add(const Component<Metric>& component) override { stage(component); }
  void add(const Component<HeadInit>& component) override { stage(component); }

  std::vector<Entry>& entries() { return entries_; }
  std::vector<std::string>& problems() { return problems_; }

 private:
  template <typename Interface>
  void stage(const Component<Interface>& component) {
    constexpr ComponentKind kKind = kind_of<Interface>();
    if (component.id == nullptr || !is_snake_case(component.id)) {
      problems_.push_back("the id of " + component_name(kKind, component.id ? component.id : "") +
                          " is not snake_case");
      return;
    }
    const std::string name = component_name(kKind, component.id);
    if (component.summary == nullptr) problems_.push_back(name + " has no summary");
    if (component.create == nullptr) problems_.push_back(name + " has no create function");
    check_new(kKind, component.id, name);
    std::vector<std::string> option_problems;
    auto options = declare_options(component.options, option_problems);
    for (const auto& problem : option_problems) problems_.push_back(name + ": " + problem);
    entries_.push_back({{kKind, component.id, component.summary ? component.summary : "",
                         component.options, plugin_},
                        std::move(options),
                        component});
  }

  void check_new(ComponentKind kind, const std::string& id, const std::string& name) {
    if (const auto* known = host_.find(kind, id)) {
      const auto& owner = host_.plugins()[known->plugin];
      problems_.push_back(name + " is already registered by plugin " + owner.name + " (" +
                          owner.path.string() + ")");
    }
    const bool twice = std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
      return entry.description.kind == kind && entry.description.id == id;
    });
    if (twice) problems_.push_back(name + " is registered twice");
  }

  const PluginHost& host_;
  std::size_t plugin_;
  std::vector<Entry> entries_;
  std::vector<std::string> problems_;
};

/// The loader maps a file as its headers say and dies of SIGBUS where it ends early, so look before
/// it does.
void refuse_truncated(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const auto size = static_cast<std::uint64_t>(fs::file_size(path));
  ElfW(Ehdr) header{};
  file.read(reinterpret_cast<char*>(&header), sizeof header);
  const bool readable =
      file && std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
      header.e_ident[EI_CLASS] == (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32) &&
      header.e_phentsize == sizeof(ElfW(Phdr));
  if (!readable) return;  // dlopen says what it is not
  const auto require = [&](std::uint64_t offset, std::uint64_t length) {
    if (offset <= size && length <= size - offset) return;
    throw Refusal("not a shared library: truncated, it ends after " + std::to_string(size) +
                  " bytes; copy or build it again");
  };
  require(header.e_phoff, std::uint64_t{header.e_phnum} * sizeof(ElfW(Phdr)));
  require(header.e_shoff, std::uint64_t{header.e_shnum} * header.e_shentsize);
  file.seekg(static_cast<std::streamoff>(header.e_phoff));
  for (int i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment{};
    file.read(reinterpret_cast<char*>(&segment), sizeof segment);
    if (segment.p_type == PT_LOAD) require(segment.p_offset, segment.p_filesz);
  }
}

std::string demangled(const std::string& symbol) {
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(
      abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status), std::free);
  return status == 0 ? " (" + std::string(name.get()) + ")" : "";
}

/// What dlopen said, out of Boost.DLL's message, without the path in front.
std::string loader_reason(std::string text, const fs::path& path) {
  constexpr std::string_view kOpening = "(dlerror system message: ";
  if (const auto start = text.find(kOpening); start != std::string::npos) {
    text = text.substr(start + kOpening.size());
    text = text.substr(0, text.rfind("): "));
  }
  const std::string prefix = path.string() + ": ";
  if (text.rfind(prefix, 0) == 0) text = text.substr(prefix.size());
  constexpr std::string_view kUndefined = "undefined symbol: ";
  if (text.rfind(kUndefined, 0) == 0) {
    const std::string symbol = text.substr(kUndefined.size());
    return text + demangled(symbol) + "; link the plugin against what defines it";
  }
  for (const char* opening : {"invalid ELF header", "file too short", "wrong ELF class"}) {
    if (text.rfind(opening, 0) == 0) return "not a shared library: " + text;
  }
  return "it cannot be loaded: " + text;
}

/// Loads and keeps a library for the rest of the process: objects, strings and code of a plugin may
/// be in use anywhere.
boost::dll::shared_library& open_library(const fs::path& path) {
  static auto& libraries = *new std::vector<std::unique_ptr<boost::dll::shared_library>>;
  namespace mode = boost::dll::load_mode;
  try {
    libraries.push_back(
        std::make_unique<boost::dll::shared_library>(path, mode::rtld_now | mode::rtld_local));
  } catch (const std::exception& error) {
    throw Refusal(loader_reason(error.what(), path));
  }
  return *libraries.back();
}

/// The plugin's entry, its ABI checked before any other field is looked at.
const Plugin& read_entry(boost::dll::shared_library& library) {
  if (!library.has("bitfall_plugin")) {
    throw Refusal(
        "it exports no symbol 'bitfall_plugin'; a plugin's source ends with BITFALL_PLUGIN(...)");
  }
  const auto& plugin = library.get<const Plugin>("bitfall_plugin");
  if (plugin.abi != kAbi) {
    throw Refusal("it was built for ABI " + std::to_string(plugin.abi) + ", this Bitfall has ABI " +
                  std::to_string(kAbi) + ": rebuild it against this version's headers");
  }
  if (plugin.name == nullptr || plugin.version == nullptr || plugin.summary == nullptr) {
    throw Refusal("its entry lacks a name, version or summary");
  }
  if (plugin.register_components == nullptr)
    throw Refusal("its entry has no registration function");
  return plugin;
}

void register_into(StagingRegistrar& registrar, const Plugin& plugin) {
  try {
    plugin.register_components(registrar);
  } catch (const std::exception& error) {
    throw Refusal(std::string("its registration failed: ") + error.what());
  } catch (...) {
    throw Refusal("its registration threw something that is not a std::exception");
  }
  if (!registrar.problems().empty()) throw Refusal(joined(registrar.problems(), "; "));
  if (registrar.entries().empty()) throw Refusal("it registers no component");
}

void refuse_no_file(const fs::path& path) {
  std::error_code ignored;
  const auto status = fs::status(path, ignored);
  if (!fs::exists(status)) throw Refusal("there is no such file");
  if (fs::is_directory(status)) throw Refusal("it is a folder; name the shared library in it");
  if (!fs::is_regular_file(status)) throw Refusal("it is not a regular file");
}

/// The place that a component's complaint "option: what" is about.
SourceRange complaint_place(const PluginChoice& choice, const std::string& complaint) {
  const std::string option = complaint.substr(0, complaint.find(':'));
  for (const auto& given : choice.options) {
    if (given.name == option) return given.value_where;
  }
  return choice.where;
}

}  // namespace

const char* to_string(ComponentKind kind) {
  switch (kind) {
    case ComponentKind::kFormat:
      return "format";
    case ComponentKind::kErrorModel:
      return "error_model";
    case ComponentKind::kMetric:
      return "metric";
    case ComponentKind::kHeadInit:
      return "head_init";
  }
  return "?";
}

struct PluginHost::State {
  std::vector<PluginDescription> plugins;
  std::vector<ComponentDescription> components;
  std::vector<RefusedPlugin> refused;
  std::vector<Entry> entries;    // by index of components
  std::set<fs::path> loaded;     // canonical paths
  std::set<std::string> hashes;  // of them
  // Ids that refused files offer, which other files have.
  std::map<std::pair<ComponentKind, std::string>, fs::path> shadowed;

  void load(const PluginHost& host, const fs::path& given);

  template <typename Interface>
  std::unique_ptr<Interface> make(const PluginChoice& choice, Diagnostics& diagnostics) const;
  const Entry* find(ComponentKind kind, std::string_view id) const;
  void report_unknown(ComponentKind kind, const PluginChoice& choice,
                      Diagnostics& diagnostics) const;
};

PluginHost::PluginHost() : state_(std::make_unique<State>()) {}
PluginHost::~PluginHost() = default;

const std::vector<PluginDescription>& PluginHost::plugins() const { return state_->plugins; }
const std::vector<ComponentDescription>& PluginHost::components() const {
  return state_->components;
}
const std::vector<RefusedPlugin>& PluginHost::refused() const { return state_->refused; }

void PluginHost::State::load(const PluginHost& host, const fs::path& given) {
  refuse_no_file(given);
  const fs::path path = fs::canonical(given);
  if (loaded.count(path) > 0) return;
  refuse_truncated(path);
  std::string sha256 = sha256_file(path);
  if (!hashes.insert(sha256).second) return;  // a copy of one that is loaded
  const std::string who = "plugin " + path.string();
  const PluginCall here(who.c_str(), "loading");
  const Plugin& plugin = read_entry(open_library(path));
  StagingRegistrar registrar(host, plugins.size());
  try {
    register_into(registrar, plugin);
  } catch (...) {
    hashes.erase(sha256);
    for (const Entry& entry : registrar.entries()) {
      shadowed.emplace(std::pair(entry.description.kind, entry.description.id), path);
    }
    throw;
  }
  if (!here.left_arithmetic_alone()) {
    throw Refusal(
        "it changes how the processor computes (subnormal numbers become 0, or rounding "
        "is another): build it without -ffast-math and -Ofast, where it is linked as well");
  }

  plugins.push_back({plugin.name, plugin.version, plugin.summary, path, std::move(sha256)});
  for (auto& entry : registrar.entries()) {
    components.push_back(entry.description);
    entries.push_back(std::move(entry));
  }
  loaded.insert(path);
}

void PluginHost::load(const fs::path& path) {
  try {
    state_->load(*this, path);
  } catch (const std::exception& error) {
    throw Error(ExitCode::kPlugin, "plugin " + path.string() + " is refused: " + error.what());
  }
}

void PluginHost::try_load(const fs::path& path) {
  try {
    state_->load(*this, path);
  } catch (const std::exception& error) {
    state_->refused.push_back({path, error.what()});
  }
}

void PluginHost::load_folder(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) return;
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".so") files.push_back(entry->path());
  }
  if (error) state_->refused.push_back({folder, "the folder cannot be read: " + error.message()});
  std::sort(files.begin(), files.end());
  for (const auto& file : files) try_load(file);
}

const Entry* PluginHost::State::find(ComponentKind kind, std::string_view id) const {
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) {
    return entry.description.kind == kind && entry.description.id == id;
  });
  return found == entries.end() ? nullptr : &*found;
}

const ComponentDescription* PluginHost::find(ComponentKind kind, std::string_view id) const {
  const Entry* entry = state_->find(kind, id);
  return entry == nullptr ? nullptr : &state_->components[entry - state_->entries.data()];
}

void PluginHost::State::report_unknown(ComponentKind kind, const PluginChoice& choice,
                                       Diagnostics& diagnostics) const {
  std::vector<std::string> known;
  for (const auto& component : components) {
    if (component.kind == kind) known.push_back(component.id);
  }
  std::sort(known.begin(), known.end());
  std::string hint = did_you_mean(choice.id, known);
  if (hint.empty()) {
    hint =
        known.empty() ? "none is loaded; see 'bitfall plugin list'" : "known are " + joined(known);
  }
  for (const RefusedPlugin& file : refused) {
    hint += "\n  " + file.path.string() + " is left out: " + file.reason;
  }
  diagnostics.add(choice.where, "unknown " + component_name(kind, choice.id), hint);
}

template <typename Interface>
std::unique_ptr<Interface> PluginHost::State::make(const PluginChoice& choice,
                                                   Diagnostics& diagnostics) const {
  constexpr ComponentKind kKind = kind_of<Interface>();
  const Entry* entry = find(kKind, choice.id);
  if (entry == nullptr) {
    report_unknown(kKind, choice, diagnostics);
    return nullptr;
  }
  const std::string name = component_name(kKind, choice.id);
  if (const auto other = shadowed.find({kKind, choice.id}); other != shadowed.end()) {
    log_warning(name + " is that of " + plugins[entry->description.plugin].path.string() + "; " +
                other->second.string() + " offers one, too, and is left out");
  }
  const auto options = CheckedOptions::check(choice, entry->options, name, diagnostics);
  if (!options) return nullptr;

  const std::string who = name + " of plugin " + plugins[entry->description.plugin].name;
  const auto& component = std::get<Component<Interface>>(entry->component);
  std::unique_ptr<Interface> made;
  bool contradictory = false;
  call_plugin(who, "create", [&] {
    try {
      made.reset(component.create(*options));
    } catch (const std::invalid_argument& complaint) {
      diagnostics.add(complaint_place(choice, complaint.what()), name + ": " + complaint.what());
      contradictory = true;
    }
  });
  if (contradictory) return nullptr;
  if (made == nullptr) throw Error(ExitCode::kPlugin, who + " made nothing in create");
  return guard(std::move(made), who);
}

std::unique_ptr<NumberFormat> PluginHost::make_format(const PluginChoice& choice,
                                                      Diagnostics& diagnostics) const {
  return state_->make<NumberFormat>(choice, diagnostics);
}

std::unique_ptr<ErrorModel> PluginHost::make_error_model(const PluginChoice& choice,
                                                         Diagnostics& diagnostics) const {
  return state_->make<ErrorModel>(choice, diagnostics);
}

std::unique_ptr<Metric> PluginHost::make_metric(const PluginChoice& choice,
                                                Diagnostics& diagnostics) const {
  return state_->make<Metric>(choice, diagnostics);
}

std::unique_ptr<HeadInit> PluginHost::make_head_init(const PluginChoice& choice,
                                                     Diagnostics& diagnostics) const {
  return state_->make<HeadInit>(choice, diagnostics);
}

fs::path default_plugin_folder() {
  return boost::dll::program_location().parent_path().parent_path() / BITFALL_PLUGIN_DIR;
}

void load_plugins(PluginHost& host, std::span<const fs::path> extra) {
  host.load_folder(default_plugin_folder());
  const char* variable = std::getenv("BITFALL_PLUGIN_PATH");
  std::string_view rest = variable == nullptr ? "" : variable;
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    const fs::path path(rest.substr(0, colon));
    rest = colon == std::string_view::npos ? "" : rest.substr(colon + 1);
    if (path.empty()) continue;
    if (fs::is_directory(path)) {
      host.load_folder(path);
    } else {
      host.try_load(path);
    }
  }
  for (const auto& path : extra) {
    if (fs::is_directory(path)) {
      host.load_folder(path);
    } else {
      host.load(path);
    }
  }
}

}  // namespace bitfall
