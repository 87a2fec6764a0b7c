// bitfall import: a fault list of another tool as one of ours.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "all_commands.h"
#include "atomic_file.h"
#include "error.h"
#include "faults.h"
#include "foreign_faults.h"
#include "json_file.h"
#include "log.h"
#include "network_with_data.h"
#include "numbers.h"
#include "output.h"
#include "text_file.h"
#include "words.h"

namespace bitfall {
namespace {

constexpr const char* kImportHelp =
    R"(Reads, and tells apart by what they hold: PolitO's dnn-benchmarks (CSV Injection,Layer,TensorIndex,Bit),
PyTorchFI (JSON or CSV of what declarations take; xPytorchFI's layer,...,bitmask), PyTorchALFI
(*_fault_locs.bin). Results of FaultForge do not say where faults were; import says so of each run.

Examples:
  bitfall import ResNet20_FL.csv --campaign resnet20.toml -o faults.csv --images 1
  bitfall import run_fault_locs.bin --campaign net.toml --target activation -o faults.csv
  bitfall run resnet20.toml --faults faults.csv           format fp32: bits are those of float32)";

constexpr const char* kLeftOutHeader = "row,reason\n";

bool is_left_out_file(const std::filesystem::path& path) {
  std::string line;
  std::ifstream in(path);
  return std::getline(in, line) && line + "\n" == kLeftOutHeader;
}

class ImportCommand final : public Command {
 public:
  CLI::App* add(CLI::App& parent) override {
    CLI::App* app = parent.add_subcommand("import", "a fault list of another tool, as one of ours");
    app->footer(kImportHelp);
    app->add_option("list", list_, "the other tool's file")->required();
    app->add_option("--campaign", campaign_, "campaign file whose network and images are meant")
        ->required();
    app->add_option("-o,--output", output_, "the fault list (CSV)")->required();
    app->add_option("--images", images_,
                    "images that each fault meets: all, or how many, in turn (default: those that "
                    "the list names, else all)");
    app->add_option(
        "--layer-types", layers_,
        "layers that the tool numbers: conv2d, linear, comma-separated (default conv2d)");
    app->add_option("--target", target_, "of PyTorchALFI: what was hit (rnd_mode)")
        ->check(CLI::IsMember({"activation", "weight"}));
    app->add_flag("--numbers", numbers_, "of PyTorchALFI: rnd_value_type was number, not bitflip");
    app->add_option("--batch", batch_, "of PyTorchALFI: images per batch (ptf_batch_size)")
        ->check(CLI::Range(1, 1 << 20));
    app->add_option("--per-image", per_image_, "of PyTorchALFI: max_faults_per_image")
        ->check(CLI::Range(1, 1 << 20));
    app->add_flag("--json", json_, "JSON on stdout: counts, and each row that was left out");
    return app;
  }
  int run() override;

 private:
  ForeignOptions options() const;
  std::int64_t images_per_fault(const ForeignFault& fault, std::int64_t all) const;
  std::int64_t write(const ForeignFaults& found, const NetworkWithData& network);
  void leave_out_unknown_images(ForeignFaults& found, std::int64_t all) const;
  void tell(const ForeignFaults& found, std::int64_t rows) const;
  std::filesystem::path left_out_file() const {
    return std::filesystem::path(output_).replace_extension(".left_out.csv");
  }

  std::filesystem::path list_, campaign_, output_;
  std::string images_, target_;
  std::string layers_ = "conv2d";
  std::int64_t batch_ = 1, per_image_ = 1;
  bool numbers_ = false, json_ = false;
};

ForeignOptions ImportCommand::options() const {
  ForeignOptions options;
  options.layers.clear();
  for (const std::string& name : split(layers_, ',')) {
    const std::string kind(trimmed(name));
    if (kind == "conv2d" || kind == "conv") {
      options.layers.emplace_back("conv");
    } else if (kind == "linear" || kind == "fcc") {
      options.layers.emplace_back("linear");
    } else {
      throw Error(ExitCode::kUsage,
                  "--layer-types " + layers_ + ": '" + kind + "' is neither conv2d nor linear");
    }
  }
  if (!target_.empty()) {
    options.target = target_ == "weight" ? Target::kWeight : Target::kActivation;
  }
  options.numbers = numbers_;
  options.batch = batch_;
  options.per_image = per_image_;
  if (!images_.empty() && images_ != "all") {
    const auto count = parse_integer(images_);
    if (!count || *count < 1) {
      throw Error(ExitCode::kUsage, "--images " + images_ + ": give all, or a number from 1");
    }
  }
  return options;
}

/// 1 where the list names the image.
std::int64_t ImportCommand::images_per_fault(const ForeignFault& fault, std::int64_t all) const {
  if (images_.empty()) return fault.image >= 0 ? 1 : all;
  return images_ == "all" ? all : std::min(*parse_integer(images_), all);
}

void ImportCommand::leave_out_unknown_images(ForeignFaults& found, std::int64_t all) const {
  if (!images_.empty()) return;
  std::erase_if(found.faults, [&](const ForeignFault& fault) {
    if (fault.image < all) return false;
    found.left_out.push_back({fault.row, "meets image " + std::to_string(fault.image) +
                                             ", counted from 0; the campaign has " +
                                             std::to_string(all)});
    return true;
  });
}

/// Returns how many faults on images there are.
std::int64_t ImportCommand::write(const ForeignFaults& found, const NetworkWithData& network) {
  const auto& sites = network.model->sites();
  const std::int64_t all = network.dataset->size();
  std::int64_t written = 0;
  std::int64_t next = 0;  // image, of faults that meet some in turn
  replace_file(output_, [&](const std::filesystem::path& path) {
    std::ofstream out(path, std::ios::binary);
    write_fault_header(out);
    for (const ForeignFault& fault : found.faults) {
      const Site& site = sites[static_cast<std::size_t>(fault.site)];
      const std::int64_t images = images_per_fault(fault, all);
      const bool named = images_.empty() && fault.image >= 0;
      for (std::int64_t i = 0; i < images; ++i) {
        const std::int64_t image = named ? fault.image : next++ % all;
        const std::string name = network.dataset->name(static_cast<std::int32_t>(image));
        for (const Edit& edit : fault.edits) {
          write_fault_row(out, written, site, name, edit, "payload");
        }
        ++written;
      }
    }
    out.flush();
    if (!out) throw Error(ExitCode::kFailure, output_.string() + ": cannot be written");
  });
  return written;
}

void ImportCommand::tell(const ForeignFaults& found, std::int64_t rows) const {
  constexpr std::size_t kShown = 20;
  const std::size_t left = found.left_out.size();
  for (std::size_t i = 0; i < std::min(left, kShown); ++i) {
    log_warning(list_.string() + ": " + found.left_out[i].row + ": " + found.left_out[i].reason);
  }
  if (left > kShown) {
    log_warning("... and " + std::to_string(left - kShown) + " more, all in " +
                left_out_file().string());
  }
  if (json_) {
    nlohmann::ordered_json document = {{"schema", "bitfall.import/1"},
                                       {"tool", found.tool},
                                       {"faults", found.faults.size()},
                                       {"trials", rows},
                                       {"left_out", nlohmann::ordered_json::array()}};
    for (const LeftOut& row : found.left_out) {
      document["left_out"].push_back({{"row", row.row}, {"reason", row.reason}});
    }
    print_result("%s\n", json_text(document).c_str());
    return;
  }
  print_result("%s: %zu faults of %s, %lld trials; %zu left out\n", output_.string().c_str(),
               found.faults.size(), found.tool.c_str(), static_cast<long long>(rows), left);
  print_result(
      "next: bitfall run %s --faults %s   (the bits are those of float32: [format] fp32)\n",
      shell_word(campaign_.string()).c_str(), shell_word(output_.string()).c_str());
}

int ImportCommand::run() {
  const ForeignOptions wanted = options();
  prove_output(output_, {list_, campaign_});
  const std::string text = read_text(list_);
  const NetworkWithData network = open_network_with_data({campaign_, {}, 0, 2});
  ForeignFaults found = read_foreign_faults(list_, text, network.model->sites(),
                                            network.model->named_parameters(), wanted);
  leave_out_unknown_images(found, network.dataset->size());
  std::error_code ignored;
  if (found.left_out.empty() && is_left_out_file(left_out_file())) {
    std::filesystem::remove(left_out_file(), ignored);  // of an earlier import
  }
  if (!found.left_out.empty()) {
    std::string rows = kLeftOutHeader;
    for (const LeftOut& row : found.left_out) {
      rows += csv_field(row.row) + "," + csv_field(row.reason) + "\n";
    }
    write_file_atomically(left_out_file(), rows);
  }
  if (found.faults.empty()) {
    tell(found, 0);
    throw Error(ExitCode::kInput, list_.string() + ": no fault of this list of " + found.tool +
                                      " can be told" +
                                      (found.left_out.empty() ? ": it has none" : ""));
  }
  tell(found, write(found, network));
  return 0;
}

}  // namespace

std::unique_ptr<Command> import_command() { return std::make_unique<ImportCommand>(); }

}  // namespace bitfall
