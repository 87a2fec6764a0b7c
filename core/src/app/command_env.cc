// bitfall env: versions and settings, for bug reports.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "all_commands.h"
#include "gpu_facts.h"
#include "json_file.h"
#include "output.h"
#include "plugin_host.h"
#include "torch_runtime.h"

namespace bitfall {
namespace {

class EnvCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("env", "versions and settings, for bug reports");
    app->add_flag("--json", json_, "JSON on stdout");
    return app;
  }
  int run() override;

 private:
  bool json_ = false;
};

int EnvCommand::run() {
  PluginHost host;
  load_plugins(host, {});
  const TorchRuntime& torch = TorchRuntime::get();
  nlohmann::ordered_json facts = {{"bitfall_version", BITFALL_VERSION},
                                  {"plugin_abi", kAbi},
                                  {"torch_version", torch.version()},
                                  {"cpu_capability", torch.cpu()},
                                  {"threads", torch.threads()},
                                  {"cuda", torch.has_cuda()},
                                  {"gpu", nullptr},
                                  {"compiler", __VERSION__},
                                  {"plugin_folder", default_plugin_folder().string()},
                                  {"plugins", host.plugins().size()},
                                  {"plugins_refused", host.refused().size()}};
  if (const auto gpu = gpu_facts("cuda")) {
    facts["gpu"] = {{"name", gpu->name},
                    {"compute_capability", gpu->compute_capability},
                    {"cuda", gpu->cuda},
                    {"cudnn", gpu->cudnn},
                    {"driver", gpu->driver}};
  }
  if (json_) {
    nlohmann::ordered_json document = {{"schema", "bitfall.env/1"}};
    document.update(facts);
    print_result("%s\n", json_text(document).c_str());
    return 0;
  }
  for (const auto& [key, value] : facts.items()) {
    if (value.is_object()) {
      for (const auto& [part, text] : value.items()) {
        print_result("%-16s %s: %s\n", key.c_str(), part.c_str(), text.get<std::string>().c_str());
      }
      continue;
    }
    if (value.is_null()) continue;
    const std::string text = value.is_string() ? value.get<std::string>() : json_text(value, -1);
    print_result("%-16s %s\n", key.c_str(), text.c_str());
  }
  return 0;
}

}  // namespace

std::unique_ptr<Command> env_command() { return std::make_unique<EnvCommand>(); }

}  // namespace bitfall
