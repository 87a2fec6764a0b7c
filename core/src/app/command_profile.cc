// bitfall profile: how large the values of networks are.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <utility>

#include "all_commands.h"
#include "error.h"
#include "html_page.h"
#include "magnitudes.h"
#include "network_with_data.h"
#include "output.h"
#include "profile_page.h"
#include "progress.h"
#include "stop.h"

namespace bitfall {
namespace {

constexpr const char* kProfileHelp =
    R"(Each network runs its images once, without a fault and without a number format. A run directory and
a campaign file bring their images along; a model needs --data.

Examples:
  bitfall profile runs/baseline runs/text_guided
  bitfall profile resnet50.pt guided.pt --data campaign.toml --limit 200 --html figure3.html)";

class ProfileCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand(
        "profile", "largest and mean absolute value of each site, networks side by side");
    app->footer(kProfileHelp);
    app->add_option("networks", networks_, "run directories, campaign files (.toml) or models")
        ->required();
    app->add_option("--data", data_,
                    "images: a campaign file or run directory, whose [data] is taken, or a folder "
                    "with one folder a class");
    app->add_option("--limit", limit_, "number of images, taken evenly from the classes")
        ->check(CLI::Range(std::int64_t{1}, std::int64_t{2147483647}));
    app->add_option("--label", labels_,
                    "a network's name, in the order of the networks; may be repeated")
        ->allow_extra_args(false);
    app->add_option("--operations", operations_,
                    "kinds of operation, comma-separated, or * (default conv,linear)");
    app->add_flag("--weights", weights_, "parameters too");
    app->add_option("--html", html_, "write a page with charts");
    auto* json = app->add_flag("--json", json_, "JSON on stdout");
    app->add_flag("--charts", charts_,
                  "the page's Vega-Lite charts as JSON on stdout; write nothing")
        ->excludes(json);
    return app;
  }
  int run() override;
  bool stoppable() const override { return true; }

 private:
  std::vector<std::int32_t> chosen(const Model& model) const;
  std::string label(std::size_t network, const std::string& known,
                    const std::vector<ProfiledNetwork>& before) const;

  std::vector<std::filesystem::path> networks_;
  std::filesystem::path data_;
  std::int64_t limit_ = 0;
  std::vector<std::string> labels_;
  std::string operations_ = "conv,linear";
  bool weights_ = false;
  std::filesystem::path html_;
  bool json_ = false;
  bool charts_ = false;
};

std::vector<std::int32_t> ProfileCommand::chosen(const Model& model) const {
  SiteSelection entry;
  entry.operations.clear();
  std::string kind;
  for (const char c : operations_ + ",") {
    if (c != ',') {
      kind += c;
    } else if (!kind.empty()) {
      entry.operations.push_back(std::exchange(kind, ""));
    }
  }
  entry.section = "--operations";
  Diagnostics diagnostics("--operations", "");
  std::vector<std::int32_t> sites = select_sites(model.sites(), entry, diagnostics);
  diagnostics.throw_if_any();
  for (std::size_t i = 0; i < model.sites().size() && weights_; ++i) {
    const Site& site = model.sites()[i];
    if (site.target == Target::kWeight && site.refusal.empty()) {
      sites.push_back(static_cast<std::int32_t>(i));
    }
  }
  return sites;
}

std::string ProfileCommand::label(std::size_t network, const std::string& known,
                                  const std::vector<ProfiledNetwork>& before) const {
  const std::string wanted = network < labels_.size() ? labels_[network] : known;
  std::string unique = wanted;
  const auto taken = [&] {
    return std::any_of(before.begin(), before.end(),
                       [&](const ProfiledNetwork& other) { return other.label == unique; });
  };
  for (int n = 2; taken(); ++n) unique = wanted + " (" + std::to_string(n) + ")";
  return unique;
}

int ProfileCommand::run() {
  std::vector<ProfiledNetwork> profiled;
  for (std::size_t n = 0; n < networks_.size(); ++n) {
    const NetworkWithData network = open_network_with_data({networks_[n], data_, limit_});
    const Model& model = *network.model;
    const std::vector<std::int32_t> sites = chosen(model);
    ProfiledNetwork& result =
        profiled.emplace_back(ProfiledNetwork{label(n, network.label, profiled),
                                              network.model_path.string(),
                                              network.dataset->size(),
                                              {}});
    Progress progress(result.label + ": images", network.dataset->size(), 0);
    const auto magnitudes =
        measure_magnitudes(model, *network.dataset, sites, stop_requested,
                           [&](std::int64_t images) { progress.update(images); });
    progress.finish();
    if (!magnitudes) return static_cast<int>(ExitCode::kInterrupted);
    for (const SiteMagnitude& of : *magnitudes) {
      const Site& site = model.sites()[static_cast<std::size_t>(of.site)];
      result.sites.push_back({site.name, to_string(site.target), site.operation, of.maximum,
                              of.mean, of.values, of.nonfinite});
    }
  }
  if (charts_) {
    print_result("%s\n", profile_charts_json(profiled).c_str());
    return 0;
  }
  if (!html_.empty()) write_profile_html(profiled, vega_bundle(), html_);
  print_result("%s", json_ ? profile_json(profiled).c_str() : profile_text(profiled).c_str());
  if (!html_.empty())
    std::fprintf(json_ ? stderr : result_stream(), "\nprofile: %s\n", html_.c_str());
  return 0;
}

}  // namespace

std::unique_ptr<Command> profile_command() { return std::make_unique<ProfileCommand>(); }

}  // namespace bitfall
