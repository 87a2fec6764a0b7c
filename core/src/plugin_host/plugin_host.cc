#include "plugin_host.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>

#include "atomic_file.h"
#include "error.h"
#include "log.h"
#include "openmp_pool.h"
#include "output.h"
#include "plugin_guard.h"
#include "plugin_note.h"
#include "plugin_options.h"
#include "process_state.h"
#include "replaced_symbols.h"
#include "sandbox.h"
#include "sha256.h"
#include "text_file.h"
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
  if constexpr (std::is_same_v<Interface, Protection>) return ComponentKind::kProtection;
  return ComponentKind::kMetric;
}

std::string component_name(ComponentKind kind, std::string_view id) {
  return to_string(kind) + (" " + in_quotes(id));
}

/// So that code of others that takes without end is told that there is no more.
std::optional<std::int64_t> memory_for(const fs::path& plugin) {
  return comes_with_the_program(plugin) ? std::nullopt : memory_for_plugins();
}

void put_back(const ProcessState& before, const std::string& who, const char* when) {
  const std::string changed = before.put_back();
  if (changed.empty()) return;
  log_warning(who + " changes " + changed + " of the process " + when + "; that is put back");
}

std::string_view without_group(std::string_view id) {
  const auto slash = id.find('/');
  return slash == id.npos ? id : id.substr(slash + 1);
}

/// A component as registered.
struct Entry {
  ComponentDescription description;
  std::vector<DeclaredOption> options;
  std::variant<std::monostate, Component<NumberFormat>, Component<ErrorModel>, Component<Metric>,
               Component<HeadInit>, Component<Protection>>
      component;  // none until its plugin is loaded
};

/// What is wrong with an id that another plugin than this one has; empty where none has it.
std::string taken_by(const PluginHost& host, ComponentKind kind, const std::string& id,
                     std::size_t plugin) {
  const auto* known = host.known(kind, id);
  if (known == nullptr || known->id != id || known->plugin == plugin) return "";
  const auto& owner = host.plugins()[known->plugin];
  return component_name(kind, id) + " is already registered by plugin " + owner.name + " (" +
         owner.path.string() + ")";
}

/// Holds one plugin's components until all of them are known to be good. Problems are collected,
/// not thrown: an exception would have to cross the plugin's code, which may catch it.
class StagingRegistrar final : public Registrar {
 public:
  /// group: of the plugin, or empty.
  StagingRegistrar(const PluginHost& host, std::size_t plugin, std::string group)
      : host_(host), plugin_(plugin), group_(std::move(group)) {}

  void add_format(const Component<NumberFormat>& component) override { stage(component); }
  void add_error_model(const Component<ErrorModel>& component) override { stage(component); }
  void add_metric(const Component<Metric>& component) override { stage(component); }
  void add_head_init(const Component<HeadInit>& component) override { stage(component); }
  void add_protection(const Component<Protection>& component) override { stage(component); }

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
    const std::string id = (group_.empty() ? "" : group_ + "/") + component.id;
    const std::string name = component_name(kKind, id);
    if (component.summary == nullptr) problems_.push_back(name + " has no summary");
    if (component.create == nullptr) problems_.push_back(name + " has no create function");
    check_new(kKind, id, name);
    std::vector<std::string> option_problems;
    auto options = declare_options(component.options, option_problems);
    for (const auto& problem : option_problems) problems_.push_back(name + ": " + problem);
    entries_.push_back(
        {{kKind, id, component.summary ? component.summary : "", component.options, plugin_},
         std::move(options),
         component});
  }

  void check_new(ComponentKind kind, const std::string& id, const std::string& name) {
    if (std::string taken = taken_by(host_, kind, id, plugin_); !taken.empty()) {
      problems_.push_back(std::move(taken));
    }
    const bool twice = std::any_of(entries_.begin(), entries_.end(), [&](const Entry& entry) {
      return entry.description.kind == kind && entry.description.id == id;
    });
    if (twice) problems_.push_back(name + " is registered twice");
  }

  const PluginHost& host_;
  std::size_t plugin_;
  std::string group_;
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
  return status == 0 ? name.get() : "";
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
    const std::string name = demangled(symbol);
    return text + (name.empty() ? "" : " (" + name + ")") +
           "; link the plugin against what defines it";
  }
  for (const char* opening : {"invalid ELF header", "file too short", "wrong ELF class"}) {
    if (text.rfind(opening, 0) == 0) return "not a shared library: " + text;
  }
  if (text.find("version `GLIBC") != text.npos && text.find("not found") != text.npos) {
    text +=
        "; it was built with a newer compiler or system than this one: build it from its source "
        "here";
  }
  return "it cannot be loaded: " + text;
}

using Library = boost::dll::shared_library;

std::unique_ptr<Library> opened(const fs::path& path) {
  namespace mode = boost::dll::load_mode;
  return std::make_unique<Library>(path, mode::rtld_now | mode::rtld_local);
}

/// A copy of the file in memory that nobody can change: who writes into the file would change, or
/// crash, what runs. Null where none can be loaded, as of a plugin whose libraries lie beside it.
std::unique_ptr<Library> opened_copy(const fs::path& path, const std::string& sha256) {
  const std::string bytes = read_text(path);
  if (sha256_text(bytes) != sha256) {
    throw Refusal("it changes while it is being loaded: run the command again");
  }
  const int file = memfd_create(path.filename().c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return nullptr;
  constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
  try {
    // Where that works it stays open: the loader takes two libraries of one name for one.
    if (write_all(file, bytes) && ::fcntl(file, F_ADD_SEALS, kSeals) == 0) {
      return opened("/proc/self/fd/" + std::to_string(file));
    }
  } catch (const std::exception&) {  // of the loader
  }
  ::close(file);
  return nullptr;
}

bool is_loaded_in_place(const fs::path& path) {
#ifdef BITFALL_ASAN  // which reads the file as it reports
  return true;
#endif
  return comes_with_the_program(path) || std::getenv("BITFALL_PLUGINS_IN_PLACE") != nullptr;
}

/// Warns of variables that a library has in common with one that was loaded before: what one of the
/// two sets or computes the other would use.
void warn_of_shared_variables(const fs::path& path) {
  if (comes_with_the_program(path)) return;
  struct Owner {
    fs::path path;
    std::string content;
  };
  static auto& owners = *new std::map<std::string, Owner>;
  std::map<fs::path, std::vector<std::string>> shared;
  for (const SharedVariable& variable : shared_variables(path)) {
    const auto [known, is_new] = owners.try_emplace(variable.name, Owner{path, variable.content});
    if (is_new || known->second.path == path) continue;
    // Equal constants are one constant.
    if (!variable.content.empty() && known->second.content == variable.content) continue;
    if (variable.name.starts_with("_ZGV")) continue;  // tells whether one is made
    const std::string name = demangled(variable.name);
    shared[known->second.path].push_back(name.empty() ? variable.name : name);
  }
  for (const auto& [other, names] : shared) {
    log_warning("plugins " + path.string() + " and " + other.string() + " share the variable " +
                in_quotes(names.front()) +
                (names.size() > 1 ? " and " + std::to_string(names.size() - 1) + " more" : "") +
                ": what one computes may depend on the other; build both with "
                "-fvisibility=hidden, as `bitfall plugin flags` has it");
  }
}

/// What a plugin computes by a function of its own must not be what another library of the process
/// computes by one of that name.
void refuse_replaced_symbols(const Library& library, const fs::path& path) {
  if (comes_with_the_program(path)) return;
  const auto replaced = replaced_symbols(library.native());
  if (replaced.empty()) return;
  const std::size_t more = replaced.size() - 1;
  throw Refusal("it holds " + in_quotes(replaced.front().name) +
                (more == 0 ? "" : " and " + std::to_string(more) + " more") +
                ", and its calls would reach those of " + replaced.front().library +
                ", which have the same names: link it with -Wl,--exclude-libs,ALL -Wl,-Bsymbolic, "
                "as `bitfall plugin flags` has it");
}

/// The runtime of a sanitizer ends a process that has begun without it.
void refuse_late_sanitizer(const fs::path& path) {
  for (const LibraryNeed& need : library_needs(path)) {
    for (const auto& [stem, flag, symbol] : {std::tuple("libasan", "address", "__asan_init"),
                                             {"libhwasan", "hwaddress", "__hwasan_init"},
                                             {"libtsan", "thread", "__tsan_init"},
                                             {"liblsan", "leak", "__lsan_init"}}) {
      if (!need.library.starts_with(stem) || ::dlsym(RTLD_DEFAULT, symbol) != nullptr) continue;
      throw Refusal(std::string("it was built with -fsanitize=") + flag +
                    ", whose runtime must be there from the start: build it without, or try "
                    "LD_PRELOAD=$(g++ -print-file-name=" +
                    stem + ".so) in front of the command");
    }
  }
}

/// Loads and keeps a library for the rest of the process: objects, strings and code of a plugin may
/// be in use anywhere.
Library& open_library(const fs::path& path, const std::string& sha256) {
  static auto& libraries = *new std::map<std::string, std::unique_ptr<Library>>;
  std::unique_ptr<Library>& library = libraries[sha256];
  try {
    if (!library) refuse_late_sanitizer(path);
    if (!library && !is_loaded_in_place(path)) library = opened_copy(path, sha256);
    if (!library) library = opened(path);
  } catch (const Refusal&) {
    throw;
  } catch (const std::exception& error) {
    throw Refusal(loader_reason(error.what(), path));
  }
  return *library;
}

[[noreturn]] void refuse_abi(std::uint64_t abi) {
  throw Refusal("it was built for ABI " + std::to_string(abi) + ", this Bitfall has ABI " +
                std::to_string(kAbi) + ": rebuild it against this version's headers");
}

[[noreturn]] void refuse_headers() {
  throw Refusal("it was built against other headers of ABI " + std::to_string(kAbi) +
                " than this Bitfall's: rebuild it against this version's headers");
}

/// Refuses what would compute with other layouts or other roundings than the host.
void check_built_with(const BuiltWith& built) {
  constexpr BuiltWith kOurs = detail::built_with();
  if (built.headers != kOurs.headers) refuse_headers();
  if (!std::equal(std::begin(kOurs.sizes), std::end(kOurs.sizes), std::begin(built.sizes))) {
    throw Refusal(
        "its compiler lays structures out in another way: build it for this machine, without "
        "-fpack-struct, -fshort-enums and the like");
  }
  // (1 + 2^-12)^2 is 1 + 2^-11 once it is rounded.
  if (built.multiply_add == nullptr ||
      built.multiply_add(1 + 0x1p-12F, 1 + 0x1p-12F, -(1 + 0x1p-11F)) != 0) {
    throw Refusal(
        "its compiler fuses products and sums, which gives other bits: build it with "
        "-ffp-contract=off");
  }
}

bool is_kebab_case(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return is_snake_case(name);
}

/// "1", "1.0", "2.1.3-rc.1"
bool is_version(std::string_view text) {
  const std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view numbers = text.substr(0, end), rest = text.substr(end);
  const auto word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '-' || c == '+';
  };
  return !numbers.empty() && numbers.front() != '.' && numbers.back() != '.' &&
         numbers.find("..") == numbers.npos && std::all_of(rest.begin(), rest.end(), word);
}

void check_about(const PluginDescription& about) {
  if (!is_kebab_case(about.name)) {
    throw Refusal("its name " + in_quotes(about.name) +
                  " is not of small letters, digits, '-' and '_'");
  }
  if (!is_version(about.version)) {
    throw Refusal("its version " + in_quotes(about.version) + " is not like 1.0 or 2.1.3-rc.1");
  }
  if (!about.group.empty() && !is_snake_case(about.group)) {
    throw Refusal("its group " + in_quotes(about.group) + " is not snake_case");
  }
  for (const std::string& told : {about.summary, about.licence, about.url, about.cite}) {
    if (std::any_of(told.begin(), told.end(), [](unsigned char c) { return c < ' '; })) {
      throw Refusal("its entry tells of it with control characters or more than one line");
    }
  }
}

/// The plugin's entry, its ABI checked before any other field is looked at.
const Plugin& read_entry(boost::dll::shared_library& library) {
  if (!library.has("bitfall_plugin")) {
    throw Refusal(
        "it exports no symbol 'bitfall_plugin'; a plugin's source ends with BITFALL_PLUGIN(...)");
  }
  const auto& plugin = library.get<const Plugin>("bitfall_plugin");
  if (plugin.abi != kAbi) refuse_abi(plugin.abi);
  if (plugin.size != sizeof(Plugin)) {
    throw Refusal("its entry has " + std::to_string(plugin.size) + " bytes, not " +
                  std::to_string(sizeof(Plugin)) + ": rebuild it against this version's headers");
  }
  check_built_with(plugin.built_with);
  if (plugin.about == nullptr) throw Refusal("its entry says nothing about it");
  const About& about = *plugin.about;
  if (about.name == nullptr || about.version == nullptr || about.summary == nullptr) {
    throw Refusal("its entry lacks a name, version or summary");
  }
  if (plugin.register_components == nullptr)
    throw Refusal("its entry has no registration function");
  return plugin;
}

/// What the note tells of them, which the entry does not.
std::string sources_of(const fs::path& path) {
  try {
    const auto note = read_note(path);
    return note ? note->sources : "";
  } catch (const std::runtime_error&) {
    return "";
  }
}

/// What the entry says.
PluginDescription described(const Plugin& plugin, const fs::path& path, const std::string& sha256) {
  const auto told = [](const char* text) { return std::string(text == nullptr ? "" : text); };
  const About& about = *plugin.about;
  PluginDescription description{about.name,
                                about.version,
                                about.summary,
                                path,
                                sha256,
                                told(about.group),
                                told(about.licence),
                                told(about.url),
                                told(about.cite),
                                told(plugin.built_with.compiler),
                                told(plugin.built_with.library),
                                sources_of(path)};
  check_about(description);
  return description;
}

/// What the note says. Throws where it does not tell all that is needed to leave the code alone.
PluginNote complete_note(const fs::path& path) {
  constexpr const char* kName =
      "; it runs only where the file itself is named, by --plugin or in [plugins] paths";
  const auto told = read_note(path);
  if (!told) {
    throw Refusal(std::string("it has no note that tells what it offers without running it: no "
                              "plugin, or built for an older Bitfall") +
                  kName);
  }
  const PluginNote& note = *told;
  if (note.abi != kAbi) refuse_abi(note.abi);
  if (note.headers != kHeaders) refuse_headers();
  if (!note.complete) {
    throw Refusal(std::string("its note does not tell what it offers, as the compiler did not know "
                              "its components: declare them constexpr") +
                  kName);
  }
  return note;
}

std::optional<ComponentKind> kind_named(std::string_view name) {
  for (const ComponentKind kind :
       {ComponentKind::kFormat, ComponentKind::kErrorModel, ComponentKind::kMetric,
        ComponentKind::kHeadInit, ComponentKind::kProtection}) {
    if (name == to_string(kind)) return kind;
  }
  return std::nullopt;
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
    case ComponentKind::kProtection:
      return "protection";
  }
  return "?";
}

/// While one stands, this thread makes a component.
class Creation {
 public:
  Creation() { ++depth; }
  ~Creation() { --depth; }
  Creation(const Creation&) = delete;
  Creation& operator=(const Creation&) = delete;
  static bool goes_on() { return depth > 0; }

 private:
  static inline thread_local int depth = 0;
};

/// What one component sees of the host.
class ComponentHost final : public Host {
 public:
  using MakeFormat = std::function<std::unique_ptr<NumberFormat>(Text, View<const Setting>)>;
  ComponentHost(std::string who, MakeFormat make_format)
      : who_(std::move(who)), make_format_(std::move(make_format)) {}

  void log(LogLevel level, Text message) const override {
    const std::string line = who_ + ": " + std::string(message);
    {
      const std::lock_guard lock(mutex_);
      if (!told_.insert(line).second) return;
    }
    level == LogLevel::kWarning ? log_warning(line) : log_info(line);
  }
  NumberFormat* make_format(Text id, View<const Setting> settings) const override {
    if (!Creation::goes_on()) {  // the run has told by then what it depends on
      throw Error(ExitCode::kPlugin, who_ + " asks for format " + in_quotes(std::string(id)) +
                                         place_of_call() +
                                         ": Host::make_format is there during create alone");
    }
    // A format that stands on itself would never be made.
    thread_local int depth = 0;
    struct Deeper {
      Deeper() { ++depth; }
      ~Deeper() { --depth; }
    } const deeper;
    if (depth > 8) throw std::invalid_argument("formats stand on each other without end");
    return make_format_(id, settings).release();
  }
  const void* extension(const char*) const override { return nullptr; }

 private:
  std::string who_;
  MakeFormat make_format_;
  mutable std::mutex mutex_;
  mutable std::set<std::string> told_;
};

struct PluginHost::State {
  std::vector<PluginDescription> plugins;
  std::vector<Entry> entries;
  std::vector<RefusedPlugin> refused;
  bool looks = true;               // see leave_looking()
  std::set<std::string> left_out;  // SHA-256 of files whose notes were refused: told once
  // Ids that refused files offer, which other files have.
  std::map<std::pair<ComponentKind, std::string>, fs::path> shadowed;

  // Components call the host back from any thread: what is known stays where it is, loading and
  // what was made are guarded.
  mutable std::recursive_mutex loading;
  mutable std::mutex mutex;
  mutable std::map<std::size_t, std::set<std::string>> in_use;  // components by plugin
  mutable std::vector<FileInUse> files_in_use;
  mutable std::map<std::string, std::unique_ptr<ComponentHost>> hosts;  // by component
  const ComponentHost& host_of(const PluginHost& host, const std::string& who);

  std::optional<std::size_t> index_of(const fs::path& path, const std::string& sha256) const;
  void load(const PluginHost& host, const fs::path& given);
  void know(const PluginHost& host, const fs::path& given);
  void load_known(const PluginHost& host, std::size_t plugin);
  bool realise(const PluginHost& host, std::size_t plugin);
  std::vector<Entry> run_registration(const PluginHost& host, std::size_t index,
                                      PluginDescription& description);
  void shadow(const std::vector<Entry>& staged, const fs::path& path);
  std::vector<fs::path> libraries_in(const fs::path& folder);

  template <typename Interface>
  std::unique_ptr<Interface> make(const PluginHost& host, const PluginChoice& choice,
                                  Diagnostics& diagnostics);
  std::unique_ptr<NumberFormat> make_inner_format(const PluginHost& host, Text id,
                                                  View<const Setting> settings);
  void note_use(std::size_t plugin, const std::string& name,
                const std::vector<OptionFile>& given) const;
  Entry* find(ComponentKind kind, std::string_view id);
  void report_unknown(ComponentKind kind, const PluginChoice& choice,
                      Diagnostics& diagnostics) const;
};

PluginHost::PluginHost() : state_(std::make_unique<State>()) {}
PluginHost::~PluginHost() = default;

const std::vector<PluginDescription>& PluginHost::plugins() const { return state_->plugins; }
const std::vector<RefusedPlugin>& PluginHost::refused() const { return state_->refused; }

std::vector<ComponentDescription> PluginHost::components() const {
  std::vector<ComponentDescription> usable;
  for (const Entry& entry : state_->entries) {
    const PluginDescription& plugin = state_->plugins[entry.description.plugin];
    if (plugin.state != PluginState::kRefused) usable.push_back(entry.description);
  }
  return usable;
}

/// Of a file that is loaded or known already: by its path, or as a copy of one.
std::optional<std::size_t> PluginHost::State::index_of(const fs::path& path,
                                                       const std::string& sha256) const {
  for (std::size_t i = 0; i < plugins.size(); ++i) {
    if (plugins[i].state == PluginState::kRefused) continue;
    if (plugins[i].path == path || plugins[i].sha256 == sha256) return i;
  }
  return std::nullopt;
}

/// Runs the library's code: what it registers, and what its entry says, into `description`.
std::vector<Entry> PluginHost::State::run_registration(const PluginHost& host, std::size_t index,
                                                       PluginDescription& description) {
  const std::string who = "plugin " + description.path.string();
  const PluginCall here(who.c_str(), "loading");
  const MemoryLimit limit(memory_for(description.path));
  const ProcessState before;
  Library& library = open_library(description.path, description.sha256);
  refuse_replaced_symbols(library, description.path);
  const Plugin& plugin = read_entry(library);
  warn_of_shared_variables(description.path);
  description = described(plugin, description.path, description.sha256);
  if (!comes_with_the_program(description.path)) {
    note_plugin_library(&plugin, "plugin " + description.name);
  }
  StagingRegistrar registrar(host, index, description.group);
  try {
    register_into(registrar, plugin);
    if (looks) put_back(before, who, "while it is loaded");
  } catch (...) {
    shadow(registrar.entries(), description.path);
    throw;
  }
  const bool openmp =
      looks && !comes_with_the_program(description.path) && uses_openmp(description.path);
  if (openmp) note_openmp_plugin(description.name);
  if (!here.left_arithmetic_alone() || (openmp && !put_back_pool())) {
    throw Refusal(
        "it changes how the processor computes (subnormal numbers become 0, or rounding "
        "is another): build it without -ffast-math and -Ofast, where it is linked as well");
  }
  return std::move(registrar.entries());
}

void PluginHost::State::shadow(const std::vector<Entry>& staged, const fs::path& path) {
  for (const Entry& entry : staged) {
    shadowed.emplace(std::pair(entry.description.kind, entry.description.id), path);
  }
}

void PluginHost::State::load(const PluginHost& host, const fs::path& given) {
  refuse_no_file(given);
  PluginDescription description;
  description.path = fs::canonical(given);
  refuse_truncated(description.path);
  description.sha256 = sha256_file(description.path);
  const std::lock_guard lock(loading);
  if (const auto index = index_of(description.path, description.sha256)) {
    return load_known(host, *index);
  }
  std::vector<Entry> staged = run_registration(host, plugins.size(), description);
  plugins.push_back(std::move(description));
  std::move(staged.begin(), staged.end(), std::back_inserter(entries));
}

void PluginHost::State::know(const PluginHost& host, const fs::path& given) {
  refuse_no_file(given);
  const fs::path path = fs::canonical(given);
  refuse_truncated(path);
  std::string sha256 = sha256_file(path);
  const std::lock_guard lock(loading);
  if (index_of(path, sha256) || !left_out.insert(sha256).second) return;
  PluginNote note = complete_note(path);
  PluginDescription description{note.name,          note.version,  note.summary, path,
                                std::move(sha256),  note.group,    note.licence, note.url,
                                note.cite,          note.compiler, note.library, note.sources,
                                PluginState::kKnown};
  check_about(description);
  std::vector<Entry> staged;
  std::vector<std::string> problems;
  for (NotedComponent& component : note.components) {
    const auto kind = kind_named(component.kind);
    if (!kind || !is_snake_case(component.id)) {
      throw Refusal("its note tells of a component that cannot be: " + component.kind + " " +
                    in_quotes(component.id));
    }
    const std::string id = full_id(note.group, component.id);
    staged.push_back({{*kind, id, std::move(component.summary), {}, plugins.size()}, {}, {}});
    if (std::string taken = taken_by(host, *kind, id, plugins.size()); !taken.empty()) {
      problems.push_back(std::move(taken));
    }
  }
  if (staged.empty()) throw Refusal("it registers no component");
  if (!problems.empty()) {
    shadow(staged, path);
    throw Refusal(joined(problems, "; "));
  }
  left_out.erase(description.sha256);
  plugins.push_back(std::move(description));
  std::move(staged.begin(), staged.end(), std::back_inserter(entries));
}

/// Runs a known plugin's code, once. Throws where that is refused, and each time after.
void PluginHost::State::load_known(const PluginHost& host, std::size_t index) {
  const std::lock_guard lock(loading);
  if (plugins[index].state == PluginState::kLoaded) return;
  try {
    PluginDescription description;
    description.path = plugins[index].path;
    description.sha256 = plugins[index].sha256;
    if (sha256_file(description.path) != description.sha256) {
      throw Refusal("it was replaced since its note was read: run the command again");
    }
    std::vector<Entry> loaded = run_registration(host, index, description);
    const auto first = std::find_if(entries.begin(), entries.end(), [&](const Entry& entry) {
      return entry.description.plugin == index;
    });
    const auto count = std::count_if(first, entries.end(), [&](const Entry& entry) {
      return entry.description.plugin == index;
    });
    const auto same = [](const Entry& a, const Entry& b) {
      return a.description.kind == b.description.kind && a.description.id == b.description.id;
    };
    if (description.name != plugins[index].name || description.version != plugins[index].version ||
        !std::equal(first, first + count, loaded.begin(), loaded.end(), same)) {
      throw Refusal("its note tells of another plugin than it is: build it again");
    }
    std::move(loaded.begin(), loaded.end(), first);
    plugins[index].state = PluginState::kLoaded;
  } catch (const std::exception& error) {
    if (plugins[index].state == PluginState::kKnown) {
      refused.push_back({plugins[index].path, error.what()});
    }
    plugins[index].state = PluginState::kRefused;
    throw;
  }
}

bool PluginHost::State::realise(const PluginHost& host, std::size_t plugin) {
  try {
    load_known(host, plugin);
    return true;
  } catch (const std::exception&) {  // told of where the component is unknown
    return false;
  }
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

void PluginHost::know(const fs::path& path) {
  try {
    state_->know(*this, path);
  } catch (const std::exception& error) {
    state_->refused.push_back({path, error.what()});
  }
}

void PluginHost::load_folder(const fs::path& folder) {
  for (const auto& file : state_->libraries_in(folder)) try_load(file);
}

void PluginHost::know_folder(const fs::path& folder) {
  for (const auto& file : state_->libraries_in(folder)) {
    if (!comes_with_the_program(file)) know(file);  // those are loaded, see load_own_plugins()
  }
}

/// In name order; of a folder that cannot be read, none.
std::vector<fs::path> PluginHost::State::libraries_in(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> files;
  if (!fs::is_directory(folder, error)) return files;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() == ".so") files.push_back(entry->path());
  }
  if (error) refused.push_back({folder, "the folder cannot be read: " + error.message()});
  std::sort(files.begin(), files.end());
  return files;
}

Entry* PluginHost::State::find(ComponentKind kind, std::string_view id) {
  const std::lock_guard lock(loading);
  Entry* found = nullptr;
  bool several = false;
  for (Entry& entry : entries) {
    if (entry.description.kind != kind) continue;
    if (plugins[entry.description.plugin].state == PluginState::kRefused) continue;
    if (entry.description.id == id) return &entry;
    if (without_group(entry.description.id) != id) continue;
    several |= found != nullptr;
    found = &entry;
  }
  return several ? nullptr : found;
}

const ComponentDescription* PluginHost::known(ComponentKind kind, std::string_view id) const {
  const Entry* entry = state_->find(kind, id);
  return entry == nullptr ? nullptr : &entry->description;
}

const ComponentDescription* PluginHost::find(ComponentKind kind, std::string_view id) const {
  const Entry* entry = state_->find(kind, id);
  if (entry == nullptr || !state_->realise(*this, entry->description.plugin)) return nullptr;
  return &entry->description;
}

void PluginHost::State::report_unknown(ComponentKind kind, const PluginChoice& choice,
                                       Diagnostics& diagnostics) const {
  std::vector<std::string> known, meant;
  for (const auto& entry : entries) {
    const ComponentDescription& component = entry.description;
    if (component.kind != kind) continue;
    if (plugins[component.plugin].state == PluginState::kRefused) continue;
    known.push_back(component.id);
    if (without_group(component.id) == choice.id) meant.push_back(component.id);
  }
  if (!meant.empty()) {
    diagnostics.add(choice.where, component_name(kind, choice.id) + " is the short name of several",
                    "say which: " + joined(meant));
    return;
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
std::unique_ptr<Interface> PluginHost::State::make(const PluginHost& host,
                                                   const PluginChoice& choice,
                                                   Diagnostics& diagnostics) {
  constexpr ComponentKind kKind = kind_of<Interface>();
  const Entry* entry = find(kKind, choice.id);
  if (entry == nullptr || !realise(host, entry->description.plugin)) {
    report_unknown(kKind, choice, diagnostics);
    return nullptr;
  }
  const std::string& id = entry->description.id;
  const std::string name = component_name(kKind, id);
  if (const auto other = shadowed.find({kKind, id}); other != shadowed.end()) {
    log_warning(name + " is that of " + plugins[entry->description.plugin].path.string() + "; " +
                other->second.string() + " offers one, too, and is left out");
  }
  const std::string who = name + " of plugin " + plugins[entry->description.plugin].name;
  const auto options =
      CheckedOptions::check(choice, entry->options, name, host_of(host, who), diagnostics);
  if (!options) return nullptr;
  note_use(entry->description.plugin, name, options->files());

  const auto& component = std::get<Component<Interface>>(entry->component);
  std::unique_ptr<Interface> made;
  bool contradictory = false;
  const ProcessState before;
  call_plugin(who, "create", [&] {
    const MemoryLimit limit(memory_for(plugins[entry->description.plugin].path));
    const Creation creation;
    try {
      made.reset(component.create(*options));
    } catch (const std::invalid_argument& complaint) {
      diagnostics.add(complaint_place(choice, complaint.what()), name + ": " + complaint.what());
      contradictory = true;
    }
  });
  if (looks) put_back(before, who, "in create");
  if (contradictory) return nullptr;
  if (made == nullptr) throw Error(ExitCode::kPlugin, who + " made nothing in create");
  if constexpr (kKind == ComponentKind::kErrorModel || kKind == ComponentKind::kHeadInit) {
    return guard(std::move(made), who);
  } else {
    return guard(std::move(made), who, looks);
  }
}

void PluginHost::leave_looking() { state_->looks = false; }

void PluginHost::State::note_use(std::size_t plugin, const std::string& name,
                                 const std::vector<OptionFile>& given) const {
  const std::lock_guard lock(mutex);
  in_use[plugin].insert(name);
  for (const OptionFile& file : given) files_in_use.push_back({name, file});
}

const ComponentHost& PluginHost::State::host_of(const PluginHost& host, const std::string& who) {
  const std::lock_guard lock(mutex);
  auto& known = hosts[who];
  if (!known) {
    known =
        std::make_unique<ComponentHost>(who, [this, &host](Text id, View<const Setting> settings) {
          return make_inner_format(host, id, settings);
        });
  }
  return *known;
}

std::unique_ptr<NumberFormat> PluginHost::State::make_inner_format(const PluginHost& host, Text id,
                                                                   View<const Setting> settings) {
  PluginChoice choice;
  choice.id = std::string(id);
  const Entry* entry = find(ComponentKind::kFormat, choice.id);
  if (entry != nullptr && !realise(host, entry->description.plugin)) entry = nullptr;
  for (const Setting& setting : settings) {
    GivenOption option{std::string(setting.name), std::string(setting.value), {}, {}};
    if (entry != nullptr) {
      for (const DeclaredOption& declared : entry->options) {
        if (declared.spec->name != option.name) continue;
        if (auto value = parse_declared(*declared.spec, setting.value)) option.value = *value;
      }
    }
    choice.options.push_back(std::move(option));
  }
  Diagnostics diagnostics("", "");
  auto made = make<NumberFormat>(host, choice, diagnostics);
  if (!made) throw std::invalid_argument(diagnostics.messages());
  return made;
}

std::vector<std::size_t> PluginHost::plugins_in_use() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<std::size_t> plugins;
  for (const auto& [plugin, uses] : state_->in_use) plugins.push_back(plugin);
  return plugins;
}

std::vector<std::string> PluginHost::uses_of(std::size_t plugin) const {
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->in_use.find(plugin);
  if (found == state_->in_use.end()) return {};
  return {found->second.begin(), found->second.end()};
}

std::vector<FileInUse> PluginHost::files_in_use() const {
  const std::lock_guard lock(state_->mutex);
  return state_->files_in_use;
}

std::unique_ptr<NumberFormat> PluginHost::make_format(const PluginChoice& choice,
                                                      Diagnostics& diagnostics) const {
  return state_->make<NumberFormat>(*this, choice, diagnostics);
}

std::unique_ptr<ErrorModel> PluginHost::make_error_model(const PluginChoice& choice,
                                                         Diagnostics& diagnostics) const {
  return state_->make<ErrorModel>(*this, choice, diagnostics);
}

std::unique_ptr<Metric> PluginHost::make_metric(const PluginChoice& choice,
                                                Diagnostics& diagnostics) const {
  return state_->make<Metric>(*this, choice, diagnostics);
}

std::unique_ptr<HeadInit> PluginHost::make_head_init(const PluginChoice& choice,
                                                     Diagnostics& diagnostics) const {
  return state_->make<HeadInit>(*this, choice, diagnostics);
}

std::unique_ptr<Protection> PluginHost::make_protection(const PluginChoice& choice,
                                                        Diagnostics& diagnostics) const {
  return state_->make<Protection>(*this, choice, diagnostics);
}

fs::path default_plugin_folder() {
  return boost::dll::program_location().parent_path().parent_path() / BITFALL_PLUGIN_DIR;
}

bool comes_with_the_program(const fs::path& plugin) {
  static const std::vector<std::string> kOwn = split(BITFALL_OWN_PLUGINS, ':');
  std::error_code ignored;
  return plugin.extension() == ".so" &&
         std::count(kOwn.begin(), kOwn.end(), plugin.stem().string()) > 0 &&
         fs::equivalent(plugin.parent_path(), default_plugin_folder(), ignored);
}

std::vector<fs::path> plugin_search_path() {
  const char* variable = std::getenv("BITFALL_PLUGIN_PATH");
  std::vector<fs::path> places;
  for (const std::string& place : split(variable == nullptr ? "" : variable, ':')) {
    if (!place.empty()) places.emplace_back(place);
  }
  return places;
}

fs::path user_folder(const char* variable, const char* below_home) {
  const char* named = std::getenv(variable);
  const char* home = std::getenv("HOME");
  if (named != nullptr && *named == '/') return fs::path(named) / "bitfall";
  // As of nobody's: what has no home finds nothing there, and may write nothing.
  return fs::path(home == nullptr || *home != '/' ? "/" : home) / below_home / "bitfall";
}

fs::path installed_pack_folder() {
  return user_folder("XDG_DATA_HOME", ".local/share") / "plugins";
}

std::vector<fs::path> installed_plugin_folders() {
  std::vector<fs::path> folders;
  std::error_code error;
  for (fs::directory_iterator entry(installed_pack_folder(), error), end; !error && entry != end;
       entry.increment(error)) {
    const bool hidden = entry->path().filename().string().starts_with('.');
    std::error_code ignored;
    if (!hidden && entry->is_directory(ignored)) folders.push_back(entry->path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

void load_own_plugins(PluginHost& host) {
  const fs::path folder = default_plugin_folder();
  std::vector<std::string> names = split(BITFALL_OWN_PLUGINS, ':');
  std::sort(names.begin(), names.end());
  for (const std::string& name : names) {
    const fs::path file = folder / (name + ".so");
    std::error_code ignored;
    if (fs::exists(fs::symlink_status(file, ignored))) host.try_load(file);
  }
}

void load_plugins(PluginHost& host, std::span<const fs::path> extra) {
  keep_results_apart();  // of what plugins print
  load_own_plugins(host);
  std::vector<fs::path> places;
  std::error_code unreadable;  // told of where the file or folder is opened
  for (const auto& path : extra) {
    if (fs::is_directory(path, unreadable)) {
      places.push_back(path);
    } else {
      host.load(path);
    }
  }
  // What is named ahead of what only lies somewhere, so that it wins where both have an id.
  for (const auto& more :
       {plugin_search_path(), installed_plugin_folders(), {default_plugin_folder()}}) {
    places.insert(places.end(), more.begin(), more.end());
  }
  for (const auto& place : places) {
    if (fs::is_directory(place, unreadable)) {
      host.know_folder(place);
    } else {
      host.know(place);
    }
  }
}

}  // namespace bitfall
