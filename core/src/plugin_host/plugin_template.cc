#include "plugin_template.h"

#include <algorithm>
#include <array>
#include <boost/dll/runtime_symbol_info.hpp>
#include <cctype>
#include <string_view>

#include "atomic_file.h"
#include "error.h"
#include "plugin_options.h"
#include "text_file.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

/// An example's id, as in its sources; its class is the id in PascalCase.
struct Example {
  ComponentKind kind;
  const char* id;
};
constexpr std::array kExamples = {
    Example{ComponentKind::kFormat, "log8"}, Example{ComponentKind::kErrorModel, "channel_flip"},
    Example{ComponentKind::kMetric, "top_k"}, Example{ComponentKind::kHeadInit, "orthogonal"},
    Example{ComponentKind::kProtection, "clamp"}};

/// Where the program is installed, or built.
fs::path prefix() { return program_path().parent_path().parent_path(); }

std::string pascal_case(const std::string& snake) {
  std::string text;
  bool upper = true;
  for (const char c : snake) {
    if (c == '_') {
      upper = true;
      continue;
    }
    text += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    upper = false;
  }
  return text;
}

bool in_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

/// A class that no header of the SDK has: "Nf4", but "MetricPlugin" for a plugin called metric.
std::string class_name(const std::string& id) {
  const std::string name = pascal_case(id);
  for (const auto& header : fs::directory_iterator(prefix() / "include/bitfall")) {
    if (header.path().extension() != ".h") continue;
    const std::string text = read_text(header.path());
    for (std::size_t at = 0; (at = text.find(name, at)) != text.npos; at += name.size()) {
      const bool ahead = at > 0 && in_name(text[at - 1]);
      if (!ahead && !in_name(text[at + name.size()])) return name + "Plugin";
    }
  }
  return name;
}

/// Every `from` that is not part of a longer name. A letter or '_' ahead or behind makes one, so
/// that `top_k` does not change `top_keeper`; but kTopK is changed.
std::string renamed(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos;) {
    const std::size_t end = at + from.size();
    const bool constant = at > 0 && text[at - 1] == 'k' && (at < 2 || !in_name(text[at - 2]));
    const bool inside =
        (at > 0 && in_name(text[at - 1]) && !constant) || (end < text.size() && in_name(text[end]));
    if (!inside) text.replace(at, from.size(), to);
    at += inside ? from.size() : to.size();
  }
  return text;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != text.npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
}

/// The example's file as the new plugin's.
std::string adapted(std::string text, const fs::path& file, const std::string& id,
                    const NewPlugin& plugin) {
  replace_all(text, "../network/", "network/");
  if (!plugin.group.empty()) {
    const std::string full = plugin.group + "/" + plugin.name;
    replace_all(text, ".group = nullptr", ".group = \"" + plugin.group + "\"");
    if (file.extension() == ".toml") replace_all(text, "\"" + id + "\"", "\"" + full + "\"");
    for (const char* before : {"--init ", "plugin info "}) {
      replace_all(text, before + id + " ", before + full + " ");
    }
  }
  text = renamed(std::move(text), id, plugin.name);
  return renamed(std::move(text), pascal_case(id), class_name(plugin.name));
}

/// The first block of commands of the README.
std::string commands_of(const std::string& readme) {
  constexpr std::string_view kOpening = "```sh\n";
  const auto start = readme.find(kOpening) + kOpening.size();
  return readme.substr(start, readme.find("```", start) - start);
}

void require_usable(const NewPlugin& plugin, const PluginHost& host) {
  if (!is_snake_case(plugin.name)) {
    throw Error(ExitCode::kUsage, "the name " + in_quotes(plugin.name) +
                                      " is an id: small letters, digits and '_', a letter first");
  }
  constexpr std::array<std::string_view, 8> kTargets = {
      "all", "clean", "edit_cache", "help", "install", "package", "rebuild_cache", "test"};
  if (std::count(kTargets.begin(), kTargets.end(), plugin.name) > 0) {
    throw Error(ExitCode::kUsage, "the name " + in_quotes(plugin.name) +
                                      " is one of CMake's own targets: choose another");
  }
  if (!plugin.group.empty() && !is_snake_case(plugin.group)) {
    throw Error(ExitCode::kUsage, "the group " + in_quotes(plugin.group) +
                                      " stands in front of ids: small letters, digits and '_', a "
                                      "letter first");
  }
  constexpr std::size_t kMost = 64;  // as of a pack
  if (plugin.name.size() > kMost || plugin.group.size() > kMost) {
    throw Error(ExitCode::kUsage,
                "a plugin's name and group have at most " + std::to_string(kMost) + " letters");
  }
  const std::string id = full_id(plugin.group, plugin.name);
  const ComponentDescription* known = host.known(plugin.kind, id);
  if (known != nullptr && known->id == id) {
    throw Error(ExitCode::kUsage, "there is a " + std::string(to_string(plugin.kind)) + " " +
                                      in_quotes(id) + " of plugin " +
                                      host.plugins()[known->plugin].name +
                                      " already: choose another name, or --group");
  }
  std::error_code ignored;
  if (fs::exists(fs::symlink_status(plugin.folder, ignored))) {
    throw Error(ExitCode::kUsage, plugin.folder.string() +
                                      " is there already; nothing was written: choose another "
                                      "name, or --dir");
  }
}

}  // namespace

fs::path program_path() { return boost::dll::program_location(); }

std::vector<std::string> plugin_flags() {
  const fs::path include = prefix() / "include";
  if (!fs::is_regular_file(include / "bitfall/plugin.h")) {
    throw Error(ExitCode::kInput, include.string() +
                                      ": the headers of the SDK are not there; install the program "
                                      "whole (cmake --install)");
  }
  return {"-std=c++20",
          "-O2",
          "-fPIC",
          "-shared",
          "-fvisibility=hidden",
          "-ffp-contract=off",
          "-fno-fast-math",
          "-Wl,-z,defs",
          "-Wl,--exclude-libs,ALL",
          "-Wl,-Bsymbolic",
          "-I" + include.string()};
}

ComponentKind kind_of_name(const std::string& name) {
  std::string wanted = name == "head" ? "head_init" : name;
  std::replace(wanted.begin(), wanted.end(), '-', '_');
  std::vector<std::string> known;
  for (const Example& example : kExamples) {
    if (wanted == to_string(example.kind)) return example.kind;
    known.emplace_back(to_string(example.kind));
  }
  const std::string near = did_you_mean(wanted, known);
  throw Error(ExitCode::kUsage, "there is no kind " + in_quotes(name) +
                                    " of component; kinds are " + joined(known) +
                                    (near.empty() ? "" : "; " + near));
}

std::string write_new_plugin(const NewPlugin& plugin, const PluginHost& host) {
  require_usable(plugin, host);
  const std::string id = std::find_if(kExamples.begin(), kExamples.end(), [&](const Example& e) {
                           return e.kind == plugin.kind;
                         })->id;
  const fs::path examples = prefix() / BITFALL_EXAMPLES_DIR;
  const fs::path from = examples / to_string(plugin.kind);
  if (!fs::is_directory(from)) {
    throw Error(ExitCode::kInput, from.string() +
                                      ": the examples are not there; install the "
                                      "program whole (cmake --install)");
  }
  const std::array files = {std::string("CMakeLists.txt"), id + ".cc", std::string("test.toml"),
                            std::string("README.md")};
  std::vector<std::string> texts;
  for (const std::string& file : files) {
    texts.push_back(adapted(read_text(from / file), file, id, plugin));
  }
  try {
    fs::create_directories(plugin.folder / "network");
    for (const auto& entry : fs::directory_iterator(examples / "network")) {
      if (!entry.is_regular_file()) continue;  // pip compiles the scripts into a folder beside them
      fs::copy_file(entry.path(), plugin.folder / "network" / entry.path().filename());
    }
  } catch (const fs::filesystem_error& error) {
    throw Error(ExitCode::kFailure, plugin.folder.string() + ": " + error.code().message());
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string name = i == 1 ? plugin.name + ".cc" : files[i];
    write_file_atomically(plugin.folder / name, texts[i]);
  }
  return commands_of(texts.back());
}

}  // namespace bitfall
