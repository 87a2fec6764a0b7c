// bitfall plugin add: builds, checks and tries a pack's plugin, and installs it for this user.
#include <CLI/CLI.hpp>

#include "error.h"
#include "log.h"
#include "opened_pack.h"
#include "output.h"
#include "pack_store.h"
#include "pack_trial.h"
#include "plugin_commands.h"
#include "plugin_host.h"
#include "sha256.h"
#include "stop.h"
#include "words.h"

namespace bitfall {
namespace {

constexpr const char* kAddHelp =
    R"(Sums and signature are looked at; then the plugin is built from its sources, passes `bitfall plugin check`, and its
test campaign gives what it gave its authors. All that happens in bubblewrap: without network, with nothing to
write but a temporary folder. Then it is installed under $XDG_DATA_HOME/bitfall/plugins (~/.local/share), where every
campaign finds it; other versions of it are removed. A key that has signed is remembered for the packs that follow.

Examples:
  bitfall plugin add nf4-1.0.bfp
  bitfall plugin add nf4-1.0.bfp --key authors.pub)";

class PluginAddCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("add", "build, try and install a pack");
    app->footer(kAddHelp);
    app->add_option("pack", pack_, "the file; its signature is PACK.minisig beside it")->required();
    app->add_option("--key", request_.key,
                    "minisign's public key, or its file (default: that of earlier packs)");
    app->add_flag("--unsigned", request_.unsigned_,
                  "takes a signature that is missing, or of a key that is not known, for none");
    app->add_flag("--trust", trust_, "without bubblewrap, build and run its code all the same");
    return app;
  }
  bool stoppable() const override { return true; }
  int run() override;

 private:
  std::filesystem::path pack_;
  SignatureRequest request_;
  bool trust_ = false;
};

void require_as_told(const PackManifest& manifest, const PluginNote& note) {
  if (note.name == manifest.name && note.version == manifest.version &&
      note.group == manifest.group && note.components == manifest.components) {
    return;
  }
  const auto told = [](const auto& of) {
    std::vector<std::string> parts{full_id(of.group, of.name) + " " + of.version};
    for (const NotedComponent& component : of.components) {
      parts.push_back(component.kind + " " + component.id);
    }
    return printable(joined(parts));
  };
  const bool summaries = told(note) == told(manifest);
  throw Error(ExitCode::kPlugin, "its sources make " + told(note) + ", and the pack tells of " +
                                     (summaries ? "other summaries" : told(manifest)));
}

/// Throws where another plugin has one of its ids, which would then be nobody's.
void require_free(const PackManifest& manifest, const std::filesystem::path& pack) {
  PluginHost host;
  load_plugins(host, {});
  for (const ComponentDescription& known : host.components()) {
    for (const NotedComponent& component : manifest.components) {
      const std::string id = full_id(manifest.group, component.id);
      const PluginDescription& owner = host.plugins()[known.plugin];
      if (component.kind != to_string(known.kind) || id != known.id) continue;
      const bool same = owner.name == manifest.name && owner.group == manifest.group;
      if (same && !comes_with_the_program(owner.path)) continue;
      throw Error(ExitCode::kPlugin, pack.string() + ": " + component.kind + " " + in_quotes(id) +
                                         " is that of plugin " + owner.name + " (" +
                                         owner.path.string() + ") already");
    }
  }
}

/// Throws where the pack's code, which may write its folder, has changed what was looked at before
/// it ran. `sums`, `library`: the SHA-256 of the list of sums and of the library then.
void require_unchanged(const OpenedPack& opened, const std::filesystem::path& pack,
                       const std::string& sums, const std::string& library) {
  const std::filesystem::path& folder = opened.folder.path();
  const std::string changes = "it changes its own files when it runs";
  if (sha256_file(folder / kSums) != sums ||
      sha256_file(folder / opened.manifest.library()) != library) {
    throw Error(ExitCode::kPlugin, changes);
  }
  try {
    check_sums(folder, opened.files, pack);
  } catch (const Error& error) {
    throw Error(ExitCode::kPlugin, changes + ": " + error.what());
  }
}

int PluginAddCommand::run() {
  OpenedPack opened;
  open_pack(pack_, request_, opened);
  print_result("%s", pack_text(opened).c_str());
  flush_results();
  const PackManifest& manifest = opened.manifest;
  require_free(manifest, pack_);
  const std::filesystem::path& folder = opened.folder.path();
  const Expectation expected = read_expectation(folder, pack_);
  const Sandbox sandbox(folder, trust_, stop_requested);
  try {
    const std::string sums = sha256_file(folder / kSums);
    log_info("building it");
    build_plugin(manifest, folder, manifest.library(), sandbox);
    const std::string library = sha256_file(folder / manifest.library());
    require_as_told(manifest, built_note(folder / manifest.library()));
    const Expectation got =
        try_plugin(manifest, folder, sandbox, [](const std::string& step) { log_info(step); });
    require_unchanged(opened, pack_, sums, library);
    print_result("  %s\n", agreement(expected, got).c_str());
  } catch (const Error& error) {
    throw Error(error.code(), pack_.string() + ": not added: " + error.what());
  } catch (const std::filesystem::filesystem_error& error) {  // a file in the place of a folder
    throw Error(ExitCode::kPlugin, pack_.string() + ": not added: " + error.what());
  }
  const auto place = install_pack(manifest, folder, opened.files, opened.sha256, opened.signed_by);
  if (!opened.key_text.empty()) remember_key(manifest.id(), parse_minisign_key(opened.key_text));
  print_result("added to %s\n", place.c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> plugin_add_command() { return std::make_unique<PluginAddCommand>(); }

}  // namespace bitfall
