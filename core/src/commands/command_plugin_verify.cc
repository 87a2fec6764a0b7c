// bitfall plugin verify: a pack's sums and signature, without running anything of it.
#include <CLI/CLI.hpp>

#include "opened_pack.h"
#include "output.h"
#include "plugin_commands.h"

namespace bitfall {
namespace {

class PluginVerifyCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand(
        "verify", "a pack's sums and signature, and what it holds; runs nothing of it");
    app->footer("Example:\n  bitfall plugin verify nf4-1.0.bfp --key RWQf6LRCGA9i53ml...");
    app->add_option("pack", pack_, "the file; its signature is PACK.minisig beside it")->required();
    app->add_option("--key", request_.key,
                    "minisign's public key, or its file (default: that of earlier packs)");
    app->add_flag("--unsigned", request_.unsigned_,
                  "takes a signature that is missing, or of a key that is not known, for none");
    return app;
  }
  int run() override {
    OpenedPack opened;
    open_pack(pack_, request_, opened);
    print_result("%sall sums are right\n", pack_text(opened).c_str());
    return 0;
  }

 private:
  std::filesystem::path pack_;
  SignatureRequest request_;
};

}  // namespace

std::unique_ptr<Command> plugin_verify_command() { return std::make_unique<PluginVerifyCommand>(); }

}  // namespace bitfall
