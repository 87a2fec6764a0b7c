// bitfall plugin pack: a plugin's folder as one file that others add.
#include <CLI/CLI.hpp>
#include <algorithm>

#include "about_checks.h"
#include "bitfall/plugin.h"
#include "error.h"
#include "log.h"
#include "opened_pack.h"
#include "output.h"
#include "pack_archive.h"
#include "pack_trial.h"
#include "plugin_commands.h"
#include "sha256.h"
#include "stop.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPackHelp =
    R"(The folder is one that `bitfall plugin new` writes: *.cc files (also in src/) that make one plugin, a campaign
test.toml that uses build/NAME.so, its network and images. Left out: build/, hidden files, *.so, *.o, packs.
The plugin is built from a copy, checked, and its campaign is run: what that gives goes into the pack, and
`bitfall plugin add` compares. To sign it: minisign -Sm PACK, which writes PACK.minisig beside it.

Examples:
  bitfall plugin pack nf4
  bitfall plugin pack my_head --prepare 'head attach network/model.pt --init my_head --plugin build/my_head.so -o build/head.pt')";

class PluginPackCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("pack", "a plugin's folder as one file for others");
    app->footer(kPackHelp);
    app->add_option("folder", folder_, "sources, test.toml, README.md")->required();
    app->add_option("-o,--output", output_, "the pack (default: NAME-VERSION.bfp)");
    app->add_option("--prepare", prepare_,
                    "a command of bitfall, without its first word, ahead of the test campaign; may "
                    "be repeated (default: of a head initialiser, head attach to network/model.pt "
                    "as build/head.pt)")
        ->allow_extra_args(false);
    return app;
  }
  bool stoppable() const override { return true; }
  int run() override;

 private:
  std::vector<std::string> gather(const fs::path& to) const;
  std::vector<std::vector<std::string>> prepared(const PackManifest& manifest,
                                                 const fs::path& copy) const;

  fs::path folder_, output_;
  std::vector<std::string> prepare_;
};

bool left_out(const fs::path& name) {
  const std::string text = name.filename().string();
  for (const char* ending : {".so", ".o", ".bfp", ".minisig"}) {
    if (text.ends_with(ending)) return true;
  }
  return text.starts_with('.') || text == "__pycache__" || name == "build" || name == "tmp" ||
         name == kManifest || name == kExpected || name == kSums;
}

/// Copies what goes into the pack; its names, sorted.
std::vector<std::string> PluginPackCommand::gather(const fs::path& to) const {
  if (!fs::is_directory(folder_)) {
    throw Error(ExitCode::kInput, folder_.string() + ": there is no such folder");
  }
  const ArchiveLimits limits;
  std::vector<std::string> files;
  std::uintmax_t bytes = 0;
  for (fs::recursive_directory_iterator entry(folder_), end; entry != end; ++entry) {
    const fs::path name = entry->path().lexically_relative(folder_);
    if (left_out(name)) {
      if (entry->is_directory()) entry.disable_recursion_pending();
      continue;
    }
    if (entry->is_symlink() || (!entry->is_regular_file() && !entry->is_directory())) {
      throw Error(ExitCode::kInput, entry->path().string() +
                                        ": a pack holds plain files alone; put the file itself "
                                        "there, or give it a name that begins with a dot");
    }
    if (entry->is_directory()) continue;
    if (const std::string problem = problem_of_name(name.string()); !problem.empty()) {
      throw Error(ExitCode::kInput, folder_.string() + ": holds " + problem + "; a pack may not");
    }
    files.push_back(name.string());
    bytes += entry->file_size();
    if (std::ssize(files) > limits.files || bytes > static_cast<std::uintmax_t>(limits.bytes)) {
      throw Error(ExitCode::kInput, folder_.string() + ": holds more than a pack may: " +
                                        std::to_string(limits.files) + " files, " +
                                        std::to_string(limits.bytes >> 20) + " MiB");
    }
    fs::create_directories((to / name).parent_path());
    fs::copy_file(entry->path(), to / name);
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool is_source(const fs::path& name) {
  const fs::path folder = name.parent_path();
  return (folder.empty() || folder == "src") && is_source_name(name);
}

std::vector<std::vector<std::string>> PluginPackCommand::prepared(const PackManifest& manifest,
                                                                  const fs::path& copy) const {
  std::vector<std::vector<std::string>> commands;
  for (const std::string& line : prepare_) {
    std::vector<std::string> words;
    for (std::string& word : split(line, ' ')) {
      if (!word.empty()) words.push_back(std::move(word));
    }
    if (!words.empty()) commands.push_back(std::move(words));
  }
  if (!commands.empty() || !fs::is_regular_file(copy / "network/model.pt")) return commands;
  for (const NotedComponent& component : manifest.components) {
    if (component.kind != "head_init") continue;
    const std::string id = full_id(manifest.group, component.id);
    return {{"head", "attach", "network/model.pt", "--init", id, "--plugin", manifest.library(),
             "-o", "build/head.pt"}};
  }
  return commands;
}

int PluginPackCommand::run() {
  const TemporaryFolder copy;
  std::vector<std::string> files = gather(copy.path());
  PackManifest manifest;
  std::copy_if(files.begin(), files.end(), std::back_inserter(manifest.sources), is_source);
  if (manifest.sources.empty()) {
    throw Error(ExitCode::kInput, folder_.string() + ": holds no *.cc, there or in src/");
  }
  if (!fs::is_regular_file(copy.path() / "test.toml")) {
    throw Error(ExitCode::kInput,
                folder_.string() + ": holds no test.toml, a small campaign that uses the plugin");
  }
  const Sandbox sandbox(copy.path(), true, stop_requested);
  log_info("building it");
  build_plugin(manifest, copy.path(), "build/first.so", sandbox);
  const PluginNote note = built_note(copy.path() / "build/first.so");
  manifest.name = note.name;
  manifest.version = note.version;
  manifest.summary = note.summary;
  manifest.group = note.group;
  manifest.licence = note.licence;
  manifest.url = note.url;
  manifest.cite = note.cite;
  manifest.abi = note.abi;
  manifest.components = note.components;
  if (note.licence.empty()) {
    log_warning("it tells no licence (About::licence): without one nobody may use or share it");
  } else if (const std::string problem = licence_problem(note.licence); !problem.empty()) {
    log_warning(problem);
  }
  require_plain_names(manifest, folder_);
  manifest.prepare = prepared(manifest, copy.path());
  fs::rename(copy.path() / "build/first.so", copy.path() / manifest.library());
  const Expectation got =
      try_plugin(manifest, copy.path(), sandbox, [](const std::string& step) { log_info(step); });
  write_manifest(manifest, copy.path());
  write_expectation(got, copy.path());
  files.insert(files.begin(), {kManifest, kExpected});
  write_sums(copy.path(), files);
  files.insert(files.begin(), kSums);
  if (output_.empty()) output_ = manifest.name + "-" + manifest.version + ".bfp";
  write_archive(output_, copy.path(), files);
  print_result(
      "%s: %zu files, SHA-256 %s\nits test campaign gave digest %s in %lld trials\nnext: minisign "
      "-Sm %s\n",
      output_.c_str(), files.size(), sha256_file(output_).c_str(), got.digest.substr(0, 16).c_str(),
      static_cast<long long>(got.trials), shell_word(output_.string()).c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> plugin_pack_command() { return std::make_unique<PluginPackCommand>(); }

}  // namespace bitfall
